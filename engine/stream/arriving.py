"""A window arrives: is it as its contract says, and what does it teach?"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import polars as pl

from engine.contracts import learning, shape
from engine.contracts.learning import Lesson
from engine.intact import lost
from engine.nouns import PAST, Breach, Champion, Window
from engine.stream.at_work import DELIVER, AtWork, landed


class Arriving(AtWork):
    """The steps up to a window that may be worked on."""

    def champion(self) -> Champion | None:
        """The version that the registry names."""
        return self.outside.registry.champion()

    def validate(self, window: Window, champion: Champion | None, latest: bool) -> tuple[Breach, ...]:
        """What is wrong with the window. Of a backlog only the latest one has to be fresh."""
        self._here((window,))
        if why := lost(window):
            return (Breach(None, f"{why}: {DELIVER}"),)
        known = self._reference(champion).categories if champion else {}
        found = self.parts.contract.check(window, self.parts.schema, self._lessons, known, self._found() if latest else None)
        return found if any(not breach.limit for breach in found) else (*found, *self._another_clock(window))

    def _another_clock(self, window: Window) -> tuple[Breach, ...]:
        """Times that cannot be put in one order with those of the windows before: both are trained on together."""
        if (name := self.parts.schema.time) is None:
            return ()
        mine = _stored(window)[name]
        for earlier in reversed(self.outside.ledger.past(self.parts.name, self.cycle.opened, PAST, window.digest)):
            with contextlib.suppress(OSError, pl.exceptions.PolarsError):  # gone: nothing is trained on it any more
                if (theirs := _stored(earlier).get(name)) is None:  # no time was asked for then, and nothing reads it now
                    continue
                if shape.clock(mine) == shape.clock(theirs):
                    return ()
                words = f"the time column holds {mine}, and {theirs} in the windows before ({earlier.id})"
                return (Breach(name, f"{words}: {shape.clock(mine)} and {shape.clock(theirs)} have no order together"),)
        return ()

    def _found(self) -> datetime:
        """When the window was first worked on: a retry later does not make it staler."""
        first = self.outside.ledger.cycle(f"{self.cycle.id.rpartition(':')[0]}:1") or self.cycle
        return datetime.fromtimestamp(first.opened, UTC)

    def accepted(self, breaches: tuple[Breach, ...]) -> bool:
        """Whether a person lets the window pass all the same, which only limits can be."""
        return all(breach.limit for breach in breaches) and self.outside.ledger.step(self.cycle.id, "accept") is not None

    def learns(self) -> bool:
        """Whether good windows still teach the contract its limits."""
        return len(self._lessons) < self.parts.contract.learn

    def learn(self, window: Window) -> Lesson:
        """What this good window teaches."""
        return learning.study(window, landed(window, self.parts.schema), self.parts.schema)


def _stored(window: Window) -> pl.Schema:
    """How the window's columns are stored, by the footer of its file."""
    return pl.scan_parquet(window.uri).collect_schema()
