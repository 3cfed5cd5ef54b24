"""The whole story of a version or a window in a page, read from the ledger alone: `warmstart explain`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

from engine.gate import amount, gap_words, no_better
from engine.ledger import Ledger
from engine.ledger.codec import decode
from engine.ledger.labels import labels_come_later
from engine.ledger.rows import Cycle, Step
from engine.metrics import DIFFERENCES, worst
from engine.nouns import (
    Acceptance,
    Breach,
    Champion,
    Closing,
    ColumnDrift,
    Decision,
    DriftReport,
    JobFailure,
    Labelled,
    LiveScore,
    Predicted,
    Resources,
    Score,
    Scorecard,
    Training,
    Verdict,
)
from engine.settings import meant

Section = tuple[str, list[str]]

WORST = 8  # slices that are told, of all that were judged


class NothingToExplain(LookupError):
    """No version and no window has that name; the message says which there are."""


def find(ledger: Ledger, stream: str, what: str) -> Cycle:
    """The cycle that made a version ("7" or "v7"), or the latest one on a window. Raises NothingToExplain."""
    number = what.removeprefix("v")
    if number.isdigit() and (made := ledger.makers(stream).get(int(number))):
        return made
    if named := ledger.latest(stream, what):
        return named
    versions = ", ".join(map(str, sorted(ledger.makers(stream))[-5:])) or "none"
    newest_first = list(dict.fromkeys(c.window.id for c in reversed(ledger.cycles(stream))))
    windows = ", ".join(newest_first[4::-1]) or "none"
    raise NothingToExplain(
        f"stream {stream!r} has no version or window {what!r}{meant(what, newest_first) or '.'} The latest versions: {versions}; "
        f"windows: {windows}"
    )


def story(ledger: Ledger, cycle: Cycle) -> Iterator[Section]:
    """Headings and lines, in the order in which things happened."""
    steps = {step.name: step for step in ledger.steps(cycle.id)}
    yield "window", _window(cycle)
    if breaches := _read(steps, "validate", tuple[Breach, ...]):
        accepted = _read(steps, "accept", Acceptance)
        lines = [f"{b.column or 'table'}: {b.message}" for b in breaches]
        yield "contract", [*lines, *([f"accepted by {accepted.who}: {accepted.reason}"] if accepted else [])]
    if drift := _read(steps, "drift", DriftReport):
        yield "drift", drift_lines(drift)
    if labelled := _read(steps, "label", Labelled):
        yield "labels", _labels(cycle, steps, labelled)
    elif cycle.closed is None and (said := answered(steps, cycle.opened)):
        yield "labels", [said]
    if live := _read(steps, "score", LiveScore):
        said = f"version {live.version} on {live.score.rows:,} rows before anybody trained on them"
        asked = labelled.window.rows if labelled else cycle.window.rows
        said += _without_target(asked - live.score.rows)
        yield "live", [f"{said}: {_metrics(live.score.metrics)}", *_slices(live.score, next(iter(live.score.metrics)))]
    if decision := _read(steps, "decide", Decision):
        yield "decision", [f"{'retrain' if decision.retrain else 'keep'} ({decision.cause}): {decision.reason}"]
    if training := _read(steps, "train", Training | JobFailure):
        yield "training", _training(training, cycle)
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
    yield "time", [f"{step.finished - step.started:7.3f} s  {_shown(step.name)}" for step in steps.values()]
    yield "parents", list(_parents(ledger, cycle))


def _shown(step: str) -> str:
    """A step's name for a person."""
    return f"look up the {step.replace('.', ', ')}" if step.partition(".")[0] == "champion" else step


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
    width = max((len(c.name) for c in columns), default=0)
    return [head, *(_drift_line(c, width) for c in columns), *report.notes]


def _drift_line(c: ColumnDrift, width: int) -> str:
    word = "drifted" if c.drifted else ""
    between = "" if math.isnan(c.low) else f"  ({c.low:.3f} to {c.high:.3f})"
    return f"{word:<7}  {c.name:<{width}}  {c.effect_name} {c.effect:8.3f}{between}  limit {c.limit:.3g}  q {c.q_value:.1e}"


def _window(cycle: Cycle) -> list[str]:
    window = cycle.window
    span = f", {window.start} to {window.end}" if window.start else ""
    return [
        f"{window.id}: {window.rows:,} rows{span}",
        f"{window.uri}, SHA-256 {window.digest}",
        f"attempt {cycle.attempt}, begun {_clock(cycle.opened)}" + (f", ended {_clock(cycle.closed)}" if cycle.closed else ""),
    ]


def answered(steps: Mapping[str, Step], opened: float) -> str | None:
    """Who answered a window and when, and when its labels came; None when they came with it."""
    said, labelled = _read(steps, "predict", Predicted), _read(steps, "label", Labelled)
    checked = "validate" in steps and not _read(steps, "validate", tuple[Breach, ...])
    if labelled is None and not (checked and labels_come_later(steps["configuration"].result)):
        return None
    since = steps["predict"].finished if said else opened
    who = f"predicted by version {said.version}" if said else "taken up when no version was live,"
    then = f"labelled at {_clock(labelled.when)} (after {_span(labelled.when - since)})" if labelled else "not labelled yet"
    return f"{who} at {_clock(since)}, {then}"


def _labels(cycle: Cycle, steps: Mapping[str, Step], labelled: Labelled) -> list[str]:
    lines = [answered(steps, cycle.opened) or ""]
    if labelled.breaches:
        return [*lines, *(f"{breach.column or 'table'}: {breach.message}" for breach in labelled.breaches)]
    window, files = labelled.window, labelled.files
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return [
        *lines,
        f"{window.rows:,} of {cycle.window.rows:,} rows, from {', '.join(files[:3])}{more}",
        f"{window.uri}, SHA-256 {window.digest}",
    ]


def _span(seconds: float) -> str:
    """A duration in the largest unit that is not too large.

    >>> [_span(s) for s in (0.4, 90, 11_520, 259_200)]
    ['0.4 s', '1.5 min', '3.2 h', '3.0 days']
    """
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _without_target(rows: int) -> str:
    return f", {rows:,} rows without a target, or with one outside of its limits, left out" if rows else ""


def _training(training: Training | JobFailure, cycle: Cycle) -> list[str]:
    if isinstance(training, JobFailure):
        return [training.reason]
    phases = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in training.seconds.items())
    return [
        f"{training.strategy}, seed {training.seed}, {training.steps:,} steps; fresh rows: {training.rows_fit:,} to fit, then "
        f"{training.rows_stop:,} to stop{_without_target(training.unlabelled)}",
        f"the newest {training.rows_judge:,}, to the end of {cycle.window.id}, judge and are never fitted on",
        f"fitted on rows of the windows {', '.join(training.windows)}",
        *(f"without the window {why}" for why in training.left_out.values()),
        f"loss {training.fit_loss:.4g}"
        + (f", on the stop slice {training.stop_loss:.4g}" if training.stop_loss is not None else ""),
        phases,
        *([_resources(training.resources)] if training.resources else ()),
    ]


def _resources(used: Resources) -> str:
    gpu = f", {used.gpu_bytes / 1e6:,.0f} MB on the GPU" if used.gpu_bytes else ""
    return f"took {used.cpu_seconds:.1f} s of a processor, {used.peak_bytes / 1e6:,.0f} MB of memory at its highest{gpu}"


def _card(card: Scorecard) -> list[str]:
    lines = [f"challenger on {card.rows:,} rows: {_metrics(card.challenger.metrics)}"]
    if card.champion and card.gain is not None and card.low is not None:
        lines.append(f"version {card.champion_version} on the same rows: {_metrics(card.champion.metrics)}")
        lines.append(f"gain in {card.metric} {amount(card.metric, card.gain)}, surely at least {amount(card.metric, card.low)}")
    if said := no_better(card):
        lines.append(said)
    lines += _slices(card.challenger, card.metric)
    told = sorted(card.slices, key=lambda s: s.gain)
    width = max((len(f"{s.column}={s.value}") for s in told[:WORST]), default=0)
    for s in told[:WORST]:
        sure = f"surely {amount(card.metric, s.low)} to {amount(card.metric, s.high)}"
        lines.append(
            f"{f'{s.column}={s.value}':<{width}}  {s.rows:>6,} rows  {card.metric} {s.challenger:.4g} against {s.champion:.4g}  "
            f"gain {amount(card.metric, s.gain)}, {sure}"
        )
    if len(told) > WORST:
        lines.append(f"and {len(told) - WORST} slices more, which gain more")
    return lines + [gap_words(gap) for gap in card.gaps if gap.name in (card.metric, *DIFFERENCES.values())]


def _slices(score: Score, name: str) -> list[str]:
    """The slice of every column on which the metric is worst."""
    lines = []
    for column in dict.fromkeys(s.column for s in score.slices):
        of_column = Score(score.rows, score.metrics, tuple(s for s in score.slices if s.column == column))
        if found := worst(of_column, name):
            span = f" ({found.span})" if found.span else ""
            rest = f"{found.rows:,} of {score.rows:,} rows, {len(of_column.slices)} slices"
            lines.append(f"worst of {column}: {found.value}{span}, {name} {found.metrics[name]:.4g} on {rest}")
    return lines


def _parents(ledger: Ledger, cycle: Cycle) -> Iterator[str]:
    """From this cycle back to the first version."""
    made = ledger.makers(cycle.window.stream)
    while champion := _started_from(ledger, cycle):
        parent = made.get(champion.version)
        yield f"version {champion.version}, from window {champion.window}: {parent.reason if parent else 'its cycle is gone'}"
        if parent is None or parent.id == cycle.id:
            return
        cycle = parent


def _started_from(ledger: Ledger, cycle: Cycle) -> Champion | None:
    """The champion that a cycle's challenger was trained from: with labels that came later, the one of that time."""
    steps = {step.name: step for step in ledger.steps(cycle.id)}
    champion: Champion | None = _read(steps, "champion.labelled" if "label" in steps else "champion", Champion | None)
    return champion


def _read(steps: Mapping[str, Step], name: str, kind: Any) -> Any:
    return decode(kind, steps[name].result) if name in steps else None


def _metrics(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
