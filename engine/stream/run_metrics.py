"""What the steps of a cycle found, as the metrics and tags of its run in MLflow."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from engine.ledger import Ledger
from engine.ledger.codec import decode
from engine.ledger.rows import Cycle
from engine.metrics import DIFFERENCES
from engine.nouns import Acceptance, Decision, DriftReport, LiveScore, Score, Scorecard, Verdict

SLICES_TOLD = 100  # at most, as metrics of a run in MLflow; the ledger has them all


def story(ledger: Ledger, cycle: Cycle, metric: str) -> tuple[dict[str, float], dict[str, str]]:
    """What the steps of a cycle found, as MLflow metrics and tags; of the slices the `metric` that judges."""
    found = {step.name: step for step in ledger.steps(cycle.id)}
    metrics = {f"seconds/{name}": step.finished - step.started for name, step in found.items()}
    tags: dict[str, str] = {}

    def read(name: str, kind: Any, use: Callable[[Any], None]) -> None:
        if name in found:
            use(decode(kind, found[name].result))

    read(
        "score",
        LiveScore,
        lambda s: metrics.update(
            {f"live/{k}": v for k, v in s.score.metrics.items()} | {"live/version": s.version} | _live_slices(s.score, metric)
        ),
    )
    read(
        "drift",
        DriftReport,
        lambda r: metrics.update({f"drift/{_plain(c.name)}": c.effect for c in r.columns} | {"drift/columns": len(r.drifted)}),
    )
    read("accept", Acceptance, lambda a: tags.update({"accepted": f"by {a.who}: {a.reason}"}))
    read("decide", Decision, lambda d: tags.update({"cause": d.cause, "decision": d.reason}))
    for turn in itertools.takewhile(lambda t: f"judge.{t}" in found, itertools.count(1)):
        read(f"judge.{turn}", Scorecard, lambda card: metrics.update(_card(card)))
        read(f"verify.{turn}", Verdict, lambda verdict: tags.update({"verdict": verdict.reason}))
    return metrics, tags


def _card(card: Scorecard) -> dict[str, float]:
    metrics = {f"challenger/{k}": v for k, v in card.challenger.metrics.items()}
    if card.champion and card.gain is not None and card.low is not None:
        metrics |= {f"champion/{k}": v for k, v in card.champion.metrics.items()} | {"gain": card.gain, "gain_low": card.low}
    if card.worst:
        metrics |= {"worst_slice": card.worst.gain, "worst_slice_high": card.worst.high}
    shown = [gap for gap in card.gaps if gap.name in (card.metric, *DIFFERENCES.values())]
    return metrics | {f"gap/{gap.name} over {_plain(gap.column)}": gap.value for gap in shown[:SLICES_TOLD]}


def _live_slices(score: Score, metric: str) -> dict[str, float]:
    """The largest slices, as `slice/COLUMN: VALUE/METRIC`."""
    largest = sorted(score.slices, key=lambda s: -s.rows)[:SLICES_TOLD]
    return {f"slice/{_plain(s.column)}: {_plain(s.value)}/{metric}": s.metrics[metric] for s in largest}


def _plain(text: str) -> str:
    """Text as one part of an MLflow metric's name, which has slashes between its parts."""
    return text.replace("/", "_").strip()[:80] or "_"
