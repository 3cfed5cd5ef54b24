"""Whether to retrain."""

from __future__ import annotations

import math

from engine.nouns import HELD, Champion, Decision, DriftReport, LiveScore, Window
from engine.stream.windows import TrainingWindows
from engine.triggers import Evidence, ask


class Deciding(TrainingWindows):
    """The step that decides, and what it looks at."""

    def decide(
        self, window: Window, champion: Champion | None, report: DriftReport | None, live: LiveScore | None, latest: bool
    ) -> Decision:
        """An event retrains; else ask the trigger. Of a backlog only the latest window retrains, and for all of them.

        The first window trains the first champion, whatever else was asked for until then. What a trigger looks at must be about
        the champion: a window that was answered by another, before its labels came, says nothing against this one.
        """
        if champion is None:
            self.outside.ledger.use(self.cycle)
            return Decision(True, "first", "there is no champion yet")
        if held := self.outside.ledger.held(self.parts.name):
            return Decision(False, "none", f"{HELD} ({held})")
        if (latest or self.parts.catch_up == "each") and (events := self.outside.ledger.use(self.cycle)):
            return Decision(True, "event", "; ".join(f"{event.reason} (said by {event.who})" for event in events))
        if report is None or live is None or (self.labels_come_later and {report.version, live.version} != {champion.version}):
            said = f"version {live.version} answered this window" if live else "no version answered this window"
            return Decision(False, "none", f"{said}; version {champion.version}, live by now, is judged by those that it answers")
        trained = self.outside.ledger.cycle(champion.cycle_id)
        since = trained.window.end if trained else None
        fresh = self._fresh_rows(window, champion, trained)
        evidence = Evidence(report, live, champion.baseline, fresh, since, window.end, self._past)
        decision = ask(self.parts.trigger, evidence)
        if decision.retrain and not latest and self.parts.catch_up == "latest":
            return Decision(False, decision.cause, f"{decision.reason}; left to the latest window of the backlog", deferred=True)
        if not decision.retrain and trained and (latest or self.parts.catch_up == "each"):
            asked = None
            asking = ('"retrain": true', '"deferred": true')
            for cycle, earlier in self.outside.ledger.results(self.parts.name, "decide", Decision, trained.opened, asking):
                if earlier.retrain:  # what was asked for until then was tried
                    asked = None
                elif earlier.deferred and asked is None:
                    asked = f"window {cycle.window.id} asked for it: {earlier.reason.partition(';')[0]}"
            if asked:
                return Decision(True, "deferred", asked)
        return decision

    def _past(self, number: str, windows: int) -> list[float]:
        """A live metric, or the effect of a column, of the newest windows."""
        ledger, name = self.outside.ledger, self.parts.name
        column = number.removeprefix("drift/")
        if column == number:
            scores = ledger.newest_results(name, "score", LiveScore, windows)
            return [score.score.metrics.get(number, math.nan) for score in scores]
        reports = ledger.newest_results(name, "drift", DriftReport, windows)
        return [next((c.effect for c in report.columns if c.name == column), math.nan) for report in reports]
