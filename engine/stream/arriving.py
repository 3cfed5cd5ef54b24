"""A window arrives: is it as its contract says, and what does it teach?"""

from __future__ import annotations

import functools
from datetime import UTC, datetime

from engine.contracts import learning
from engine.contracts.learning import Lesson
from engine.intact import lost
from engine.nouns import Breach, Champion, Window
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
        return self.parts.contract.check(window, self.parts.schema, self._lessons, known, self._found() if latest else None)

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

    @functools.cached_property
    def _lessons(self) -> tuple[Lesson, ...]:
        return learning.remembered(self.outside.ledger, self.parts.name, self.parts.contract.learn)
