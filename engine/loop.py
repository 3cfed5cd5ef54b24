"""The work of `run` and `update`: find what is pending, carry it window by window, wait out an outage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from engine.cycle import carry
from engine.jobs import JobLost
from engine.ledger import Cycle, Ledger, Steps
from engine.nouns import Closing, Window
from engine.registry import RegistryUnreachable
from engine.stream import Stream
from engine.windows import Source
from serving.errors import Unreachable

OUTAGES = (Unreachable, RegistryUnreachable, JobLost)


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


@dataclass
class Loop:
    """One stream's windows and how to carry them.

    `wire` makes the stream at work on a cycle from a recorded configuration; `reconnect` is called after an outage, before the
    next try; `retries` are the waits in seconds; `tidy` is told of every window's end.
    """

    stream: str
    time_column: str | None
    source: Source
    ledger: Ledger
    current: Mapping[str, Any]
    wire: Callable[[Mapping[str, Any], Cycle], Stream]
    reconnect: Callable[[], None]
    retries: Sequence[float]
    listener: Listener
    tidy: Callable[[Closing], object] = lambda closing: None
    _closed: set[str] = field(default_factory=set)

    def pending(self) -> list[Window]:
        """Windows whose work is not ended: interrupted ones first, then those that landed, in their order."""
        if not self._closed:
            self._closed = self.ledger.done_with(self.stream)
        begun = {cycle.window.digest: cycle.window for cycle in self.ledger.unfinished(self.stream)}
        self._closed -= begun.keys()
        landed = (w for w in self.source.list(self.stream, self.time_column) if w.digest not in self._closed)
        return list((begun | {w.digest: w for w in landed if w.digest not in begun}).values())

    def carry_pending(self) -> Iterator[Closing]:
        """Carry what is pending now, one window after another. Raises Interrupted when an outage outlasts the retries."""
        windows = self.pending()
        for position, window in enumerate(windows):
            yield self._carry(window, latest=position == len(windows) - 1)

    def _carry(self, window: Window, latest: bool) -> Closing:
        cycle = self.ledger.open(window)
        steps = Steps(self.ledger, cycle, lambda name: self.listener.step(window, name))
        started = time.monotonic()
        for wait in (*self.retries, None):
            try:
                closing = self._try(window, cycle, steps, latest)
            except OUTAGES as error:
                if wait is None:
                    raise Interrupted(f"window {window.id} is left unfinished, nothing is lost: {error}") from error
                self.listener.outage(error, wait)
                time.sleep(wait)
                self.reconnect()
                cycle = replace(cycle, fresh=False)  # whatever did not answer may have done it all the same
            else:
                self._closed.add(window.digest)
                self.listener.closed(window, closing, time.monotonic() - started)
                self.tidy(closing)
                return closing
        raise AssertionError("unreachable: the last wait is None")

    def _try(self, window: Window, cycle: Cycle, steps: Steps, latest: bool) -> Closing:
        return carry(window, steps, self.current, lambda config: self.wire(config, cycle), latest)
