"""Which windows a challenger is trained on."""

from __future__ import annotations

from pathlib import Path

from engine.ledger.rows import Cycle
from engine.nouns import PAST, Champion, Outcome, Window
from engine.stream.at_work import AtWork


class TrainingWindows(AtWork):
    """The windows up to the champion's last trained one, and those since."""

    def _windows(self, window: Window, champion: Champion | None) -> tuple[tuple[Window, ...], tuple[Window, ...]]:
        """Past and fresh: up to the champion's last trained window, and every good one since, this one last."""
        ledger, name, digest = self.outside.ledger, self.parts.name, self.cycle.window.digest
        if self.labels_come_later:
            return self._labelled(window, champion)
        trained = ledger.cycle(champion.cycle_id) if champion else None
        begun = trained.opened if trained else 0.0
        past = ledger.past(name, begun, PAST, digest) if trained else []
        return tuple(past), (*ledger.fresh(name, begun, digest), window)

    def _labelled(self, window: Window, champion: Champion | None) -> tuple[tuple[Window, ...], tuple[Window, ...]]:
        """The same where labels come later: a window is there for training from the moment in which its labels are."""
        known: dict[str, Window] = {}
        split = 0
        labelled = self.outside.ledger.labelled(self.parts.name)
        cycles = self.outside.ledger.cycles(self.parts.name)
        cycles.sort(key=lambda cycle: labelled[cycle.id].when if cycle.id in labelled else cycle.opened)
        for cycle in cycles:
            good = cycle.closed is not None and cycle.outcome in set(Outcome) - {Outcome.QUARANTINED}
            if good and cycle.window.digest != self.cycle.window.digest:
                whole = labelled[cycle.id].window if cycle.id in labelled else cycle.window
                if whole is cycle.window or Path(whole.uri).exists():  # else its labelled file was too old to be kept
                    known[cycle.window.digest] = whole
            if champion and cycle.id == champion.cycle_id:
                split = len(known)
        windows = tuple(known.values())
        return windows[max(0, split - PAST) : split], (*windows[split:], window)

    def _fresh_rows(self, window: Window, champion: Champion, trained: Cycle | None) -> int:
        """How many rows came since the champion's last trained window."""
        if self.labels_come_later:
            return sum(each.rows for each in self._fresh(window, champion))
        begun = trained.opened if trained else 0.0
        return self.outside.ledger.fresh_rows(self.parts.name, begun, self.cycle.window.digest) + window.rows

    def _fresh(self, window: Window, champion: Champion | None) -> tuple[Window, ...]:
        return self._windows(window, champion)[1]
