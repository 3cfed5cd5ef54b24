"""The finished steps in the ledger and their results."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import TypeVar

import sqlalchemy as sa

from engine.ledger.codec import decode, encode
from engine.ledger.cycles import close_cycle, not_before
from engine.ledger.database import Database
from engine.ledger.rows import Cycle, Step, cycle_of, step_of
from engine.ledger.tables import cycles, steps
from engine.nouns import Closing, Outcome

T = TypeVar("T")


class StepRecords(Database):
    """What is read and written about finished steps."""

    def step(self, cycle: str, name: str) -> Step | None:
        """The finished step of that name, or None."""
        query = sa.select(steps).where(steps.c.cycle == cycle, steps.c.name == name)
        with self.engine.connect() as tx:
            row = tx.execute(query).mappings().one_or_none()
        return step_of(row) if row else None

    def steps(self, cycle: str) -> list[Step]:
        """All finished steps of a cycle in the order in which they finished."""
        query = sa.select(steps).where(steps.c.cycle == cycle).order_by(steps.c.finished)
        with self.engine.connect() as tx:
            return [step_of(row) for row in tx.execute(query).mappings()]

    def results(
        self, stream: str, name: str, kind: type[T], since: float = 0.0, like: Sequence[str] = ()
    ) -> list[tuple[Cycle, T]]:
        """The results of the step `name` over the cycles of a stream opened after `since` (Unix seconds), oldest first.

        With `like` only those whose JSON holds one of these texts: the database looks, and nothing else is read.
        """
        query = (
            sa.select(cycles, steps.c.result.label("step_result"))
            .join(steps, steps.c.cycle == cycles.c.id)
            .where(cycles.c.stream == stream, steps.c.name == name, cycles.c.opened > since)
            .where(sa.or_(*(steps.c.result.contains(text) for text in like)) if like else sa.true())
            .order_by(cycles.c.opened, cycles.c.id)
        )
        with self.engine.connect() as tx:
            return [(cycle_of(row), decode(kind, row["step_result"])) for row in tx.execute(query).mappings()]

    def makers(self, stream: str) -> dict[int, Cycle]:
        """Version → the cycle that registered it."""
        return {version: cycle for cycle, version in self.results(stream, "register", int)}

    def newest_results(self, stream: str, name: str, kind: type[T], most: int, before: float | None = None) -> list[T]:
        """The last `most` results of the step `name`, oldest first; with `before` of cycles opened before then (Unix seconds)."""
        query = (
            sa.select(steps.c.result)
            .join(cycles, steps.c.cycle == cycles.c.id)
            .where(cycles.c.stream == stream, steps.c.name == name)
            .where(cycles.c.opened < before if before is not None else sa.true())
            .order_by(cycles.c.opened.desc(), cycles.c.id.desc())
            .limit(most)
        )
        with self.engine.connect() as tx:
            return [decode(kind, result) for result in tx.execute(query).scalars()][::-1]

    def record(self, cycle: Cycle, name: str, result: object, started: float, seconds: float | None = None) -> None:
        """Write a finished step; a Closing closes the cycle in the same transaction.

        `seconds` is how long it took; by default it ends now. Raises FencedOut when another process holds the stream by now.
        """
        with self._fenced(cycle.window.stream) as tx:
            # No step begins before the last one ended, though the clock say so.
            began = not_before(tx, cycle.id, started)
            ended = began + seconds if seconds is not None else max(began, time.time())
            tx.execute(steps.insert().values(cycle=cycle.id, name=name, result=encode(result), started=began, finished=ended))
            if isinstance(result, Closing):
                close_cycle(tx, cycle.id, result, ended)

    def forget(
        self, stream: str, keep: int, lasting: Sequence[str], needed: Collection[str], most: int | None, dry_run: bool
    ) -> tuple[tuple[str, ...], int]:
        """Remove the steps of settled cycles but for the `lasting` ones, the newest `keep` cycles and the `needed` ones.

        Looks at the `most` newest of the older cycles (None: all). Returns the windows whose steps went, and how many bytes.
        """
        old = (
            sa.select(cycles.c.id, cycles.c.window_id, cycles.c.closed, cycles.c.outcome)
            .where(cycles.c.stream == stream)
            .order_by(cycles.c.opened.desc(), cycles.c.id.desc())
            .offset(keep)
            .limit(most)
        )
        names, size = [], 0
        with self._fenced(stream) as tx:
            rows = [row for row in tx.execute(old) if row.closed and row.outcome != Outcome.WAITING and row.id not in needed]
            for start in range(0, len(rows), 500):
                windows = {row.id: row.window_id for row in rows[start : start + 500]}
                which = sa.and_(steps.c.cycle.in_(list(windows)), steps.c.name.not_in(lasting))
                length = sa.func.sum(sa.func.length(steps.c.result))
                found = tx.execute(sa.select(steps.c.cycle, length).where(which).group_by(steps.c.cycle)).all()
                names += [windows[cycle] for cycle, _ in found]
                size += sum(int(bytes_) for _, bytes_ in found)
                if found and not dry_run:
                    tx.execute(steps.delete().where(which))
        return tuple(names), size

    def settle(self, cycle: str, closing: Closing) -> None:
        """Turn a waiting cycle into what a person decided."""
        with self.engine.begin() as tx:
            settle_cycle(tx, cycle, closing)


def settle_cycle(tx: sa.Connection, cycle: str, closing: Closing) -> None:
    """The same in a transaction of somebody else."""
    now = not_before(tx, cycle, time.time())
    tx.execute(steps.insert().values(cycle=cycle, name="settle", result=encode(closing), started=now, finished=now))
    close_cycle(tx, cycle, closing, now)
