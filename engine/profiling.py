"""Profiles of tables: rows that come in batches are counted over a reference's edges, or over the quantiles of their own."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

import kernels
from engine.columns import Floats, Holds, number, value_counts
from engine.data.table import labels
from engine.nouns import Schema
from engine.profile import F64, I64, MISSING, OTHER, QUANTILES, SAMPLE, SEGMENT_SAMPLE, Profile, SegmentBy

Batches = Callable[[Sequence[str]], Iterable[pl.DataFrame]]

THREAD = 1 << 16  # rows that `kernels.profile` gives to a thread at a time
FEW = 1 << 20  # values of a table that is turned into rows of float64: less to compile, and no time to speak of


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
        few = rows <= sample
        self.drawn = np.arange(rows) if few else np.sort(np.random.default_rng(seed).choice(rows, sample, replace=False))
        self.seen = 0
        self.sample: list[list[Floats]] = []
        self.narrow = np.ones(len(self.numbers), dtype=bool)
        self._counted: kernels.ColumnCounts | None = None
        self.distinct = distinct
        self.crowded: list[str] = []
        self.categories: dict[str, dict[str, int]] = {name: {} for name, kind in kinds.items() if kind == "category"}

    def add(self, batch: pl.DataFrame) -> None:
        """Count the next rows."""
        first, last = np.searchsorted(self.drawn, [self.seen, self.seen + batch.height])
        here = self.drawn[first:last] - self.seen
        series = [batch[name] for name in self.numbers]
        # A boolean column is counted as it is; only what is drawn of it becomes numbers.
        columns = [each if each.dtype == pl.Boolean else number(each) for each in series]
        drawn = [number(each.gather(here)) if isinstance(each, pl.Series) else each[here] for each in columns]
        self.narrow &= np.array([column.dtype == np.float32 for column in drawn], dtype=bool)
        self.sample.append(drawn)
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

    def _counts(self, columns: Sequence[Floats | pl.Series], rows: int) -> kernels.ColumnCounts:
        """Numbers are counted in float32 where a column and its edges are, unless there are few; either type gives the same."""
        flags = np.array([isinstance(column, pl.Series) for column in columns], dtype=bool)
        few = rows * int((~flags).sum()) <= FEW
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
        kinds = [np.flatnonzero(kind) for kind in (narrow, ~narrow & ~flags)]
        groups = [each for kind in kinds for each in np.array_split(kind, threads) if each.size]
        if threads == 1:
            parts = [part(each) for each in groups]
        else:
            with ThreadPoolExecutor(threads) as pool:
                parts = list(pool.map(part, groups))
        if flags.any() or not parts:
            groups.append(np.flatnonzero(flags))
            parts.append(_booleans([columns[j] for j in groups[-1]], rows, self.edges[groups[-1]]))
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


def _booleans(columns: Sequence[pl.Series], rows: int, edges: F64) -> kernels.ColumnCounts:
    """What `kernels.profile` would say of their values as 0 and 1, without going through them a second time."""
    missing = np.array([column.null_count() for column in columns], dtype=np.int64)
    true = np.array([column.sum() for column in columns], dtype=np.int64)
    return kernels.of_booleans(true, rows - missing - true, missing, edges)


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
