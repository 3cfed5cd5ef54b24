"""The record of finished steps: what makes a killed cycle carry on, and what `status` and `explain` read.

One row per finished step of a cycle, its result as the JSON of a frozen dataclass. A process that starts again walks the same
cycle: finished steps answer from here, the interrupted one runs again. SQLite by default, PostgreSQL for many machines.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import socket
import time
import typing
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa

from engine.nouns import Acceptance, Closing, Labelled, Outcome, Window

P = ParamSpec("P")
T = TypeVar("T")

LAYOUT = 3  # of the tables below; a database written by another layout is refused, not guessed at
SEQUENCE = 2  # of the steps in cycle.py; work begun by another sequence is set aside and tried again from the start

metadata = sa.MetaData()
layout = sa.Table("layout", metadata, sa.Column("version", sa.Integer, primary_key=True))
streams = sa.Table(
    "stream",
    metadata,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("holder", sa.Text),
    sa.Column("held", sa.Text),
)
cycles = sa.Table(
    "cycle",
    metadata,
    sa.Column("id", sa.String(400), primary_key=True),
    sa.Column("stream", sa.String(200), nullable=False),
    sa.Column("window_id", sa.String(200), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("window", sa.Text, nullable=False),
    sa.Column("opened", sa.Float, nullable=False),
    sa.Column("closed", sa.Float),
    sa.Column("outcome", sa.String(20)),
    sa.Column("version", sa.Integer),
    sa.Column("reason", sa.Text),
    sa.UniqueConstraint("stream", "digest", "attempt"),
    # What is asked for every window must not take longer with every window: the newest, and those that are not settled.
    sa.Index("cycle_by_time", "stream", "opened"),
    sa.Index("cycle_by_outcome", "stream", "outcome"),
)
steps = sa.Table(
    "step",
    metadata,
    sa.Column("cycle", sa.String(400), sa.ForeignKey("cycle.id"), primary_key=True),
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("finished", sa.Float, nullable=False),
)
releases = sa.Table(
    "release",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("stream", sa.String(200), nullable=False, index=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("expects", sa.Integer),
    sa.Column("cause", sa.String(20), nullable=False),
    sa.Column("cycle", sa.String(400)),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("asked", sa.Float, nullable=False),
    sa.Column("done", sa.Float),
)
events = sa.Table(
    "event",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("stream", sa.String(200), nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("asked", sa.Float, nullable=False),
    sa.Column("cycle", sa.String(400)),
)

TICK = 1e-6  # seconds: what lies at least between two cycles of a stream

LAYOUT_LOCK = 0x7761726D7374  # of PostgreSQL, while tables are created

INTERRUPTED = "interrupted"  # a cycle set aside because its step sequence is not ours; never an Outcome
GOOD = [outcome.value for outcome in Outcome if outcome != Outcome.QUARANTINED]  # how a window ends that may be trained on


class LedgerError(Exception):
    """The ledger cannot be used as it is; the message says what to do."""


class LedgerUnreachable(Exception):
    """The ledger's database does not answer; the work is interrupted, not lost."""


class FencedOut(LedgerError):
    """Another process took the stream over while this one worked; nothing more may be written."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """One row of the cycle table. `closed` and `outcome` are None while the work is unfinished. Times are Unix seconds.

    `fresh`: opened a moment ago by this process, so nothing outside can know of it yet.
    """

    id: str
    window: Window
    attempt: int
    sequence: int
    opened: float
    closed: float | None
    outcome: str | None
    version: int | None
    reason: str | None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A finished step: its result as JSON and when it ran, in Unix seconds."""

    name: str
    result: str
    started: float
    finished: float


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """One intended or finished change of the live version. `state`: intended, done, failed or superseded."""

    id: int
    version: int
    expects: int | None
    cause: str
    cycle: str | None
    state: str
    asked: float
    done: float | None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened outside of the data: the next window retrains because of it, once."""

    id: int
    reason: str
    who: str
    asked: float


class Ledger:
    """Opens the ledger at an SQLAlchemy URL, creating its tables when there are none.

    Raises LedgerError when the tables were made by another layout.
    """

    def __init__(self, url: str):
        self.url = sa.make_url(url)
        if self.sqlite and self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = sa.create_engine(self.url, pool_pre_ping=not self.sqlite)
        if self.sqlite:
            sa.event.listen(self.engine, "connect", _sqlite_settings)
        self._fences: dict[str, int] = {}
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    @property
    def sqlite(self) -> bool:
        """True for SQLite, where locks are files."""
        return self.url.get_backend_name() == "sqlite"

    def _prepare(self) -> None:
        with self.engine.begin() as tx:
            # Two processes that find an empty database must not both fill it.
            if self.sqlite:
                tx.execute(sa.text("BEGIN IMMEDIATE"))
            else:
                tx.execute(sa.select(sa.func.pg_advisory_xact_lock(LAYOUT_LOCK)))
            metadata.create_all(tx)
            found = tx.execute(sa.select(layout.c.version)).scalar_one_or_none()
            if found is None:
                tx.execute(layout.insert().values(version=LAYOUT))
            elif found != LAYOUT:
                age = "an older" if found < LAYOUT else "a newer"
                raise LedgerError(
                    f"the ledger at {self.url.render_as_string()} was written by {age} version of warmstart (table layout "
                    f"{found}, this one reads {LAYOUT}): run {age} version, or point `platform.ledger` at a new database"
                )

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    # cycles

    def open(self, window: Window) -> Cycle:
        """The cycle that works on this window: the unfinished one, else the closed one, else a new first attempt."""
        latest = self._latest(window.stream, window.digest)
        if latest and latest.closed is None and latest.sequence != SEQUENCE:
            self._set_aside(latest)
            return self._insert(window, latest.attempt + 1)
        if latest and latest.outcome == INTERRUPTED:
            return self._insert(window, latest.attempt + 1)
        return latest or self._insert(window, 1)

    def again(self, window: Window, accepted: Acceptance | None = None) -> Cycle:
        """Open the next attempt on a window, an unfinished one set aside; with `accepted`, limits that it breaks let it pass."""
        latest = self._latest(window.stream, window.digest)
        if latest and latest.closed is None:
            self._interrupt(latest, "begun again by `warmstart retry`")
        return self._insert(window, latest.attempt + 1 if latest else 1, accepted)

    def _latest(self, stream: str, digest: str) -> Cycle | None:
        query = (
            sa.select(cycles)
            .where(cycles.c.stream == stream, cycles.c.digest == digest)
            .order_by(cycles.c.attempt.desc())
            .limit(1)
        )
        with self.engine.connect() as tx:
            row = tx.execute(query).mappings().one_or_none()
        return _cycle(row) if row else None

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
        return _cycle(row | {"closed": None, "outcome": None, "version": None, "reason": None}, fresh=True)

    def _set_aside(self, cycle: Cycle) -> None:
        begun = f"begun by step sequence {cycle.sequence}, this program runs sequence {SEQUENCE}"
        self._interrupt(cycle, f"{begun}: tried again from the start")

    def _interrupt(self, cycle: Cycle, reason: str) -> None:
        with self._fenced(cycle.window.stream) as tx:
            closed = _not_before(tx, cycle.id, time.time())
            tx.execute(cycles.update().where(cycles.c.id == cycle.id).values(outcome=INTERRUPTED, closed=closed, reason=reason))

    def cycle(self, id: str) -> Cycle | None:
        """One cycle by its id."""
        with self.engine.connect() as tx:
            row = tx.execute(sa.select(cycles).where(cycles.c.id == id)).mappings().one_or_none()
        return _cycle(row) if row else None

    def cycles(self, stream: str, limit: int | None = None) -> list[Cycle]:
        """All cycles of a stream in the order they were opened; with `limit`, the newest ones only."""
        query = (
            sa.select(cycles).where(cycles.c.stream == stream).order_by(cycles.c.opened.desc(), cycles.c.id.desc()).limit(limit)
        )
        with self.engine.connect() as tx:
            return [_cycle(row) for row in tx.execute(query).mappings()][::-1]

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
        return _cycle(found) if found else None

    def makers(self, stream: str) -> dict[int, Cycle]:
        """Version → the cycle that registered it."""
        return {version: cycle for cycle, version in self.results(stream, "register", int)}

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
        return sorted(map(_cycle, rows), key=lambda cycle: (cycle.opened, cycle.id))

    def done_with(self, stream: str) -> set[str]:
        """The digests of the windows that a cycle of this stream ended with an Outcome, and of what those were joined from."""
        ended = sa.and_(cycles.c.stream == stream, cycles.c.outcome != INTERRUPTED)
        joined = sa.select(cycles.c.window).where(ended, ~cycles.c.window.contains('"parts": []'))
        with self.engine.connect() as tx:
            found = set(tx.execute(sa.select(cycles.c.digest).where(ended).distinct()).scalars())
            return found.union(*(_window(text).parts for text in tx.execute(joined).scalars()))

    # the windows that may be trained on: each content once, where it first ended well

    def fresh(self, stream: str, since: float, but: str) -> list[Window]:
        """Those of cycles opened after `since` (Unix seconds), oldest first, without the digest `but`."""
        query = sa.select(cycles.c.window).where(_first_good(stream, but), cycles.c.opened > since)
        with self.engine.connect() as tx:
            found = tx.execute(query.order_by(cycles.c.opened, cycles.c.id)).scalars()
            return [_window(text) for text in found]

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
            return [_window(text) for text in found][::-1]

    def awaiting_labels(self, stream: str) -> list[Cycle]:
        """The unfinished cycles that were checked and go on when the labels of their window are there."""
        query = (
            sa.select(steps.c.cycle, steps.c.name, steps.c.result)
            .join(cycles, steps.c.cycle == cycles.c.id)
            .where(cycles.c.stream == stream, cycles.c.closed.is_(None), steps.c.name.in_(("configuration", "validate", "label")))
        )
        done: dict[str, dict[str, str]] = {}
        with self.engine.connect() as tx:
            for cycle, name, result in tx.execute(query):
                done.setdefault(cycle, {})[name] = result
        waits = {
            cycle
            for cycle, found in done.items()
            if found.get("validate") == "[]" and "label" not in found and labels_come_later(found["configuration"])
        }
        return [cycle for cycle in self.unfinished(stream) if cycle.id in waits] if waits else []

    def counts(self, stream: str) -> dict[str, int]:
        """Outcome → how many cycles of the stream ended so."""
        query = sa.select(cycles.c.outcome, sa.func.count()).where(cycles.c.stream == stream).group_by(cycles.c.outcome)
        with self.engine.connect() as tx:
            return {outcome or "open": int(n) for outcome, n in tx.execute(query)}

    def stream_names(self) -> list[str]:
        """Every stream that this ledger has seen."""
        with self.engine.connect() as tx:
            return list(tx.execute(sa.select(cycles.c.stream).distinct().order_by(cycles.c.stream)).scalars())

    # steps

    def step(self, cycle: str, name: str) -> Step | None:
        """The finished step of that name, or None."""
        query = sa.select(steps).where(steps.c.cycle == cycle, steps.c.name == name)
        with self.engine.connect() as tx:
            row = tx.execute(query).mappings().one_or_none()
        return _step(row) if row else None

    def steps(self, cycle: str) -> list[Step]:
        """All finished steps of a cycle in the order in which they finished."""
        query = sa.select(steps).where(steps.c.cycle == cycle).order_by(steps.c.finished)
        with self.engine.connect() as tx:
            return [_step(row) for row in tx.execute(query).mappings()]

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
            return [(_cycle(row), decode(kind, row["step_result"])) for row in tx.execute(query).mappings()]

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

    def labelled(self, stream: str) -> dict[str, Labelled]:
        """Cycle id → its window with the labels that came later, of every cycle that has found them."""
        query = (
            sa.select(steps.c.cycle, steps.c.result)
            .join(cycles, steps.c.cycle == cycles.c.id)
            .where(cycles.c.stream == stream, steps.c.name == "label")
        )
        with self.engine.connect() as tx:
            return {cycle: decode(Labelled, result) for cycle, result in tx.execute(query)}

    def record(self, cycle: Cycle, name: str, result: object, started: float, seconds: float | None = None) -> None:
        """Write a finished step; a Closing closes the cycle in the same transaction.

        `seconds` is how long it took; by default it ends now. Raises FencedOut when another process holds the stream by now.
        """
        with self._fenced(cycle.window.stream) as tx:
            # No step begins before the last one ended, though the clock say so.
            began = _not_before(tx, cycle.id, started)
            ended = began + seconds if seconds is not None else max(began, time.time())
            tx.execute(steps.insert().values(cycle=cycle.id, name=name, result=encode(result), started=began, finished=ended))
            if isinstance(result, Closing):
                self._close(tx, cycle.id, result, ended)

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
            self._settle(tx, cycle, closing)

    def _settle(self, tx: sa.Connection, cycle: str, closing: Closing) -> None:
        now = _not_before(tx, cycle, time.time())
        tx.execute(steps.insert().values(cycle=cycle, name="settle", result=encode(closing), started=now, finished=now))
        self._close(tx, cycle, closing, now)

    @staticmethod
    def _close(tx: sa.Connection, cycle: str, closing: Closing, now: float) -> None:
        values = {"outcome": closing.outcome.value, "version": closing.version, "reason": closing.reason, "closed": now}
        tx.execute(cycles.update().where(cycles.c.id == cycle).values(**values))

    # who may write

    def take_over(self, stream: str, verb: str, pid: int) -> None:
        """Make this process the one writer of the stream's cycles: whoever wrote before is fenced out from here on."""
        holder = json.dumps({"pid": pid, "host": socket.gethostname(), "verb": verb, "since": time.time()})
        with self.engine.begin() as tx:
            self._ensure_stream(tx, stream)
            fence = tx.execute(
                streams.update()
                .where(streams.c.name == stream)
                .values(fence=streams.c.fence + 1, holder=holder)
                .returning(streams.c.fence)
            ).scalar_one()
        self._fences[stream] = fence

    def holder(self, stream: str) -> dict[str, Any] | None:
        """Who last took the stream: pid, host, verb, since (Unix seconds)."""
        with self.engine.connect() as tx:
            text = tx.execute(sa.select(streams.c.holder).where(streams.c.name == stream)).scalar_one_or_none()
        return json.loads(text) if text else None

    @contextmanager
    def _fenced(self, stream: str) -> Iterator[sa.Connection]:
        with self.engine.begin() as tx:
            if (mine := self._fences.get(stream)) is not None:
                query = sa.select(streams.c.fence).where(streams.c.name == stream).with_for_update()
                if tx.execute(query).scalar_one() != mine:
                    raise FencedOut(f"another process has taken stream {stream!r} over; this one stops without writing")
            yield tx

    @staticmethod
    def _ensure_stream(tx: sa.Connection, stream: str) -> None:
        if tx.execute(sa.select(streams.c.name).where(streams.c.name == stream)).scalar_one_or_none() is None:
            tx.execute(streams.insert().values(name=stream, fence=0))

    # what happened outside of the data

    def announce(self, stream: str, reason: str, who: str) -> None:
        """Write down an event: the next window that is decided about retrains because of it."""
        with self.engine.begin() as tx:
            self._ensure_stream(tx, stream)
            tx.execute(events.insert().values(stream=stream, reason=reason, who=who, asked=time.time()))

    def announced(self, stream: str) -> list[Event]:
        """The events that no decision has used yet, oldest first."""
        with self.engine.connect() as tx:
            return self._announced(tx, stream)

    def use(self, cycle: Cycle) -> list[Event]:
        """Give the unused events to this cycle's decision, and return those that it has.

        An event is used once the cycle that it was given to has recorded its step `decide`. Until then it can be given again: to
        the same cycle when it is killed in between, to the next attempt when that one never gets so far.
        """
        if not self.announced(cycle.window.stream):
            return []
        with self._fenced(cycle.window.stream) as tx:
            found = self._announced(tx, cycle.window.stream)
            tx.execute(events.update().where(events.c.id.in_([event.id for event in found])).values(cycle=cycle.id))
        return found

    @staticmethod
    def _announced(tx: sa.Connection, stream: str) -> list[Event]:
        decided = sa.exists().where(steps.c.cycle == events.c.cycle, steps.c.name == "decide")
        query = sa.select(events).where(events.c.stream == stream, ~decided).order_by(events.c.id)
        return [Event(row["id"], row["reason"], row["who"], row["asked"]) for row in tx.execute(query).mappings()]

    # holds and releases

    def hold(self, stream: str, reason: str | None) -> None:
        """Hold the stream (nothing is released by itself), or with None let it go on."""
        with self.engine.begin() as tx:
            self._ensure_stream(tx, stream)
            tx.execute(streams.update().where(streams.c.name == stream).values(held=reason))

    def held(self, stream: str) -> str | None:
        """Why the stream is held, or None."""
        with self.engine.connect() as tx:
            return tx.execute(sa.select(streams.c.held).where(streams.c.name == stream)).scalar_one_or_none()

    def intend(
        self, stream: str, version: int, expects: int | None, cause: str, cycle: str | None, hold: str | None = None
    ) -> ReleaseRow:
        """Write down a release before it is done. What was intended and not done is superseded; `hold` holds the stream too."""
        with self.engine.begin() as tx:
            self._ensure_stream(tx, stream)
            pending = sa.and_(releases.c.stream == stream, releases.c.state == "intended")
            tx.execute(releases.update().where(pending).values(state="superseded"))
            values = {"stream": stream, "version": version, "expects": expects, "cause": cause, "cycle": cycle}
            row = (
                tx.execute(releases.insert().values(**values, state="intended", asked=time.time()).returning(releases))
                .mappings()
                .one()
            )
            if hold is not None:
                tx.execute(streams.update().where(streams.c.name == stream).values(held=hold))
            return _release(row)

    def finish(self, release: ReleaseRow, state: str, closing: Closing) -> None:
        """Mark a release done or failed. An approved one ends the cycle that waited for it in the same transaction."""
        with self.engine.begin() as tx:
            tx.execute(releases.update().where(releases.c.id == release.id).values(state=state, done=time.time()))
            if release.cause == "approval" and release.cycle:
                self._settle(tx, release.cycle, closing)

    def releases(self, stream: str) -> list[ReleaseRow]:
        """Every release of a stream, oldest first."""
        query = sa.select(releases).where(releases.c.stream == stream).order_by(releases.c.id)
        with self.engine.connect() as tx:
            return [_release(row) for row in tx.execute(query).mappings()]


class Steps:
    """Runs the steps of one cycle, each at most once to its end: `steps(name, function, *arguments)`.

    The result is decoded by the function's return annotation, so a step is a function with one.
    """

    def __init__(self, ledger: Ledger, cycle: Cycle, on_step: Callable[[str], None] = lambda name: None):
        self.ledger = ledger
        self.cycle = cycle
        self.on_step = on_step

    def __call__(self, name: str, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The remembered result of the step, or what it returns now."""
        if done := self.ledger.step(self.cycle.id, name):
            return typing.cast(T, decode(_returned(step), done.result))
        self.on_step(name)
        started, clock = time.time(), time.monotonic()
        result = step(*args, **kwargs)
        self.ledger.record(self.cycle, name, result, started, time.monotonic() - clock)
        return result


def _not_before(tx: sa.Connection, cycle: str, moment: float) -> float:
    """`moment`, or the latest one that the cycle already knows."""
    finished = sa.select(sa.func.max(steps.c.finished)).where(steps.c.cycle == cycle).scalar_subquery()
    latest = tx.execute(sa.select(sa.func.coalesce(finished, cycles.c.opened)).where(cycles.c.id == cycle)).scalar_one()
    return max(moment, float(latest))


def encode(value: object) -> str:
    """A frozen dataclass, or containers of them, as JSON; NaN and infinities are written as such."""
    return json.dumps(value, default=dataclasses.asdict, ensure_ascii=False)


def decode(kind: Any, text: str) -> Any:
    """The inverse of `encode`, for a type or annotation."""
    return _adapter(kind).validate_json(text)


@functools.cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter  # only who reads results pays for it

    return TypeAdapter(kind)


@functools.cache
def _returned(step: Callable[..., Any]) -> Any:
    target = getattr(step, "__func__", step)
    return typing.get_type_hints(target)["return"]


def _cycle(row: Any, fresh: bool = False) -> Cycle:
    fields = ("id", "attempt", "sequence", "opened", "closed", "outcome", "version", "reason")
    return Cycle(window=_window(row["window"]), fresh=fresh, **{name: row[name] for name in fields})


def _window(text: str) -> Window:
    found = json.loads(text)
    return Window(**found | {"parts": tuple(found.get("parts", ()))})


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


def _step(row: Any) -> Step:
    return Step(row["name"], row["result"], row["started"], row["finished"])


def _release(row: Any) -> ReleaseRow:
    return ReleaseRow(*(row[name] for name in ("id", "version", "expects", "cause", "cycle", "state", "asked", "done")))


def _sqlite_settings(connection: Any, _: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def labels_come_later(configuration: str) -> bool:
    """Whether a recorded configuration (JSON) has the labels of its window come later."""
    stream = json.loads(configuration).get("stream", {})
    return bool((stream.get("labels") or {}).get("folder"))
