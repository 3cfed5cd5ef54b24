"""When to retrain. A Trigger looks at the evidence of one window and decides; Any and All combine them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, get_args, runtime_checkable

from engine.configuration import ConfigurationError, unknown
from engine.metrics import NAMES, named
from engine.nouns import Cause, Decision, DriftReport, LiveScore


@dataclass(frozen=True)
class Evidence:
    """What a trigger may look at.

    `baseline` is the champion's metric on the rows it was judged on; `since` and `now` are the ends of the last window it was
    trained on and of this one (ISO 8601, None when the stream has no time column); `fresh_rows` counts the rows it has not seen.
    """

    drift: DriftReport
    live: LiveScore
    baseline: dict[str, float]
    fresh_rows: int
    since: str | None
    now: str | None


@runtime_checkable
class Trigger(Protocol):
    """One method; Hydra builds the implementation by `_target_`."""

    def decide(self, evidence: Evidence) -> Decision:
        """Retrain or keep, and why."""
        ...


def ask(trigger: Trigger, evidence: Evidence) -> Decision:
    """What a trigger, whoever wrote it, decides. Raises ConfigurationError when that is no Decision, or one of no known cause."""
    decision = trigger.decide(evidence)
    name = type(trigger).__name__
    if not isinstance(decision, Decision):
        raise ConfigurationError(f"trigger: {name}.decide returned {decision!r}; it must return an engine.nouns.Decision")
    if decision.cause not in get_args(Cause):
        raise ConfigurationError(f"trigger: {unknown('cause', decision.cause, get_args(Cause))} (returned by {name}.decide)")
    return decision


@dataclass(frozen=True)
class Drift:
    """Fires when at least `columns` columns drifted (over their effect limit and significant after correction)."""

    columns: int = 1

    def decide(self, evidence: Evidence) -> Decision:
        """Name the worst columns and their effect."""
        drifted = evidence.drift.drifted
        if len(drifted) >= self.columns:
            worst = ", ".join(f"{c.name} {c.effect_name} {c.effect:.2f} > {c.limit:.2f}" for c in drifted[:3])
            more = f" and {len(drifted) - 3} more" if len(drifted) > 3 else ""
            return Decision(True, "drift", f"drift in {worst}{more}")
        return _keep(f"{len(drifted)} columns drifted, {self.columns} needed")


@dataclass(frozen=True)
class Degradation:
    """Fires when the live metric is worse than the champion's own baseline by more than `tolerance`.

    0.1 is a loss (rmse, mae, log_loss) 10% larger, or ten points less of any other metric (an accuracy of .80 after .90). `auto`
    is rmse for a regression and log_loss for a classification.
    """

    metric: str = "auto"
    tolerance: float = 0.1

    def decide(self, evidence: Evidence) -> Decision:
        """Compare the live metric with the baseline."""
        metrics = evidence.live.score.metrics
        name = next(first for first, *_ in NAMES.values() if first in metrics) if self.metric == "auto" else self.metric
        live, baseline = metrics[name], evidence.baseline.get(name)
        if baseline is None:
            return _keep(f"no baseline {name}")
        metric = named(name)
        limit = metric.worse(baseline, self.tolerance)
        if (live < limit) if metric.higher else (live > limit):
            sign = "<" if metric.higher else ">"
            return Decision(True, "degradation", f"live {name} {live:.4g} {sign} {limit:.4g} ({baseline:.4g} when it was judged)")
        return _keep(f"live {name} {live:.4g} within {limit:.4g}")


@dataclass(frozen=True)
class Schedule:
    """Fires when the data is `days` days (event time) past the last window that the champion was trained on."""

    days: float = 7.0

    def decide(self, evidence: Evidence) -> Decision:
        """Measure the champion's age in event time."""
        if evidence.since is None or evidence.now is None:
            return _keep("the stream has no time column, so no schedule")
        try:
            passed = datetime.fromisoformat(evidence.now) - datetime.fromisoformat(evidence.since)
        except (TypeError, ValueError):  # numbers, or one with a time zone and one without
            return _keep(f"no schedule can be kept between the times {evidence.since} and {evidence.now}")
        age = max(0.0, passed.total_seconds() / 86_400)  # a window that came late is older than the champion's data
        if age >= self.days:
            return Decision(True, "schedule", f"the champion's data is {age:.1f} days old, {self.days:g} allowed")
        return _keep(f"the champion's data is {age:.1f} of {self.days:g} days old")


@dataclass(frozen=True)
class Volume:
    """Fires when `rows` rows have come in that the champion was not trained on."""

    rows: int = 10_000

    def decide(self, evidence: Evidence) -> Decision:
        """Count the fresh rows."""
        if evidence.fresh_rows >= self.rows:
            return Decision(True, "volume", f"{evidence.fresh_rows:,} fresh rows, {self.rows:,} needed")
        return _keep(f"{evidence.fresh_rows:,} of {self.rows:,} fresh rows")


@dataclass(frozen=True)
class Any:
    """Fires with the first of its triggers that fires."""

    triggers: Sequence[Trigger] = field(default_factory=tuple)

    def decide(self, evidence: Evidence) -> Decision:
        """The first that fires, else all reasons to keep."""
        decisions = [trigger.decide(evidence) for trigger in self.triggers]
        fired = [decision for decision in decisions if decision.retrain]
        return fired[0] if fired else _keep("; ".join(d.reason for d in decisions))


@dataclass(frozen=True)
class All:
    """Fires when every one of its triggers fires."""

    triggers: Sequence[Trigger] = field(default_factory=tuple)

    def decide(self, evidence: Evidence) -> Decision:
        """Every reason, or the first one against it."""
        decisions = [trigger.decide(evidence) for trigger in self.triggers]
        quiet = [decision for decision in decisions if not decision.retrain]
        if quiet or not decisions:
            return _keep("; ".join(d.reason for d in quiet) or "no triggers are configured")
        cause: Cause = decisions[0].cause
        return Decision(True, cause, "; ".join(d.reason for d in decisions))


def _keep(reason: str) -> Decision:
    return Decision(False, "none", reason)
