"""One Profile against another: per column its statistics, a p-value, an effect size, and whether it drifted."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from engine.alarms.quiet import QuietLimits
from engine.columns import Floats
from engine.nouns import ColumnDrift, DriftReport, Kind, Measure
from engine.profile import Profile, SegmentBy
from kernels import suite
from kernels.measured import Measured
from kernels.statistics.benjamini_hochberg import benjamini_hochberg
from kernels.statistics.bonferroni import bonferroni

# What every window is asked for; the statistic that limits look at besides. A person may ask for all of `kernels.suite`.
NUMBERS = ("psi", "js", "ks", "w1", "welch", "missing", "outside")
CATEGORIES = ("psi", "js", "chi2", "cramers_v", "new", "lost")
FEW_ROWS = 30  # of a segment: so few say nothing of their own

Measures = Mapping[str, Measure]
CORRECTIONS = {"benjamini_hochberg": benjamini_hochberg, "bonferroni": bonferroni}


@dataclass(frozen=True)
class DriftLimits:
    """When a column counts as drifted. Raises ValueError when the settings do not fit together.

    effect: the statistic whose effect is compared with the limit, by its name in `kernels.suite`: psi, js, ks, w1 (in reference
        standard deviations), welch (Cohen's d), missing, outside, new (shares of the rows), cramers_v and all others.
    limit: a column drifted when its effect is over this and its q-value under `alpha`; 0.2 is the usual reading of PSI. What
        chance alone would show in so few rows is no part of an effect.
    limits: other limits for single columns.
    learn: so many quiet windows give each column a limit of its own (`engine.alarms.quiet`), never under `limit`; 0: none does.
    alpha: with `alarms: window` the false discovery rate over the columns of one window (or the chance of any false alarm in it,
        with bonferroni); with `alarms: stream` the chance of any false alarm in all windows to come (`engine.alarms.anytime`).
    ignore: columns that are measured but never count as drifted.
    segments: a column whose values are compared by themselves, each in every other column.
    confidence: of the interval around every effect.
    """

    effect: str = "psi"
    limit: float = 0.2
    limits: Mapping[str, float] = field(default_factory=dict)
    learn: int = 0
    alpha: float = 0.05
    alarms: Literal["window", "stream"] = "window"
    correction: Literal["benjamini_hochberg", "bonferroni"] = "benjamini_hochberg"
    ignore: tuple[str, ...] = ()
    segments: str | None = None
    confidence: float = 0.95

    def __post_init__(self) -> None:
        known = sorted({*suite.NUMBERS, *suite.CATEGORIES})
        if self.effect not in known:
            raise ValueError(f"there is no effect {self.effect!r}; there are {', '.join(known)}")
        for name, value, choices in (("alarms", self.alarms, ("window", "stream")), ("correction", self.correction, CORRECTIONS)):
            if value not in choices:
                raise ValueError(f"{name} is one of {', '.join(choices)}, not {value!r}")
        if not 0 < self.alpha < 1 or not 0 < self.confidence < 1:
            raise ValueError("alpha and confidence are shares between 0 and 1")

    @property
    def segment_by(self) -> SegmentBy | None:
        """As `engine.profile` takes it."""
        return SegmentBy(self.segments) if self.segments else None


@dataclass(frozen=True)
class Compared:
    """All that was measured of one column, in one segment of the rows or ("") in all of them. `p_value` is the test's of it."""

    column: str
    kind: Kind
    measures: Measures
    p_value: float
    segment: str = ""


def compare(
    reference: Profile,
    current: Profile,
    limits: DriftLimits,
    window: str,
    version: int,
    past: Sequence[DriftReport] = (),
    chances: Mapping[str, float] | None = None,
) -> DriftReport:
    """Compare two Profiles that count the same columns over the same edges; `window` and `version` name them in the report.

    `past` are the reports that limits are learnt from. `chances` are the monitor's of each column, where `alarms` is "stream".
    """
    found = measure(reference, current, (*NUMBERS, limits.effect), (*CATEGORIES, limits.effect), limits.confidence)
    return judge(reference, current, found, limits, window, version, past, chances)


def measure(
    reference: Profile,
    current: Profile,
    numbers: Collection[str] = tuple(suite.NUMBERS),
    categories: Collection[str] = tuple(suite.CATEGORIES),
    confidence: float = 0.95,
    ordered: tuple[Sequence[Floats], Sequence[Floats]] | None = None,
) -> list[Compared]:
    """The statistics of these names, of every column and then of every segment that is large enough on both sides.

    `ordered` are all values of the numeric columns, where the Profiles' samples of them are not enough.
    """
    reference.suits(current)
    found = [
        *_numbers(reference, current, numbers, confidence, ordered),
        *(_category(reference, current, name, categories, confidence) for name in reference.categories),
    ]
    for value, part in reference.segments.items():
        other = current.segments.get(value)
        if other is not None and min(part.rows, other.rows) >= FEW_ROWS:
            found += [replace(each, segment=value) for each in measure(part, other, numbers, categories, confidence)]
    return found


def judge(
    reference: Profile,
    current: Profile,
    found: Sequence[Compared],
    limits: DriftLimits,
    window: str,
    version: int,
    past: Sequence[DriftReport] = (),
    chances: Mapping[str, float] | None = None,
    whole: bool = False,
) -> DriftReport:
    """Hold what was measured against the limits; `whole`: the report keeps every measure, and not their effects alone."""
    q_values = CORRECTIONS[limits.correction](np.array([each.p_value for each in found]))
    learnt = _learnt(found, limits, past)
    columns = []
    for each, q_value in zip(found, q_values.tolist(), strict=True):
        # A statistic that exists for one kind only falls back to PSI, which every column has.
        name = limits.effect if limits.effect in each.measures else "psi"
        size = _outwards(each.measures[name])
        limit = learnt.get(_key(each.column, each.segment), limits.limits.get(each.column, limits.limit))
        said = q_value if chances is None else chances.get(each.column, math.nan) if not each.segment else math.nan
        drifted = each.column not in limits.ignore and size.effect > limit and said < limits.alpha
        columns.append(
            ColumnDrift(
                each.column,
                each.kind,
                {key: one.effect for key, one in each.measures.items()},
                each.p_value,
                q_value if chances is None else said,
                name,
                size.effect,
                limit,
                bool(drifted),
                size.low,
                size.high,
                each.segment,
                dict(each.measures) if whole else {},
            )
        )
    return DriftReport(window, version, reference.rows, current.rows, tuple(columns))


def _learnt(found: Sequence[Compared], limits: DriftLimits, past: Sequence[DriftReport]) -> dict[str, float]:
    if not limits.learn:
        return {}
    floors = {_key(each.column, each.segment): limits.limits.get(each.column, limits.limit) for each in found}
    return QuietLimits(windows=limits.learn).limits(past, floors)


def _key(column: str, segment: str) -> str:
    return f"{column} [{segment}]" if segment else column


def _outwards(measure: Measure) -> Measure:
    """The size of an effect that has a sign, and its interval."""
    if not measure.effect < 0:
        return measure
    return replace(measure, effect=-measure.effect, low=-measure.high, high=-measure.low)


def _numbers(
    reference: Profile,
    current: Profile,
    names: Collection[str],
    confidence: float,
    ordered: tuple[Sequence[Floats], Sequence[Floats]] | None,
) -> list[Compared]:
    if not reference.numbers:
        return []
    values = ordered or (reference.samples, current.samples)
    sides = [_side(profile, each) for profile, each in zip((reference, current), values, strict=True)]
    found = suite.numbers(sides[0], sides[1], {*names, "ks", "missing"}, confidence)
    # Two tests, either one may speak (Bonferroni): the first does not see values go missing.
    tests = np.array([found["ks"].p_value, found["missing"].p_value])
    p_values = np.minimum(2 * np.fmin(*tests), 1)
    return [
        Compared(name, "number", {key: one(each, j) for key, each in found.items()}, float(p_values[j]))
        for j, name in enumerate(reference.numbers)
    ]


def _side(profile: Profile, ordered: Sequence[Floats]) -> suite.Numbers:
    return suite.Numbers(profile.counts, profile.bins_and_missing, profile.outside.sum(axis=1), ordered)


def _category(reference: Profile, current: Profile, name: str, names: Collection[str], confidence: float) -> Compared:
    before, after = reference.categories[name], current.categories.get(name, {})
    values = sorted({*before, *after})
    table = np.array([[[side.get(value, 0) for value in values]] for side in (before, after)], dtype=np.int64)
    found = suite.categories(table[0], table[1], {*names, "chi2"}, confidence)
    test = found["chi2"].p_value
    assert test is not None
    return Compared(name, "category", {key: one(each, 0) for key, each in found.items()}, float(test[0]))


def one(found: Measured, j: int = 0) -> Measure:
    """What a statistic says of the column j, or of a whole table."""
    value, effect, low, high = (float(np.ravel(each)[j]) for each in (found.value, found.effect, found.low, found.high))
    return Measure(value, None if found.p_value is None else float(np.ravel(found.p_value)[j]), effect, low, high)
