"""The work of `run` and `update`: find what is pending, carry it window by window, wait out an outage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Protocol, TypeVar

from engine.cycle import carry
from engine.gathering import Gathering
from engine.jobs import JobLost
from engine.labels import LabelsPending
from engine.ledger import Ledger
from engine.ledger.rows import Cycle
from engine.ledger.steps import Steps
from engine.nouns import Closing, Window
from engine.places import SourceUnreachable
from engine.registry import RegistryUnreachable
from engine.stream import Stream
from engine.untaken import Untaken
from engine.windows import Source, Telling
from serving.errors import Refused, Unreachable

# A server that refuses what no step can reject (to load the live version, say) needs a person, as one that is away may.
OUTAGES = (Unreachable, Refused, RegistryUnreachable, JobLost, SourceUnreachable)
T = TypeVar("T")


class Interrupted(Exception):
    """An outage outlasted every retry. Nothing is lost: the next start goes on where this one stopped."""


class Listener(Protocol):
    """Who is told what the loop does."""

    def step(self, window: Window, step: str) -> None:
        """A step of a cycle begins."""

    def closed(self, window: Window, closing: Closing, seconds: float) -> None:
        """A cycle ended."""

    def outage(self, error: Exception, wait: float) -> None:
        """Something does not answer; another try follows in `wait` seconds."""

    def waits(self, window: Window, why: str) -> None:
        """A cycle was left open until its window's labels are there."""


def all_of_them(windows: Sequence[Window], since: Mapping[str, float]) -> set[str]:
    """No window waits for labels: each has its own."""
    return {window.digest for window in windows}


@dataclass
class Loop:
    """One stream's windows and how to carry them.

    `wire` makes the stream at work on a cycle from a recorded configuration; `reconnect` is called after an outage, before the
    next try; `retries` are the waits in seconds; `tidy` is told of every window's end. `gathering` lets small windows wait for
    more rows; `notice` is told what a look did not take up. `ready` says which windows need not wait for labels, by digest; it is
    told when those that were begun were (Unix seconds).
    """

    stream: str
    time_column: str | None
    source: Source
    gathering: Gathering
    ledger: Ledger
    current: Mapping[str, Any]
    wire: Callable[[Mapping[str, Any], Cycle], Stream]
    reconnect: Callable[[], None]
    retries: Sequence[float]
    listener: Listener
    tidy: Callable[[Closing], object] = lambda closing: None
    ready: Callable[[Sequence[Window], Mapping[str, float]], set[str]] = all_of_them
    notice: Callable[[Untaken], object] = lambda untaken: None
    untaken: Untaken = field(default_factory=Untaken)
    waiting: set[str] = field(default_factory=set)
    """The ids of cycles that were carried as far as they go without labels."""
    _closed: set[str] = field(default_factory=set)

    def pending(self) -> list[Window]:
        """Windows whose work is not ended: interrupted ones first, then those that landed, in their order."""
        if not self._closed:
            self._closed = self.ledger.done_with(self.stream)
        begun = {cycle.window.digest: cycle.window for cycle in self.ledger.unfinished(self.stream)}
        self._closed -= begun.keys()
        taken = {part for window in begun.values() for part in (window.digest, *window.parts)}
        found = self.source.list(self.stream, self.time_column)
        if isinstance(self.source, Telling):
            self.untaken = self.source.untaken
            self.notice(self.untaken)
        landed = {w.digest: w for w in found if w.digest not in self._closed and w.digest not in taken}
        return [*begun.values(), *self.gathering.ready(landed.values())]

    def carry_pending(self) -> Iterator[Closing]:
        """Carry what is pending now, one window after another; one whose labels are to come is left for another time.

        Raises Interrupted when an outage outlasts the retries.
        """
        windows = self._patiently(self.pending, "the windows cannot be listed")
        begun = {cycle.window.digest: cycle for cycle in self.ledger.unfinished(self.stream)}
        self.waiting &= {cycle.id for cycle in begun.values()}
        ready = self.ready(windows, {digest: cycle.opened for digest, cycle in begun.items()})
        last = max((position for position, window in enumerate(windows) if window.digest in ready), default=0)
        for position, window in enumerate(windows):
            waits = window.digest in begun and begun[window.digest].id in self.waiting and window.digest not in ready
            if not waits and (closing := self._carry(window, latest=position >= last)):
                yield closing

    def serve_again(self) -> None:
        """Connect anew, which starts a server that ended. Raises Interrupted when an outage outlasts the retries."""
        self._patiently(self.reconnect, "Triton cannot be started again, nothing is lost")

    def _carry(self, window: Window, latest: bool) -> Closing | None:
        cycle = self.ledger.open(window)
        steps = Steps(self.ledger, cycle, lambda name: self.listener.step(window, name))
        tries = count()

        def work() -> Closing:
            # After an outage whatever did not answer may have done it all the same.
            mine = replace(cycle, fresh=cycle.fresh and next(tries) == 0)
            return carry(window, steps, self.current, lambda config: self.wire(config, mine), latest)

        try:
            closing = self._patiently(work, f"window {window.id} is left unfinished, nothing is lost")
        except LabelsPending as pending:
            if cycle.id not in self.waiting:
                self.listener.waits(window, str(pending))
            self.waiting.add(cycle.id)
            return None
        self._closed |= {window.digest, *window.parts}
        ended = self.ledger.cycle(cycle.id)  # the line says what `status` will
        self.listener.closed(window, closing, (ended.seconds if ended else None) or 0.0)
        self.tidy(closing)
        return closing

    def _patiently(self, work: Callable[[], T], otherwise: str) -> T:
        """Try again after an outage, with new connections. Raises Interrupted, beginning with `otherwise`, when it lasts."""
        away = False
        for wait in (*self.retries, None):
            try:
                if away:
                    self.reconnect()
                return work()
            except OUTAGES as error:
                if wait is None:
                    raise Interrupted(f"{otherwise}: {error}") from error
                self.listener.outage(error, wait)
                time.sleep(wait)
                away = True
        raise AssertionError("unreachable: the last wait is None")
