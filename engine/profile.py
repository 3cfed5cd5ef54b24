"""Mergeable statistics of a table: counts over fixed edges, moments, categories, missing values and a sorted sample, per column.

A champion's reference Profile fixes the edges (quantiles of its training rows); every later window is counted over the same
edges, so two Profiles compare in microseconds whatever the size of the data behind them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

import kernels
from engine.columns import Floats, Holds, number, value_counts
from engine.data.table import labels
from engine.nouns import Schema

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Batches = Callable[[Sequence[str]], Iterable[pl.DataFrame]]

QUANTILES = 31  # 32 bins of equal weight in the reference: fine enough for tails, coarse enough for windows of a thousand rows
SAMPLE = 10_000  # rows kept sorted per numeric column; below it KS and Wasserstein are exact
SEGMENT_SAMPLE = 1_000  # the same for a segment, of which there may be many
THREAD = 1 << 16  # rows that `kernels.profile` gives to a thread at a time
FEW = 1 << 20  # values of a table that is turned into rows of float64: less to compile, and no time to speak of
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

    def save(self, path: Path) -> None:
        """Write the Profile as one compressed Arrow IPC file, whole or not at all; see `engine.profile_file`."""
        from engine import profile_file  # which imports this module

        profile_file.write(self, path)

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Read what `save` wrote, or an earlier version of it."""
        from engine import profile_file

        return profile_file.read(path)


def rank_error(values: int, confidence: float = 0.999) -> float:
    """How far the distribution function of a sample of so many values may be from that of all of them, anywhere.

    The inequality of Dvoretzky, Kiefer and Wolfowitz with Massart's constant ("The tight constant in the
    Dvoretzky-Kiefer-Wolfowitz inequality", 1990); it holds for draws without replacement too. A quantile read from the sample is
    one of the data's at a rank that is off by no more.

    >>> round(rank_error(10_000), 4)
    0.0195
    """
    return math.sqrt(math.log(2 / (1 - confidence)) / (2 * values)) if values else 1.0


def build(
    frame: pl.DataFrame,
    schema: Schema,
    edges: F64 | None = None,
    seed: int = 0,
    extra: Mapping[str, npt.NDArray[Any]] | None = None,
    by: SegmentBy | None = None,
) -> Profile:
    """Profile a table over `edges` [d, E], or over the quantiles of its own rows when there are none yet.

    Features and watched columns; booleans count as 0 and 1; a regression target is one more numeric column, a class target one
    more category, unless labels come later. Null strings and "" are one value. `extra` are further numbers, one for each row,
    such as a model's answers; `by` parts the rows into segments.
    """
    kinds = _kinds(schema)
    for name, values in (extra or {}).items():
        if name in frame.columns:
            raise ValueError(f"column {name} is in the table already: give the further numbers another name")
        frame = frame.with_columns(pl.Series(name, values))
        kinds[name] = "number"
    return counted(lambda names: [frame.select(names)], frame.height, kinds, edges, by, seed)


def counted(
    batches: Batches,
    rows: int,
    kinds: Mapping[str, Holds],
    edges: F64 | None = None,
    by: SegmentBy | None = None,
    seed: int = 0,
    distinct: int | None = None,
) -> Profile:
    """The Profile of a table of so many `rows` that comes in batches: the same one, whatever the batches, moments to rounding.

    `batches` gives the rows of the columns that are named, from the beginning each time it is asked: once for the counts, once
    before that for the edges when there are none, and once for the sizes of the segments. Raises ValueError for text columns of
    more than `distinct` values, naming them.
    """
    numbers = {name: kind for name, kind in kinds.items() if kind != "category"}
    if edges is None:
        first = _Counting(numbers, np.empty((len(numbers), 0)), rows, SAMPLE, seed)
        for batch in batches(list(numbers)) if numbers else ():
            first.add(batch)
        edges = first.quantile_edges()
    whole = _Counting(kinds, edges, rows, SAMPLE, seed, distinct)
    by, sizes = _sizes(batches, by, distinct) if by else (None, {})
    parts = {
        value: _Counting(kinds, edges, size, SEGMENT_SAMPLE, seed + place, distinct)
        for place, (value, size) in enumerate(sizes.items(), 1)
    }
    for batch in batches(list(dict.fromkeys([*kinds, by.column] if by else kinds))):
        whole.add(batch)
        if by is not None:
            of_row = _segments(batch[by.column], by)
            for value, part in parts.items():
                part.add(batch.filter(of_row == value))
    if whole.crowded:
        raise _crowded(whole.crowded, distinct)
    return whole.profile(by, {value: part.profile() for value, part in parts.items()})


class _Counting:
    """The statistics of so many `rows` that come in batches, over fixed edges. Which are in the sample is drawn beforehand."""

    def __init__(self, kinds: Mapping[str, Holds], edges: F64, rows: int, sample: int, seed: int, distinct: int | None = None):
        self.kinds = kinds
        self.numbers = tuple(name for name, kind in kinds.items() if kind != "category")
        self.edges = edges
        with np.errstate(over="ignore"):
            self.in_float32 = (edges == edges.astype(np.float32)).all(axis=1)
        self.drawn = np.arange(rows)
        if rows > sample:
            self.drawn = np.sort(np.random.default_rng(seed).choice(rows, sample, replace=False))
        self.seen = 0
        self.sample: list[list[Floats]] = []
        self.narrow = np.ones(len(self.numbers), dtype=bool)
        self._counted: kernels.ColumnCounts | None = None
        self.distinct = distinct
        self.crowded: list[str] = []
        self.categories: dict[str, dict[str, int]] = {name: {} for name, kind in kinds.items() if kind == "category"}

    def add(self, batch: pl.DataFrame) -> None:
        """Count the next rows."""
        columns = [number(batch[name]) for name in self.numbers]
        self.narrow &= np.array([column.dtype == np.float32 for column in columns], dtype=bool)
        first, last = np.searchsorted(self.drawn, [self.seen, self.seen + batch.height])
        here = self.drawn[first:last] - self.seen
        self.sample.append([column[here] for column in columns])
        self.seen += batch.height
        counts = self._counts(columns, batch.height)
        self._counted = counts if self._counted is None else self._counted.merge(counts)
        for name, known in self.categories.items():
            if name in self.crowded:
                continue
            for value, rows in value_counts(batch[name]).items():
                known[value] = known.get(value, 0) + rows
            if self.distinct is not None and len(known) > self.distinct:
                self.crowded.append(name)
                known.clear()

    def _counts(self, columns: Sequence[Floats], rows: int) -> kernels.ColumnCounts:
        """The same counts in either type: in float32 where a column and its edges are, unless there is little to count."""
        few = rows * len(columns) <= FEW
        narrow = np.array([column.dtype == np.float32 for column in columns], dtype=bool) & self.in_float32 & (not few)

        def part(chosen: I64) -> kernels.ColumnCounts:
            dtype = np.float32 if narrow[chosen].any() else np.float64
            block = np.empty((len(chosen), rows), dtype)
            for place, j in enumerate(chosen.tolist()):
                block[place] = columns[j]
            # One memory order for small tables, so that one machine code serves them all; turning a large one costs more.
            table = np.ascontiguousarray(block.T) if few else block.T
            return kernels.profile(table, self.edges[chosen].astype(dtype))

        # Many rows are parted among threads by `kernels.profile`; few rows of many columns here.
        threads = 1 if few or rows > THREAD else os.cpu_count() or 1
        kinds = [np.flatnonzero(kind) for kind in (narrow, ~narrow)]
        groups = [each for kind in kinds for each in np.array_split(kind, threads) if each.size] or [kinds[0]]
        if threads == 1:
            parts = [part(each) for each in groups]
        else:
            with ThreadPoolExecutor(threads) as pool:
                parts = list(pool.map(part, groups))
        back = np.argsort(np.concatenate(groups))
        arrays = {f.name: [getattr(part, f.name) for part in parts] for f in fields(kernels.ColumnCounts) if f.name != "rows"}
        return kernels.ColumnCounts(**{name: np.concatenate(each)[back] for name, each in arrays.items()}, rows=rows)

    @property
    def counts(self) -> kernels.ColumnCounts:
        """Of all the rows."""
        return self._counts([np.empty(0)] * len(self.numbers), 0) if self._counted is None else self._counted

    def samples(self) -> tuple[F64, ...]:
        """Of every numeric column the drawn values that are finite, ascending."""
        drawn = [np.concatenate([piece[j] for piece in self.sample] or [np.empty(0)]) for j in range(len(self.numbers))]
        return tuple(np.sort(column[np.isfinite(column)].astype(np.float64)) for column in drawn)

    def quantile_edges(self) -> F64:
        """[d, 33] the edges that these rows would fix."""
        ends = zip(self.counts.minimum, self.counts.maximum, self.narrow, strict=True)
        edges = [edges_of(sample, *each) for sample, each in zip(self.samples(), ends, strict=True)]
        return np.stack(edges) if edges else np.empty((0, QUANTILES + 2))

    def profile(self, by: SegmentBy | None = None, segments: Mapping[str, Profile] | None = None) -> Profile:
        """Of all the rows."""
        kinds, samples = dict(self.kinds), self.samples()
        return Profile(self.seen, self.numbers, self.edges, self.counts, samples, self.categories, kinds, by, segments or {})


def alike(one: Holds, other: Holds) -> bool:
    """Whether columns that hold this and that can be compared: a boolean is a number, a time and a text are what they are."""
    return one == other or {one, other} == {"number", "boolean"}


def _kinds(schema: Schema) -> dict[str, Holds]:
    """Numbers first, as they are counted."""
    columns = (*schema.columns, *schema.watched)
    kinds: dict[str, Holds] = {c.name: c.kind for c in columns if c.kind != "category"}
    texts: dict[str, Holds] = {c.name: c.kind for c in columns if c.kind == "category"}
    if schema.key is None:
        (kinds if schema.task == "regression" else texts)[schema.target] = "number" if schema.task == "regression" else "category"
    return kinds | texts


def edges_of(sample: F64, low: float, high: float, narrow: bool) -> F64:
    """The least value, the quantiles, just above the greatest; zeros where there are no values.

    Edges of a float32 column are float32: rounded up, so that every float32 is on the side of them that it was on before.
    """
    if math.isnan(low):
        return np.zeros(QUANTILES + 2)
    shares = np.linspace(0, 1, QUANTILES + 2)[1:-1]
    sample = sample if sample.size else np.array([low, high])  # not one of the few values was drawn
    scale = 1.0 if sample[-1] / 4 - sample[0] / 4 < np.finfo(np.float64).max / 4 else 0.25  # a range that no float holds
    quantiles = np.clip(np.quantile(sample * scale, shares) / scale, low, high)
    if narrow:
        rounded = quantiles.astype(np.float32)
        quantiles = np.where(rounded < quantiles, np.nextafter(rounded, np.float32(np.inf)), rounded)
    with np.errstate(over="ignore"):
        above = np.nextafter(np.float32(high), np.float32(np.inf)) if narrow else np.nextafter(high, np.inf)
    return np.concatenate([[low], quantiles, [above]]).astype(np.float64)


def _segments(values: pl.Series, by: SegmentBy) -> pl.Series:
    """Which segment each row is in."""
    text = labels(values).fill_null("")
    known = {value: value for value in by.values} | {"": MISSING}
    return text.replace_strict(known, default=OTHER, return_dtype=pl.String)


def _crowded(names: Sequence[str], distinct: int | None) -> ValueError:
    return ValueError(
        f"columns with more than {distinct:,} different values: {', '.join(names)}; such values are names or free text, which "
        "have no distribution to compare and make no segments: leave these columns out"
    )


def _sizes(batches: Batches, by: SegmentBy, distinct: int | None) -> tuple[SegmentBy, dict[str, int]]:
    """The segments and how many rows each has; which values are kept is found out when nobody said."""
    found: dict[str, int] = {}
    for batch in batches([by.column]):
        for value, rows in value_counts(labels(batch[by.column])).items():
            found[value] = found.get(value, 0) + rows
        if distinct is not None and len(found) > distinct:
            raise _crowded([by.column], distinct)
    values = by.values or tuple(sorted((v for v in found if v), key=lambda v: (-found[v], v))[: by.most])
    names = dict.fromkeys([*values, OTHER, MISSING], 0)
    for value, rows in found.items():
        names[value if value in values else MISSING if value == "" else OTHER] += rows
    return SegmentBy(by.column, by.most, values), names


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
