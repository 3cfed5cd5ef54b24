"""The whole story of a version or a window in a page, read from the ledger alone: `warmstart explain`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from engine.gate import amount
from engine.ledger import Cycle, Ledger, Step, decode
from engine.nouns import (
    Breach,
    Champion,
    Closing,
    ColumnDrift,
    Decision,
    DriftReport,
    JobFailure,
    LiveScore,
    Scorecard,
    Training,
    Verdict,
)

Section = tuple[str, list[str]]


class NothingToExplain(LookupError):
    """No version and no window has that name; the message says which there are."""


def find(ledger: Ledger, stream: str, what: str) -> Cycle:
    """The cycle that made a version ("7" or "v7"), or the latest one on a window. Raises NothingToExplain."""
    number = what.removeprefix("v")
    if number.isdigit() and (made := ledger.makers(stream).get(int(number))):
        return made
    if named := ledger.latest(stream, what):
        return named
    versions = ", ".join(str(r.version) for r in ledger.releases(stream)[-5:]) or "none"
    windows = ", ".join(c.window.id for c in ledger.cycles(stream, limit=5)) or "none"
    raise NothingToExplain(
        f"stream {stream!r} has no version or window {what!r}; the latest versions: {versions}; windows: {windows}"
    )


def story(ledger: Ledger, cycle: Cycle) -> Iterator[Section]:
    """Headings and lines, in the order in which things happened."""
    steps = {step.name: step for step in ledger.steps(cycle.id)}
    yield "window", _window(cycle)
    if breaches := _read(steps, "validate", tuple[Breach, ...]):
        yield "contract", [f"{b.column or 'table'}: {b.message}" for b in breaches]
    if drift := _read(steps, "drift", DriftReport):
        yield "drift", drift_lines(drift)
    if live := _read(steps, "score", LiveScore):
        said = f"version {live.version} on {live.score.rows:,} rows before anybody trained on them"
        yield "live", [f"{said}: {_metrics(live.score.metrics)}"]
    if decision := _read(steps, "decide", Decision):
        yield "decision", [f"{'retrain' if decision.retrain else 'keep'} ({decision.cause}): {decision.reason}"]
    if training := _read(steps, "train", Training | JobFailure):
        yield "training", _training(training)
    turn = 1
    while card := _read(steps, f"judge.{turn}", Scorecard):
        yield "judged", _card(card)
        rules = [r for name in ("quality", "verify") if (v := _read(steps, f"{name}.{turn}", Verdict)) for r in v.rules]
        yield "gate", [f"{'passed' if r.passed else 'FAILED'}  {r.name}: {r.message}" for r in rules]
        turn += 1
    settled = _read(steps, "settle", Closing)
    ending = [f"{cycle.outcome or 'unfinished'}: {cycle.reason or 'the work goes on with the next `run` or `update`'}"]
    yield "outcome", [*ending, *([f"settled: {settled.reason}"] if settled else [])]
    yield (
        "releases",
        [
            f"{_clock(r.done or r.asked)}  {r.cause}: {r.state}"
            for r in ledger.releases(cycle.window.stream)
            if r.version == cycle.version
        ],
    )
    yield "time", [f"{step.finished - step.started:7.3f} s  {step.name}" for step in steps.values()]
    yield "parents", list(_parents(ledger, cycle))


def drift_of(ledger: Ledger, cycle: Cycle) -> DriftReport:
    """How far a window was from what its champion was trained on. Raises NothingToExplain when it was not compared."""
    step = ledger.step(cycle.id, "drift")
    if step is None:
        why = f"it is {cycle.outcome}: {cycle.reason}" if cycle.outcome else "its work is unfinished"
        raise NothingToExplain(f"window {cycle.window.id} was not compared with any champion; {why}")
    report: DriftReport = decode(DriftReport, step.result)
    return report


def drift_lines(report: DriftReport) -> list[str]:
    """Every column, the furthest from its limit first."""
    head = f"against version {report.version}'s training data: {report.rows_current:,} rows against {report.rows_reference:,}"
    columns = sorted(report.columns, key=lambda c: -(c.effect / c.limit if c.effect == c.effect else 0.0))
    width = max((len(c.column) for c in columns), default=0)
    return [head, *(_drift_line(c, width) for c in columns)]


def _drift_line(c: ColumnDrift, width: int) -> str:
    word = "drifted" if c.drifted else ""
    return f"{word:<7}  {c.column:<{width}}  {c.effect_name} {c.effect:8.3f}  limit {c.limit:g}  q {c.q_value:.1e}"


def _window(cycle: Cycle) -> list[str]:
    window = cycle.window
    span = f", {window.start} to {window.end}" if window.start else ""
    return [
        f"{window.id}: {window.rows:,} rows{span}",
        f"{window.uri}, SHA-256 {window.digest}",
        f"attempt {cycle.attempt}, begun {_clock(cycle.opened)}" + (f", ended {_clock(cycle.closed)}" if cycle.closed else ""),
    ]


def _training(training: Training | JobFailure) -> list[str]:
    if isinstance(training, JobFailure):
        return [training.reason]
    phases = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in training.seconds.items())
    return [
        f"{training.strategy}, seed {training.seed}, {training.steps:,} steps; rows: {training.rows_fit:,} to fit, "
        f"{training.rows_stop:,} to stop, {training.rows_judge:,} to judge",
        f"from the windows {', '.join(training.windows)}",
        f"loss {training.fit_loss:.4g}"
        + (f", on the stop slice {training.stop_loss:.4g}" if training.stop_loss is not None else ""),
        phases,
    ]


def _card(card: Scorecard) -> list[str]:
    lines = [f"challenger on {card.rows:,} rows: {_metrics(card.challenger.metrics)}"]
    if card.champion and card.gain is not None and card.low is not None:
        lines.append(f"version {card.champion_version} on the same rows: {_metrics(card.champion.metrics)}")
        lines.append(f"gain in {card.metric} {amount(card.metric, card.gain)}, surely at least {amount(card.metric, card.low)}")
    return lines


def _parents(ledger: Ledger, cycle: Cycle) -> Iterator[str]:
    """From this cycle back to the first version."""
    made = ledger.makers(cycle.window.stream)
    while champion := _read({s.name: s for s in ledger.steps(cycle.id)}, "champion", Champion | None):
        parent = made.get(champion.version)
        yield f"version {champion.version}, from window {champion.window}: {parent.reason if parent else 'its cycle is gone'}"
        if parent is None or parent.id == cycle.id:
            return
        cycle = parent


def _read(steps: dict[str, Step], name: str, kind: Any) -> Any:
    return decode(kind, steps[name].result) if name in steps else None


def _metrics(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
