"""Which rows break a rule. pandera looks at every row and says which fail; how many may fail is for the contract to say.

pandera is imported when there is a rule to look at, not before: it takes a quarter of a second.
"""

from __future__ import annotations

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


def outside(frame: pl.DataFrame, limits: Mapping[str, Limits]) -> list[Failing]:
    """The rows of each column that lie outside its range, or hold none of its categories. Nulls and NaN are inside."""
    import pandera.polars as pa

    values, columns = [], {}
    for name, limit in limits.items():
        if limit.min is not None or limit.max is not None:
            low = float("-inf") if limit.min is None else limit.min
            high = float("inf") if limit.max is None else limit.max
            values.append(frame[name].cast(pl.Float64).fill_nan(None))
            columns[name] = pa.Column(pl.Float64, pa.Check.in_range(low, high, error=RANGE), nullable=True)
        elif limit.categories is not None:
            values.append(words_of(frame[name]))
            columns[name] = pa.Column(pl.String, pa.Check.isin(limit.categories, error=CATEGORIES), nullable=True)
    return list(failing(pl.DataFrame(values), pa.DataFrameSchema(columns))) if columns else []


def repeated(frame: pl.DataFrame, key: Sequence[str]) -> list[Failing]:
    """The rows whose key another row has too."""
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


def few(values: Iterable[str], most: int = 3) -> str:
    """Some of the values, each once, as they are shown to a person."""
    different = list(dict.fromkeys(values))
    return ", ".join(different[:most]) + (", …" if len(different) > most else "")
