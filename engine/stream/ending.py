"""How a cycle ends: every Outcome, with its reason in words, and what MLflow is told."""

from __future__ import annotations

import contextlib

from engine.contracts import quarantine
from engine.gate import amount, no_better
from engine.intact import WindowLost
from engine.metrics import chosen
from engine.nouns import Breach, Champion, Closing, Decision, JobFailure, Outcome, Release, Scorecard, Verdict, Window
from engine.releases import CannotRelease
from engine.stream.at_work import DELIVER, AtWork
from engine.stream.run_metrics import story


class Ending(AtWork):
    """The last step of a cycle, one for each way in which it ends."""

    def quarantine(self, window: Window, breaches: tuple[Breach, ...]) -> Closing:
        """Keep the window and the reasons aside."""
        report = quarantine.keep(window, breaches, self._file("quarantine", ""))
        words = "; ".join(f"{b.column}: {b.message}" if b.column else b.message for b in breaches[:5])
        more = f"; and {len(breaches) - 5} more" if len(breaches) > 5 else ""
        return self._close(Closing(Outcome.QUARANTINED, f"{words}{more} (report: {report})"))

    def lose(self, found: WindowLost) -> Closing:
        """A window is not what landed any more. This one is quarantined; one before it spoils the challenger, not this window."""
        if step := self.outside.ledger.step(self.cycle.id, "register"):
            self.outside.releases.discard(int(step.result), f"rejected: {found}")
        if found.window.digest == self.cycle.window.digest:
            return self.quarantine(found.window, (Breach(None, f"{found.why}: {DELIVER}"),))
        return self._close(Closing(Outcome.REJECTED, f"{found}; the next training leaves it out"))

    def keep(self, champion: Champion | None, decision: Decision) -> Closing:
        """The champion stays."""
        return self._close(Closing(Outcome.KEPT, decision.reason, champion.version if champion else None))

    def give_up(self, failure: JobFailure) -> Closing:
        """No challenger came out of the training."""
        return self._close(Closing(Outcome.REJECTED, failure.reason))

    def reject(self, version: int | None, verdict: Verdict) -> Closing:
        """The challenger did not pass; its files are moved aside."""
        if version is not None:
            self.outside.releases.discard(version, f"rejected: {verdict.reason}")
        return self._close(Closing(Outcome.REJECTED, verdict.reason, version))

    def wait(self, version: int, why: str) -> Closing:
        """Leave the release to a person."""
        self._supersede(version)
        reason = f"version {version} waits for `warmstart approve` or `reject`: {why}"
        return self._close(Closing(Outcome.WAITING, reason, version))

    def conclude(self, done: Release, decision: Decision, card: Scorecard) -> Closing:
        """The release is over, one way or the other."""
        if done.state == "failed":
            self.outside.releases.discard(done.version, f"rejected: {done.reason}")
            return self._close(Closing(Outcome.REJECTED, done.reason, done.version))
        self._supersede(done.version)
        mine = card.challenger.metrics[card.metric]
        gain = f" ({amount(card.metric, card.gain)} on the judge slice)" if card.gain is not None else ""
        doubt = f", {said}" if (said := no_better(card)) else ""
        return self._close(Closing(Outcome.PROMOTED, f"{decision.reason} → {card.metric} {mine:.4g}{gain}{doubt}", done.version))

    def _supersede(self, version: int) -> None:
        """Whoever waited for a person has this newer version before it."""
        for cycle in self.outside.ledger.unsettled(self.parts.name):
            if cycle.outcome == Outcome.WAITING and cycle.id != self.cycle.id:
                # Approved or rejected in this moment: then it waits no longer.
                with contextlib.suppress(CannotRelease):
                    self.outside.releases.turn_away(cycle, f"superseded by version {version}")

    def _close(self, closing: Closing) -> Closing:
        judged_by = chosen(self.parts.gate.metric, self.parts.schema.task)
        metrics, tags = story(self.outside.ledger, self.cycle, judged_by)
        tags |= {"outcome": closing.outcome.value, "reason": closing.reason, "window": self.cycle.window.id}
        if closing.version is not None:
            tags["version"] = str(closing.version)
        self.outside.registry.log_cycle(self.cycle.id, self.cycle.window.id, metrics, tags, self.cycle.fresh)
        return closing
