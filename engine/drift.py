"""One Profile against another: per column its statistics, a p-value, an effect size, and whether it drifted."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from engine.alarms.quiet import QuietLimits
from engine.columns import Floats
from engine.nouns import ColumnDrift, DriftReport, Kind, Measure
from engine.profile import SAMPLE, SEGMENT_SAMPLE, Profile, SegmentBy, rank_error
from kernels import suite
from kernels.measured import Measured
from kernels.statistics.benjamini_hochberg import benjamini_hochberg
from kernels.statistics.bonferroni import bonferroni

# What every window is asked for; the statistic that limits look at besides. A person may ask for all of `kernels.suite`.
NUMBERS = ("psi", "js", "ks", "w1", "welch", "missing", "outside")
CATEGORIES = ("psi", "js", "chi2", "cramers_v", "new", "lost")
FEW_ROWS = 30  # of a segment: so few say nothing of their own
TOLD = 5  # columns in a note

VALUES = 1 << 25  # of each side in memory at once, sorted

Measures = Mapping[str, Measure]
Ordered = Callable[[str], Floats | None]  # all values of a column, ascending; None where they cannot be had
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
    exact: statistics over sorted values are of every row of the window and of those that the champion was trained on, and not of
        the samples in their Profiles (`engine.profile.rank_error` says how far these may be off). Columns are read from the
        windows' files, sorted once and kept on disk (`engine.exact`, `retention.sorted_mb`).
    """

    effect: Literal[
        "psi",
        "js",
        "kl",
        "hellinger",
        "tv",
        "l_infinity",
        "chi2",
        "g",
        "cramers_v",
        "ks_bins",
        "w1_bins",
        "ks",
        "kuiper",
        "w1",
        "cvm",
        "ad",
        "energy",
        "mann_whitney",
        "quantiles",
        "welch",
        "variance",
        "missing",
        "infinite",
        "outside",
        "new",
        "lost",
    ] = "psi"
    limit: float = 0.2
    limits: Mapping[str, float] = field(default_factory=dict)
    learn: int = 0
    alpha: float = 0.05
    alarms: Literal["window", "stream"] = "window"
    correction: Literal["benjamini_hochberg", "bonferroni"] = "benjamini_hochberg"
    ignore: tuple[str, ...] = ()
    segments: str | None = None
    confidence: float = 0.95
    exact: bool = False

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
    """All that was measured of one column, in one segment of the rows or ("") in all of them. `p_value` is the test's of it.

    `drawn`: its statistics over sorted values are of a sample of them.
    """

    column: str
    kind: Kind
    measures: Measures
    p_value: float
    segment: str = ""
    drawn: bool = False


def compare(
    reference: Profile,
    current: Profile,
    limits: DriftLimits,
    window: str,
    version: int,
    past: Sequence[DriftReport] = (),
    chances: Mapping[str, float] | None = None,
    ordered: tuple[Ordered, Ordered] | None = None,
) -> DriftReport:
    """Compare two Profiles that count the same columns over the same edges; `window` and `version` name them in the report.

    `past` are the reports that limits are learnt from. `chances` are the monitor's of each column, where `alarms` is "stream".
    `ordered` is as in `measure`.
    """
    names = (*NUMBERS, limits.effect), (*CATEGORIES, limits.effect)
    found = measure(reference, current, *names, limits.confidence, ordered)
    return judge(reference, current, found, limits, window, version, past, chances)


def measure(
    reference: Profile,
    current: Profile,
    numbers: Collection[str] = tuple(suite.NUMBERS),
    categories: Collection[str] = tuple(suite.CATEGORIES),
    confidence: float = 0.95,
    ordered: tuple[Ordered, Ordered] | None = None,
) -> list[Compared]:
    """The statistics of these names, of every column and then of every segment that is large enough on both sides.

    `ordered` are asked for all values of a numeric column of which a Profile holds a sample; a few columns are in memory at once.
    """
    reference.suits(current)
    found = [
        *_numbers(reference, current, numbers, confidence, ordered),
        *(_category(reference, current, name, categories, confidence) for name in reference.categories),
    ]
    for value, part in reference.segments.items():
        other = current.segments.get(value)
        if other is not None and reference.by is not None and min(part.rows, other.rows) >= FEW_ROWS:
            names = [name for name in part.kinds if name != reference.by.column]
            measured = measure(part.only(names), other.only(names), numbers, categories, confidence)
            found += [replace(each, segment=value) for each in measured]
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
    return DriftReport(window, version, reference.rows, current.rows, tuple(columns), tuple(_drawn(found)))


def _drawn(found: Sequence[Compared]) -> Iterator[str]:
    """Which columns' statistics over sorted values are of samples, and how far these may be off."""
    for what, most, columns in (
        ("", SAMPLE, [each.column for each in found if each.drawn and not each.segment]),
        ("in segments, ", SEGMENT_SAMPLE, list(dict.fromkeys(each.column for each in found if each.drawn and each.segment))),
    ):
        if columns:
            names = ", ".join(columns[:TOLD]) + (f" and {len(columns) - TOLD:,} more" if len(columns) > TOLD else "")
            yield (
                f"{what}statistics over sorted values of {names} are of samples, {most:,} values of a side at most: "
                f"their ranks are off by {rank_error(most):.3g} of all at most, at 99.9% confidence"
            )


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
    ordered: tuple[Ordered, Ordered] | None,
) -> list[Compared]:
    compared = []
    sides = [replace(profile, by=None, segments={}) for profile in (reference, current)]
    size = max(VALUES // max(reference.rows, current.rows, 1), 1)
    for start in range(0, len(reference.numbers), size):
        columns = reference.numbers[start : start + size]
        parts = [side.only(columns) for side in sides]
        values = [_ordered(part, asked) for part, asked in zip(parts, ordered or (None, None), strict=True)]
        before, after = (_side(part, each) for part, each in zip(parts, values, strict=True))
        found = suite.numbers(before, after, {*names, "ks", "missing"}, confidence)
        # Two tests, either one may speak (Bonferroni): the first does not see values go missing.
        tests = np.array([found["ks"].p_value, found["missing"].p_value])
        p_values = np.minimum(2 * np.fmin(*tests), 1)
        for j, name in enumerate(columns):
            drawn = any(len(side.ordered[j]) < side.moments.finite[j] for side in (before, after))
            measures = {key: one(each, j) for key, each in found.items()}
            compared.append(Compared(name, "number", measures, float(p_values[j]), drawn=drawn))
    return compared


def _ordered(profile: Profile, asked: Ordered | None) -> list[Floats]:
    """The finite values of every numeric column, ascending; the Profile's sample where it holds them all or nothing else does."""
    found: list[Floats] = []
    for name, sample, finite in zip(profile.numbers, profile.samples, profile.counts.finite.tolist(), strict=True):
        values = asked(name) if asked and len(sample) < finite else None
        if values is None:
            found.append(sample)
        else:
            found.append(values[np.searchsorted(values, -np.inf, side="right") : np.searchsorted(values, np.inf)])
    return found


def _side(profile: Profile, ordered: Sequence[Floats]) -> suite.Numbers:
    return suite.Numbers(profile.counts, profile.edges, profile.bins_and_missing, profile.outside.sum(axis=1), ordered)


def _category(reference: Profile, current: Profile, name: str, names: Collection[str], confidence: float) -> Compared:
    before, after = reference.categories[name], current.categories.get(name, {})
    values = sorted({*before, *after}) or [""]  # of no rows at all nothing is known, not even that nothing changed
    table = np.array([[[side.get(value, 0) for value in values]] for side in (before, after)], dtype=np.int64)
    found = suite.categories(table[0], table[1], {*names, "chi2"}, confidence)
    test = found["chi2"].p_value
    assert test is not None
    return Compared(name, "category", {key: one(each, 0) for key, each in found.items()}, float(test[0]))


def one(found: Measured, j: int = 0) -> Measure:
    """What a statistic says of the column j, or of a whole table."""
    value, effect, low, high = (float(np.ravel(each)[j]) for each in (found.value, found.effect, found.low, found.high))
    return Measure(value, None if found.p_value is None else float(np.ravel(found.p_value)[j]), effect, low, high, found.rows)
