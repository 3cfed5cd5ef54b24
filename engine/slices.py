"""Which slice each row belongs to: one for every value of a category or boolean, one for every range of a number."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import polars as pl

from engine.data.table import labels
from engine.metrics import F64, I64, Blocks
from engine.nouns import Kind
from engine.profile import Profile

OTHER = "(other)"
MISSING = "(missing)"
QUARTERS = ("Q1", "Q2", "Q3", "Q4")


@dataclass(frozen=True)
class SliceBy:
    """A column that cuts the rows of a window into slices. Raises ValueError when its settings do not fit together.

    column: any column of the window; it need not be a feature.
    edges: rising, of a number: [500, 1500] makes three slices, and 500 belongs to the second. Without them a number is cut at the
        quartiles of what the champion was trained on, or of the rows at hand where those are not known.
    kind: number, boolean or category; by default what the column holds. `category` makes every value of a number a slice.
    min_rows: rarer categories are pooled as "(other)", and no slice with fewer rows decides anything.
    most: so many categories, the most frequent ones; the others are pooled too.
    """

    column: str
    edges: tuple[float, ...] = ()
    kind: Kind | None = None
    min_rows: int = 30
    most: int = 20

    def __post_init__(self) -> None:
        if self.kind not in (None, *get_args(Kind)):
            raise ValueError(f"{self.kind!r} is no kind of column; there are {', '.join(get_args(Kind))}")
        if self.edges and self.kind not in (None, "number"):
            raise ValueError(f"edges cut numbers, not a {self.kind}")
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError(f"edges must rise: {', '.join(f'{edge:g}' for edge in self.edges)}")
        if self.min_rows < 1 or self.most < 1:
            raise ValueError("min_rows and most are 1 at least")


@dataclass(frozen=True)
class Cut:
    """The slices of one column: their values, for a number's quarters from where to where, and which one each row is in.

    None is empty.
    """

    column: str
    values: tuple[str, ...]
    spans: tuple[str, ...]
    blocks: Blocks
    min_rows: int

    @property
    def rows(self) -> list[int]:
        """How many rows each slice has."""
        counted: list[int] = np.bincount(self.blocks.of_row, minlength=self.blocks.count).tolist()
        return counted

    def members(self) -> list[I64]:
        """The row numbers of each slice, rising."""
        order = np.argsort(self.blocks.of_row.astype(np.uint16), kind="stable")
        return np.split(order, np.cumsum(self.rows)[:-1])


def cut(frame: pl.DataFrame, wanted: Sequence[SliceBy], reference: Profile | None) -> tuple[Cut, ...]:
    """The slices of every wanted column. `reference` is the Profile of the champion's training rows; None before the first."""
    return tuple(_cut(frame[by.column], by, reference) for by in wanted)


def _cut(values: pl.Series, by: SliceBy, reference: Profile | None) -> Cut:
    if by.edges or by.kind == "number" or (by.kind is None and values.dtype.is_numeric()):
        return _ranges(values.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy(), by, reference)
    return _values(labels(values), by, 1 if values.dtype == pl.Boolean else by.min_rows)


def _ranges(values: F64, by: SliceBy, reference: Profile | None) -> Cut:
    edges = np.array(by.edges, dtype=float) if by.edges else _quartiles(values, by.column, reference)
    spans = _spans(edges)
    names = spans if by.edges else QUARTERS[: len(spans)]
    places = np.searchsorted(edges, values, side="right")
    places[np.isnan(values)] = len(spans)
    return _filled(by, (*names, MISSING), (*("" if by.edges else span for span in spans), ""), places)


def _quartiles(values: F64, column: str, reference: Profile | None) -> F64:
    if reference is not None and column in reference.numbers:
        edges = reference.edges[reference.numbers.index(column)]
        return np.asarray(edges[[edges.size // 4, edges.size // 2, 3 * edges.size // 4]])  # they are quantiles at equal steps
    known = values[np.isfinite(values)]
    return np.quantile(known, (0.25, 0.5, 0.75)) if known.size else np.empty(0)


def _spans(edges: F64) -> tuple[str, ...]:
    """The ranges between edges in words.

    >>> _spans(np.array([500.0, 1500.0]))
    ('below 500', '500 to 1500', '1500 and over')
    """
    words = [f"{edge:.6g}" for edge in edges]
    if not words:
        return ("all",)
    between = (f"{low} to {high}" for low, high in itertools.pairwise(words))
    return (f"below {words[0]}", *between, f"{words[-1]} and over")


def _values(values: pl.Series, by: SliceBy, fewest: int) -> Cut:
    text = values.alias("value").fill_null("")  # null and "" are the same value
    counted = text.value_counts(name="rows").filter(pl.col("value") != "", pl.col("rows") >= fewest)
    kept = counted.sort("rows", "value", descending=[True, False])["value"].head(by.most).to_list()
    names = tuple(dict.fromkeys([*kept, OTHER, MISSING]))
    codes = {name: place for place, name in enumerate(names)}
    codes[""] = codes[MISSING]
    places = text.replace_strict(codes, default=codes[OTHER], return_dtype=pl.Int64).to_numpy()
    return _filled(by, names, ("",) * len(names), places)


def _filled(by: SliceBy, names: Sequence[str], spans: Sequence[str], places: I64) -> Cut:
    """Without the slices that no row belongs to."""
    there = np.bincount(places, minlength=len(names)) > 0
    renumbered = np.cumsum(there) - 1
    blocks = Blocks(renumbered[places], int(there.sum()))
    chosen = np.flatnonzero(there).tolist()
    return Cut(by.column, tuple(names[k] for k in chosen), tuple(spans[k] for k in chosen), blocks, by.min_rows)
