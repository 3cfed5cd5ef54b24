"""The words of the project, as frozen dataclasses. Standard library only, so that every verb can import them for nothing.

Everything here survives a round trip through JSON: it is what the ledger stores. Arrays are never in here; they stay in
files that a noun names by path and digest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

Kind = Literal["number", "boolean", "category"]
Task = Literal["regression", "binary", "multiclass"]
Cause = Literal["first", "drift", "degradation", "schedule", "volume", "event", "deferred", "none"]

PAST = 64
"""Windows from before the champion's last that are offered to a strategy, which takes the ones it wants."""

HELD = "the stream is held"
"""How the reason of a window begins that was kept because of it: `resume` names those."""


class Outcome(StrEnum):
    """How a window's cycle ended. `WAITING` is the one that a person turns into another."""

    PROMOTED = "promoted"
    KEPT = "kept"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Column:
    """One feature: `number` (NaN is missing), `boolean`, or `category` (a string; null and "" are the same value)."""

    name: str
    kind: Kind
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Schema:
    """What a window's table must hold: the features, the target, and the column that orders rows in time.

    `watched` columns are no features: their drift is measured and may trigger, the model never sees them. `classes` are the
    labels of a classification as text, fixed for the stream's life, in the order in which the model answers; of two the second is
    the positive one. A binary task without them has the targets 0 and 1, or false and true. `key` names the rows of windows whose
    labels come later; without it every window brings its target. `sliced` are further columns, which only say which slice a row
    belongs to.
    """

    columns: tuple[Column, ...]
    target: str
    task: Task = "regression"
    time: str | None = None
    watched: tuple[Column, ...] = ()
    classes: tuple[str, ...] = ()
    key: str | None = None
    sliced: tuple[str, ...] = ()


Within = tuple[float | None, float | None]
"""From where to where a target may lie, both included; None is no limit."""


@dataclass(frozen=True, slots=True)
class Window:
    """One finished slice of fresh data. `digest` is the SHA-256 of its bytes; `start` and `end` are ISO 8601 event times.

    `parts` are the digests of the small windows that it was joined from. `accepted`: a person let it pass although it breaks
    limits of its contract, so its targets are right wherever they lie.
    """

    stream: str
    id: str
    uri: str
    digest: str
    rows: int
    start: str | None = None
    end: str | None = None
    parts: tuple[str, ...] = ()
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class Small:
    """Windows that wait for more rows: their ids, how many rows they have together, how many are needed."""

    windows: tuple[str, ...]
    rows: int
    needed: int

    def __str__(self) -> str:
        names = f"window {self.windows[0]}" if len(self.windows) == 1 else f"windows {self.windows[0]} to {self.windows[-1]}"
        wait = "waits" if len(self.windows) == 1 else "wait"
        return f"{names} {wait} for more rows: {self.rows:,} of {self.needed:,} (`stream.contract.min_rows`)"


@dataclass(frozen=True, slots=True)
class Breach:
    """One way in which a window breaks its contract, in words a data supplier understands.

    count: how many rows it is about; 0 when it is about the window as a whole.
    rows, values: the numbers (from 0) of the first 20 of them, and what they hold.
    limit: only a limit is broken, which a person may accept; otherwise nothing could be trained on the window.
    """

    column: str | None
    message: str
    count: int = 0
    rows: tuple[int, ...] = ()
    values: tuple[str, ...] = ()
    limit: bool = False


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A person lets a window pass although it breaks limits of its contract."""

    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class Measure:
    """One statistic: its value, its p-value where there is one, and the effect size it estimates, with a confidence interval.

    `rows` are how many of each side a statistic of whole rows is of.
    """

    value: float
    p_value: float | None
    effect: float
    low: float
    high: float
    rows: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """One column of one Profile against another. `effect` is the size that thresholds look at; `effect_name` says which.

    `low` and `high` are its confidence interval. `statistics` are the effects of all statistics, which `measures` tell in full
    where somebody asked for it. `segment` is the value whose rows alone were compared, "" for all of them. Where the monitor
    watches the stream, `q_value` is the chance that an unchanged stream ever gives as much reason to call anything drifted.
    """

    column: str
    kind: Kind
    statistics: dict[str, float]
    p_value: float
    q_value: float
    effect_name: str
    effect: float
    limit: float
    drifted: bool
    low: float = math.nan
    high: float = math.nan
    segment: str = ""
    measures: dict[str, Measure] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The column, and the segment of it."""
        return f"{self.column} [{self.segment}]" if self.segment else self.column


@dataclass(frozen=True, slots=True)
class DriftReport:
    """A window's Profile against the one its champion was trained on. `notes` say what is not of every value, and why."""

    window: str
    version: int
    rows_reference: int
    rows_current: int
    columns: tuple[ColumnDrift, ...]
    notes: tuple[str, ...] = ()

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """The columns over their limit, worst first."""
        return tuple(sorted((c for c in self.columns if c.drifted), key=lambda c: -c.effect / c.limit))


@dataclass(frozen=True, slots=True)
class Decision:
    """Retrain or keep, why, and the reason in words with its number. `deferred`: a later window of the backlog retrains."""

    retrain: bool
    cause: Cause
    reason: str
    deferred: bool = False


@dataclass(frozen=True, slots=True)
class Champion:
    """The registered version that answers now, and what it was made from. `folder` holds its checkpoint and graph."""

    version: int
    folder: str
    cycle_id: str
    window: str
    baseline: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SliceScore:
    """One model on a slice: the rows whose `column` has the `value`. `span` says from where to where, of a quarter.

    `enough`: the slice has rows enough to be held against others; one that has not is shown and decides nothing.
    """

    column: str
    value: str
    rows: int
    metrics: dict[str, float]
    enough: bool = True
    span: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """One model on one set of rows, and on the slices of them that `stream.slice_by` names."""

    rows: int
    metrics: dict[str, float]
    slices: tuple[SliceScore, ...] = ()


@dataclass(frozen=True, slots=True)
class Predicted:
    """What the live version said about a whole window; `answers` is the file of it, in the rows' order of time."""

    version: int
    answers: str


@dataclass(frozen=True, slots=True)
class Labelled:
    """A window whose labels came later: a Window of its own whose file holds the rows that have one, joined with it.

    With `breaches` it is the window as it landed. `when` its labels were found, in Unix seconds; `files` are the label files that
    said something about it.
    """

    window: Window
    when: float
    breaches: tuple[Breach, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveScore:
    """The live model on a whole window, before that window was trained on; `answers` is the file of what Triton said."""

    version: int
    score: Score
    answers: str


@dataclass(frozen=True, slots=True)
class SliceGain:
    """Champion and challenger on a slice, by the metric that judges.

    `low` and `high` are the confidence bounds of `gain`, each wide enough that those of all slices hold together.
    """

    column: str
    value: str
    rows: int
    challenger: float
    champion: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Gap:
    """The bias of a model: how far apart the slices of a column are in a metric, from the `lowest` one to the `highest`.

    `champion` is the same of the champion on the same rows.
    """

    column: str
    name: str
    value: float
    champion: float | None
    lowest: str
    highest: str


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Champion and challenger on the same rows. `gain` is relative (0.03 is 3% better), `low` its lower confidence bound.

    `slices` are those with rows enough to be compared, `gaps` the challenger's. `constant` is how good it would be to answer
    always the same; it is measured while there is no champion.
    """

    metric: str
    rows: int
    challenger: Score
    champion: Score | None
    champion_version: int | None
    gain: float | None
    low: float | None
    slices: tuple[SliceGain, ...] = ()
    gaps: tuple[Gap, ...] = ()
    constant: Score | None = None

    @property
    def worst(self) -> SliceGain | None:
        """The slice on which the challenger loses most, or gains least."""
        return min(self.slices, key=lambda s: s.gain, default=None)


@dataclass(frozen=True, slots=True)
class Rule:
    """One gate rule with its number and its limit."""

    name: str
    passed: bool
    value: float | None
    limit: float | None
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every gate rule; passed when all of them did."""

    rules: tuple[Rule, ...]

    @property
    def passed(self) -> bool:
        """True when no rule failed."""
        return all(rule.passed for rule in self.rules)

    @property
    def reason(self) -> str:
        """The failed rules in words, or the passed ones when none failed."""
        failed = [rule.message for rule in self.rules if not rule.passed]
        return "; ".join(failed or [rule.message for rule in self.rules])


@dataclass(frozen=True, slots=True)
class Slices:
    """How fresh rows are cut by time: the last `judge` share judges, the `stop` share before it stops, the rest is fitted.

    Below `min_stop_rows` stop rows there is no stop slice and the fit runs its whole budget.
    """

    stop: float = 0.0
    judge: float = 0.2
    min_stop_rows: int = 200


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One fine-tune, whole: what a process needs that opens no ledger and asks no registry.

    `folder` receives the results. `parent` is the champion's folder (None trains from nothing). `fresh` are the windows since the
    champion's last trained one and `past` those before it, both oldest first. `model`, `strategy` and `trainer` are
    configuration nodes (`_target_` and arguments). Rows whose target is not `within` its limits are left out.
    """

    cycle_id: str
    folder: str
    schema: Schema
    fresh: tuple[Window, ...]
    past: tuple[Window, ...]
    parent: str | None
    model: dict[str, Any]
    strategy: dict[str, Any]
    trainer: dict[str, Any]
    slices: Slices
    seed: int
    within: Within | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """What a job took: seconds of its processors, and bytes of memory at its highest, on the host and on the GPU."""

    cpu_seconds: float
    peak_bytes: int
    gpu_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Training:
    """What a job did. Its folder holds `checkpoint.ckpt`, `model.onnx`, `golden.npz` and, written last, `result.json`.

    `windows` are the ids of every window whose rows were drawn. `left_out` are older windows that could not be read any more, by
    digest, each with the reason; `unlabelled` counts the rows without a target that can be learnt from.
    """

    folder: str
    strategy: str
    windows: tuple[str, ...]
    parent: str | None
    seed: int
    rows_fit: int
    rows_stop: int
    rows_judge: int
    steps: int
    fit_loss: float
    stop_loss: float | None
    exported: Literal["graph", "weights"]
    seconds: dict[str, float]
    left_out: dict[str, str] = field(default_factory=dict)
    resources: Resources | None = None
    unlabelled: int = 0

    def trained_on(self, spec: JobSpec) -> tuple[Window, ...]:
        """The windows of the job whose rows were drawn, oldest first: all their rows are what the version's Profile is of."""
        read = (window for window in (*spec.past, *spec.fresh) if window.digest not in self.left_out)
        return tuple(window for window in read if window.id in self.windows)


@dataclass(frozen=True, slots=True)
class JobFailure:
    """A job that ended without a challenger, for a reason that trying again would not change."""

    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """The end of an attempt to change the live version.

    `released`: it answers and the alias names it. `stale`: another version is champion than the one it was judged against.
    `held`: a rollback holds the stream. `failed`: it did not answer as it should once live, and the previous one was put back.
    """

    state: Literal["released", "stale", "held", "failed"]
    version: int
    previous: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Closing:
    """The last record of a cycle: its Outcome, the version concerned, and the reason in words."""

    outcome: Outcome
    reason: str
    version: int | None = None
