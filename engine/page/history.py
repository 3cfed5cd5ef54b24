"""What a page tells: the newest cycles of a stream with what their steps found, read from the ledger alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from engine.explain import answered
from engine.ledger import Ledger
from engine.ledger.codec import decode
from engine.ledger.rows import Cycle, ReleaseRow, Step
from engine.nouns import Decision, DriftReport, JobFailure, LiveScore, Rule, Scorecard, Training, Verdict

Metrics = dict[str, float]
FirstModel = Callable[[Sequence[Cycle]], dict[str, Metrics]]
"""Cycles → cycle id → what the first released model, left alone, would have scored; empty when its files are gone."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One cycle and what its steps found.

    `seconds` is how long each step took; `latency` is the gate's rule; `labels` says who answered and when labels came, if later.
    """

    cycle: Cycle
    seconds: dict[str, float]
    live: LiveScore | None = None
    drift: DriftReport | None = None
    decision: Decision | None = None
    training: Training | None = None
    card: Scorecard | None = None
    latency: Rule | None = None
    first: Metrics | None = None
    labels: str | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """One step over many cycles, in seconds."""

    name: str
    times: int
    median: float
    slowest: float
    total: float
    window: str


@dataclass(frozen=True, slots=True)
class History:
    """A stream up to now. `episodes` are the newest cycles, oldest first; `older` is how many are not among them.

    `events` are what the next decision has to use; `unlabelled` are the windows that wait for labels.
    """

    stream: str
    episodes: tuple[Episode, ...]
    older: int
    counts: dict[str, int]
    releases: tuple[ReleaseRow, ...]
    held: str | None
    events: tuple[str, ...]
    metric: str | None
    unlabelled: tuple[str, ...] = ()

    @property
    def live(self) -> ReleaseRow | None:
        """The release that answers now."""
        done = [row for row in self.releases if row.state == "done"]
        return done[-1] if done else None

    @property
    def windows(self) -> tuple[Episode, ...]:
        """The last attempt on every window, in the order in which they were first tried."""
        last: dict[str, Episode] = {}
        for episode in self.episodes:
            last[episode.cycle.window.digest] = episode
        return tuple(last.values())

    def live_values(self) -> list[float | None]:
        """The live metric of every window, before anybody trained on it."""
        return [_number(e.live.score.metrics, self.metric) if e.live else None for e in self.windows]

    def first_values(self) -> list[float | None]:
        """The same of the first model left alone."""
        return [_number(e.first or {}, self.metric) for e in self.windows]

    def overall(self, values: Sequence[float | None], where: Sequence[float | None]) -> float | None:
        """One number over all rows of the windows that have a value `where`: errors squared are averaged as squares."""
        power = 2 if self.metric == "rmse" else 1
        pairs = [
            (value**power, e.cycle.window.rows)
            for e, value, other in zip(self.windows, values, where, strict=True)
            if value is not None and other is not None
        ]
        rows = sum(count for _, count in pairs)
        return (sum(value * count for value, count in pairs) / rows) ** (1 / power) if rows else None

    def stages(self) -> list[Stage]:
        """Every step, the one that cost most in all first."""
        times: dict[str, list[tuple[float, str]]] = {}
        for episode in self.episodes:
            for name, seconds in episode.seconds.items():
                times.setdefault(name.partition(".")[0], []).append((seconds, episode.cycle.window.id))
        stages = []
        for name, found in times.items():
            took = [seconds for seconds, _ in found]
            slowest, window = max(found)
            stages.append(Stage(name, len(found), median(took), slowest, sum(took), window))
        return sorted(stages, key=lambda stage: -stage.total)


def read(ledger: Ledger, stream: str, last: int = 400, first_model: FirstModel | None = None) -> History:
    """The newest `last` cycles of a stream. `first_model` scores the first version where its files are there."""
    cycles = ledger.cycles(stream, limit=last)
    counts = ledger.counts(stream)
    found = {cycle.id: ledger.steps(cycle.id) for cycle in cycles}
    asked = [cycle for cycle in cycles if any(step.name == "score" for step in found[cycle.id])]
    scored = first_model(asked) if first_model else {}
    episodes = tuple(_episode(cycle, found[cycle.id], scored.get(cycle.id)) for cycle in cycles)
    return History(
        stream=stream,
        episodes=episodes,
        older=sum(counts.values()) - len(cycles),
        counts=counts,
        releases=tuple(ledger.releases(stream)),
        held=ledger.held(stream),
        events=tuple(event.reason for event in ledger.announced(stream)),
        metric=_metric(episodes),
        unlabelled=tuple(cycle.window.id for cycle in ledger.awaiting_labels(stream)),
    )


def _episode(cycle: Cycle, found: list[Step], first: Metrics | None) -> Episode:
    steps = {step.name: step for step in found}

    def result(name: str, kind: Any) -> Any:
        return decode(kind, steps[name].result) if name in steps else None

    def newest(name: str, kind: Any) -> Any:
        turns = [n for n in steps if n.partition(".")[0] == name]
        return result(max(turns, key=lambda n: int(n.partition(".")[2])), kind) if turns else None

    training = result("train", Training | JobFailure)
    verdict = newest("verify", Verdict)
    return Episode(
        cycle=cycle,
        # Waiting for a person is nobody's slowness.
        seconds={name: s.finished - s.started for name, s in steps.items() if name not in ("configuration", "settle")},
        live=result("score", LiveScore),
        drift=result("drift", DriftReport),
        decision=result("decide", Decision),
        training=training if isinstance(training, Training) else None,
        card=newest("judge", Scorecard),
        latency=next((rule for rule in verdict.rules if rule.name == "latency"), None) if verdict else None,
        first=first,
        labels=answered(steps, cycle.opened),
    )


def _metric(episodes: Sequence[Episode]) -> str | None:
    """What the gate looks at; without a judgement, the first that is measured."""
    judged = [e.card.metric for e in episodes if e.card]
    return judged[-1] if judged else next((m for e in reversed(episodes) if e.live for m in e.live.score.metrics), None)


def _number(metrics: Metrics, name: str | None) -> float | None:
    value = metrics.get(name) if name else None
    return value if value is not None and math.isfinite(value) else None
