"""Mergeable statistics of a table: counts over fixed edges, moments, categories, missing values and a sorted sample, per column.

A champion's reference Profile fixes the edges (quantiles of its training rows); every later window is counted over the same
edges, so two Profiles compare in microseconds whatever the size of the data behind them. `engine.profiling` makes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

import kernels
from engine.columns import Holds

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

QUANTILES = 31  # 32 bins of equal weight in the reference: fine enough for tails, coarse enough for windows of a thousand rows
SAMPLE = 10_000  # rows kept sorted per numeric column; below it KS and Wasserstein are exact
SEGMENT_SAMPLE = 1_000  # the same for a segment, of which there may be many
OTHER = "(other)"
MISSING = "(missing)"


@dataclass(frozen=True)
class SegmentBy:
    """A column whose values part the rows: each has a Profile of its own, over the edges of the whole.

    The `most` frequent values are kept, ties in the order of the alphabet; the others are one segment, "(other)", and rows
    without a value one more, "(missing)". `values` are those that were kept: like the edges, the reference fixes them.
    """

    column: str
    most: int = 20
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"at least one value of {self.column} is kept as a segment, not {self.most}")


@dataclass(frozen=True)
class Profile:
    """What a table looked like. `numbers` are the numeric columns in the order of `edges` [d, E], `counts` and `samples`.

    The edges are the least finite value of the reference, its 31 quantiles at equal steps, and the float just above its greatest:
    so the first and the last bin hold what lies outside its range, infinities included. `kinds` says what each column holds,
    categories included. `segments` are Profiles of the rows of one value each, over the same edges; `by` says which column's.

    A sample's distribution function is off by at most `rank_error` of its size: with 10,000 values by 0.0195 at 99.9% confidence.
    """

    rows: int
    numbers: tuple[str, ...]
    edges: F64
    counts: kernels.ColumnCounts
    samples: tuple[F64, ...]
    categories: Mapping[str, Mapping[str, int]]
    kinds: Mapping[str, Holds]
    by: SegmentBy | None = None
    segments: Mapping[str, Profile] = field(default_factory=dict)

    @property
    def bins(self) -> I64:
        """[d, 32] the counts between the quantiles, equal in the reference; what lies outside its range is in the outer two."""
        counts = self.counts.counts
        low, high = counts[:, :2].sum(axis=1), counts[:, -2:].sum(axis=1)
        return np.column_stack([low, counts[:, 2:-2], high])

    @property
    def bins_and_missing(self) -> I64:
        """[d, 33] the same with NaN as the last one, so that a change in missingness is a change in distribution."""
        return np.column_stack([self.bins, self.counts.missing])

    @property
    def outside(self) -> I64:
        """[d, 2] how many values lie below and above the range of the reference."""
        return self.counts.counts[:, [0, -1]]

    def suits(self, other: Profile) -> None:
        """Complain when the two are not of the same columns. Raises ValueError, which names one."""
        mine, theirs = dict(self.kinds), dict(other.kinds)
        for name in (*mine, *theirs):
            if name not in theirs or name not in mine:
                has, lacks = ("first", "second") if name in mine else ("second", "first")
                raise ValueError(
                    f"column {name} is in the {has} profile and not in the {lacks}: profile the same columns of both"
                )
            if not alike(mine[name], theirs[name]):
                raise ValueError(f"column {name} is a {mine[name]} in the first profile and a {theirs[name]} in the second")

    def only(self, names: Iterable[str]) -> Profile:
        """The Profile of some of the columns."""
        kept = set(names)
        places = [j for j, name in enumerate(self.numbers) if name in kept]
        arrays = {f.name: getattr(self.counts, f.name)[places] for f in fields(kernels.ColumnCounts) if f.name != "rows"}
        return Profile(
            self.rows,
            tuple(self.numbers[j] for j in places),
            self.edges[places],
            kernels.ColumnCounts(**arrays, rows=self.rows),
            tuple(self.samples[j] for j in places),
            {name: values for name, values in self.categories.items() if name in kept},
            {name: kind for name, kind in self.kinds.items() if name in kept},
            self.by,
            {value: part.only(kept) for value, part in self.segments.items()},
        )

    def merge(self, other: Profile, seed: int = 0) -> Profile:
        """The Profile of both tables together. Counts add exactly, moments by Chan's formula; samples are thinned in proportion.

        Raises ValueError when the two were counted over different edges or segments.
        """
        self.suits(other)
        same = self.numbers == other.numbers and np.array_equal(self.edges, other.edges)
        if not same or self.by != other.by or set(self.segments) != set(other.segments):
            raise ValueError("profiles merge only when they count the same columns over the same edges and segments")
        return self._merged(other, SAMPLE, seed)

    def _merged(self, other: Profile, sample: int, seed: int) -> Profile:
        categories = {
            name: {v: mine.get(v, 0) + other.categories[name].get(v, 0) for v in {**mine, **other.categories[name]}}
            for name, mine in self.categories.items()
        }
        sizes = np.column_stack([self.counts.finite, other.counts.finite])
        samples = tuple(
            _thin(a, b, size, sample, seed + j)
            for j, (a, b, size) in enumerate(zip(self.samples, other.samples, sizes.tolist(), strict=True))
        )
        segments = {
            value: mine._merged(other.segments[value], SEGMENT_SAMPLE, seed + place)
            for place, (value, mine) in enumerate(self.segments.items(), 1)
        }
        rows, counts = self.rows + other.rows, self.counts.merge(other.counts)
        return Profile(rows, self.numbers, self.edges, counts, samples, categories, self.kinds, self.by, segments)


def rank_error(values: int, confidence: float = 0.999) -> float:
    """How far the distribution function of a sample of so many values may be from that of all of them, anywhere.

    The inequality of Dvoretzky, Kiefer and Wolfowitz with Massart's constant ("The tight constant in the
    Dvoretzky-Kiefer-Wolfowitz inequality", 1990); it holds for draws without replacement too. A quantile read from the sample is
    one of the data's at a rank that is off by no more.

    >>> round(rank_error(10_000), 4)
    0.0195
    """
    return math.sqrt(math.log(2 / (1 - confidence)) / (2 * values)) if values else 1.0


def alike(one: Holds, other: Holds) -> bool:
    """Whether columns that hold this and that can be compared: a boolean is a number, a time and a text are what they are."""
    return one == other or {one, other} == {"number", "boolean"}


def _thin(a: F64, b: F64, sizes: Sequence[int], most: int, seed: int) -> F64:
    """A sample of what two samples were drawn from: each as large a share of it as the number of values behind it."""
    share = sizes[0] / max(sum(sizes), 1)
    whole = a.size == sizes[0] and b.size == sizes[1] and a.size + b.size <= most
    if whole or not (a.size and b.size):
        return np.sort(np.concatenate([a, b]))
    size = math.floor(min(most, a.size / share, b.size / (1 - share)))
    random = np.random.default_rng(seed)
    from_a = min(a.size, round(size * share))
    from_b = min(b.size, size - from_a)
    return np.sort(np.concatenate([random.choice(a, from_a, replace=False), random.choice(b, from_b, replace=False)]))
