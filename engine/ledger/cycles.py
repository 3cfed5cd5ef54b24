"""The cycles in the ledger: begun, set aside, looked up, and the windows of those that may be trained on."""

from __future__ import annotations

import time
from dataclasses import replace

import sqlalchemy as sa

from engine.ledger.codec import decode, encode
from engine.ledger.database import Database
from engine.ledger.rows import Cycle, cycle_of, window_of
from engine.ledger.tables import cycles, steps
from engine.nouns import Acceptance, Closing, Outcome, Window

SEQUENCE = 2  # of the steps in cycle.py; work begun by another sequence is set aside and tried again from the start
TICK = 1e-6  # seconds: what lies at least between two cycles of a stream

INTERRUPTED = "interrupted"  # a cycle set aside because its step sequence is not ours; never an Outcome
GOOD = [outcome.value for outcome in Outcome if outcome != Outcome.QUARANTINED]  # how a window ends that may be trained on


class CycleRecords(Database):
    """What is read and written about cycles."""

    def open(self, window: Window) -> Cycle:
        """The cycle that works on this window: the unfinished one, else the closed one, else a new first attempt."""
        latest = self._latest(window.stream, window.digest)
        if latest and latest.closed is None and latest.sequence != SEQUENCE:
            self._set_aside(latest)
            return self._instead_of(latest, window)
        if latest and latest.outcome == INTERRUPTED:
            return self._instead_of(latest, window)
        return latest or self._insert(window, 1)

    def again(self, window: Window, accepted: Acceptance | None = None) -> Cycle:
        """Open the next attempt on a window, an unfinished one set aside; with `accepted`, limits that it breaks let it pass."""
        latest = self._latest(window.stream, window.digest)
        if latest and latest.closed is None:
            self._interrupt(latest, "begun again by `warmstart retry`")
        return self._insert(replace(window, accepted=accepted is not None), latest.attempt + 1 if latest else 1, accepted)

    def _instead_of(self, interrupted: Cycle, window: Window) -> Cycle:
        """The next attempt after one that nobody ended: what a person had accepted in it, still is."""
        query = sa.select(steps.c.result).where(steps.c.cycle == interrupted.id, steps.c.name == "accept")
        with self.engine.connect() as tx:
            said = tx.execute(query).scalar_one_or_none()
        accepted = decode(Acceptance, said) if said else None
        return self._insert(replace(window, accepted=accepted is not None), interrupted.attempt + 1, accepted)

    def _latest(self, stream: str, digest: str) -> Cycle | None:
        query = (
            sa.select(cycles)
            .where(cycles.c.stream == stream, cycles.c.digest == digest)
            .order_by(cycles.c.attempt.desc())
            .limit(1)
        )
        with self.engine.connect() as tx:
            row = tx.execute(query).mappings().one_or_none()
        return cycle_of(row) if row else None

    def _insert(self, window: Window, attempt: int, accepted: Acceptance | None = None) -> Cycle:
        row = {
            "id": f"{window.stream}:{window.digest[:16]}:{attempt}",
            "stream": window.stream,
            "window_id": window.id,
            "digest": window.digest,
            "rows": window.rows,
            "attempt": attempt,
            "sequence": SEQUENCE,
            "window": encode(window),
        }
        with self._fenced(window.stream) as tx:
            # Cycles are told apart by when they were opened, in this order, also when the clock was set back.
            latest = sa.select(cycles.c.opened).where(cycles.c.stream == window.stream).order_by(cycles.c.opened.desc()).limit(1)
            newest = tx.execute(latest).scalar_one_or_none()
            row["opened"] = max(time.time(), (newest or 0.0) + TICK)
            tx.execute(cycles.insert().values(**row))
            if accepted:
                done = {"cycle": row["id"], "name": "accept", "started": row["opened"], "finished": row["opened"]}
                tx.execute(steps.insert().values(**done, result=encode(accepted)))
        return cycle_of(row | {"closed": None, "outcome": None, "version": None, "reason": None}, fresh=True)

    def _set_aside(self, cycle: Cycle) -> None:
        begun = f"begun by step sequence {cycle.sequence}, this program runs sequence {SEQUENCE}"
        self._interrupt(cycle, f"{begun}: tried again from the start")

    def _interrupt(self, cycle: Cycle, reason: str) -> None:
        with self._fenced(cycle.window.stream) as tx:
            closed = not_before(tx, cycle.id, time.time())
            tx.execute(cycles.update().where(cycles.c.id == cycle.id).values(outcome=INTERRUPTED, closed=closed, reason=reason))

    def cycle(self, id: str) -> Cycle | None:
        """One cycle by its id."""
        with self.engine.connect() as tx:
            row = tx.execute(sa.select(cycles).where(cycles.c.id == id)).mappings().one_or_none()
        return cycle_of(row) if row else None

    def cycles(self, stream: str, limit: int | None = None) -> list[Cycle]:
        """All cycles of a stream in the order they were opened; with `limit`, the newest ones only."""
        query = (
            sa.select(cycles).where(cycles.c.stream == stream).order_by(cycles.c.opened.desc(), cycles.c.id.desc()).limit(limit)
        )
        with self.engine.connect() as tx:
            return [cycle_of(row) for row in tx.execute(query).mappings()][::-1]

    def names(self, stream: str, limit: int) -> list[tuple[str, str, str]]:
        """Id, window and digest of the newest cycles, in the order they were opened."""
        query = sa.select(cycles.c.id, cycles.c.window_id, cycles.c.digest).where(cycles.c.stream == stream)
        with self.engine.connect() as tx:
            found = tx.execute(query.order_by(cycles.c.opened.desc(), cycles.c.id.desc()).limit(limit)).all()
        return [(row.id, row.window_id, row.digest) for row in found][::-1]

    def latest(self, stream: str, window: str) -> Cycle | None:
        """The last attempt on the window of that id."""
        query = sa.select(cycles).where(cycles.c.stream == stream, cycles.c.window_id == window)
        with self.engine.connect() as tx:
            found = tx.execute(query.order_by(cycles.c.opened.desc(), cycles.c.id.desc()).limit(1)).mappings().one_or_none()
        return cycle_of(found) if found else None

    def unfinished(self, stream: str) -> list[Cycle]:
        """The cycles without an Outcome, in the order they were opened."""
        return self._open(stream, cycles.c.outcome.is_(None))

    def unsettled(self, stream: str) -> list[Cycle]:
        """The cycles without an Outcome and those that wait for a person, in the order they were opened."""
        return self._open(stream, cycles.c.outcome.is_(None), cycles.c.outcome == Outcome.WAITING.value)

    def _open(self, stream: str, *which: sa.ColumnElement[bool]) -> list[Cycle]:
        # One query for each and sorted here: with OR or ORDER BY, SQLite takes an index that leads through the whole history.
        with self.engine.connect() as tx:
            rows = [
                row for each in which for row in tx.execute(sa.select(cycles).where(cycles.c.stream == stream, each)).mappings()
            ]
        return sorted(map(cycle_of, rows), key=lambda cycle: (cycle.opened, cycle.id))

    def done_with(self, stream: str) -> set[str]:
        """The digests of the windows that a cycle of this stream ended with an Outcome, and of what those were joined from."""
        ended = sa.and_(cycles.c.stream == stream, cycles.c.outcome != INTERRUPTED)
        joined = sa.select(cycles.c.window).where(ended, ~cycles.c.window.contains('"parts": []'))
        with self.engine.connect() as tx:
            found = set(tx.execute(sa.select(cycles.c.digest).where(ended).distinct()).scalars())
            return found.union(*(window_of(text).parts for text in tx.execute(joined).scalars()))

    def counts(self, stream: str) -> dict[str, int]:
        """Outcome → how many cycles of the stream ended so."""
        query = sa.select(cycles.c.outcome, sa.func.count()).where(cycles.c.stream == stream).group_by(cycles.c.outcome)
        with self.engine.connect() as tx:
            return {outcome or "open": int(n) for outcome, n in tx.execute(query)}

    def stream_names(self) -> list[str]:
        """Every stream that this ledger has seen."""
        with self.engine.connect() as tx:
            return list(tx.execute(sa.select(cycles.c.stream).distinct().order_by(cycles.c.stream)).scalars())

    # the windows that may be trained on: each content once, where it first ended well

    def fresh(self, stream: str, since: float, but: str) -> list[Window]:
        """Those of cycles opened after `since` (Unix seconds), oldest first, without the digest `but`."""
        query = sa.select(cycles.c.window).where(_first_good(stream, but), cycles.c.opened > since)
        with self.engine.connect() as tx:
            found = tx.execute(query.order_by(cycles.c.opened, cycles.c.id)).scalars()
            return [window_of(text) for text in found]

    def fresh_rows(self, stream: str, since: float, but: str) -> int:
        """How many rows they have."""
        query = sa.select(sa.func.sum(cycles.c.rows)).where(_first_good(stream, but), cycles.c.opened > since)
        with self.engine.connect() as tx:
            return int(tx.execute(query).scalar_one() or 0)

    def past(self, stream: str, until: float, most: int, but: str) -> list[Window]:
        """The newest `most` of cycles opened up to `until` (Unix seconds), oldest first, without the digest `but`."""
        query = sa.select(cycles.c.window).where(_first_good(stream, but), cycles.c.opened <= until)
        with self.engine.connect() as tx:
            found = tx.execute(query.order_by(cycles.c.opened.desc(), cycles.c.id.desc()).limit(most)).scalars()
            return [window_of(text) for text in found][::-1]


def not_before(tx: sa.Connection, cycle: str, moment: float) -> float:
    """`moment`, or the latest one that the cycle already knows."""
    finished = sa.select(sa.func.max(steps.c.finished)).where(steps.c.cycle == cycle).scalar_subquery()
    latest = tx.execute(sa.select(sa.func.coalesce(finished, cycles.c.opened)).where(cycles.c.id == cycle)).scalar_one()
    return max(moment, float(latest))


def close_cycle(tx: sa.Connection, cycle: str, closing: Closing, now: float) -> None:
    """Write down how a cycle ended, in this transaction."""
    values = {"outcome": closing.outcome.value, "version": closing.version, "reason": closing.reason, "closed": now}
    tx.execute(cycles.update().where(cycles.c.id == cycle).values(**values))


def _first_good(stream: str, but: str) -> sa.ColumnElement[bool]:
    """A cycle that ended well, the first one on its window that did."""
    earlier = cycles.alias()
    before = sa.exists().where(
        earlier.c.stream == cycles.c.stream,
        earlier.c.digest == cycles.c.digest,
        earlier.c.attempt < cycles.c.attempt,
        earlier.c.outcome.in_(GOOD),
    )
    return sa.and_(cycles.c.stream == stream, cycles.c.outcome.in_(GOOD), cycles.c.digest != but, ~before)
