"""Which rows break a rule.

polars counts them, in a pass over the window that takes a millisecond; where they are too many, pandera says which they are, as
it does for schemas that somebody wrote. So a good window never waits for pandera, which takes a quarter of a second to import.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from engine.contracts.learning import words_of
from engine.contracts.limits import Limits
from engine.contracts.shape import NAMED_ROWS


@dataclass(frozen=True, slots=True)
class Failing:
    """The rows that break one rule: how many, and of the first of them the numbers (from 0) and the values as text.

    `column` is None for a rule about the whole table. A rule that fails as a whole names no rows.
    """

    column: str | None
    rule: str
    count: int
    rows: tuple[int, ...]
    values: tuple[str, ...]


RANGE, CATEGORIES = "range", "categories"


def outside(frame: pl.DataFrame, limits: Mapping[str, Limits], shares: Mapping[str, float]) -> Iterator[Failing]:
    """The rows that lie outside the range of their column, or hold none of its categories, where they are more than its share.

    Nulls and NaN are inside.
    """
    values = {name: _plain(frame[name], limit) for name, limit in limits.items()}
    bad = {name: int((~_inside(values[name], limit)).sum()) for name, limit in limits.items()}
    if not (spoilt := [name for name in limits if bad[name] > shares[name] * frame.height]):
        return
    import pandera.polars as pa

    columns = {}
    for name in spoilt:
        if limits[name].kind == "number":
            columns[name] = pa.Column(pl.Float64, pa.Check.in_range(*_bounds(limits[name]), error=RANGE), nullable=True)
        else:
            columns[name] = pa.Column(pl.String, pa.Check.isin(limits[name].categories, error=CATEGORIES), nullable=True)
    yield from failing(pl.DataFrame([values[name] for name in spoilt]), pa.DataFrameSchema(columns))


def repeated(frame: pl.DataFrame, key: Sequence[str]) -> list[Failing]:
    """The rows whose key another row has too."""
    if not frame.select(key).is_duplicated().any():
        return []
    import pandera.polars as pa

    return list(failing(frame.select(key), pa.DataFrameSchema(unique=list(key))))


def failing(frame: pl.DataFrame, schema: Any) -> Iterator[Failing]:
    """What a pandera schema or check, whoever wrote it, finds wrong with the table."""
    import pandera.polars as pa

    if isinstance(schema, pa.Check):
        schema = pa.DataFrameSchema(checks=schema)
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        shown = [pl.len().alias("count"), pl.col("index").drop_nulls().head(NAMED_ROWS), pl.col("failure_case").head(NAMED_ROWS)]
        for case in cases.group_by("column", "check", maintain_order=True).agg(shown).iter_rows(named=True):
            rows, values = tuple(case["index"]), tuple(map(str, case["failure_case"]))
            yield Failing(case["column"], case["check"], case["count"] if rows else 0, rows, values)


def _plain(values: pl.Series, limits: Limits) -> pl.Series:
    return values.cast(pl.Float64).fill_nan(None) if limits.kind == "number" else words_of(values)


def _bounds(limits: Limits) -> tuple[float, float]:
    return -math.inf if limits.min is None else limits.min, math.inf if limits.max is None else limits.max


def _inside(values: pl.Series, limits: Limits) -> pl.Series:
    inside = values.is_between(*_bounds(limits)) if limits.kind == "number" else values.is_in(list(limits.categories or ()))
    return inside.fill_null(True)


def few(values: Iterable[str], most: int = 3) -> str:
    """Some of the values, each once, as they are shown to a person."""
    different = list(dict.fromkeys(values))
    return ", ".join(different[:most]) + (", …" if len(different) > most else "")
