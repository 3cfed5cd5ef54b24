"""What a column holds, and its values as the numbers or the text that are counted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy.typing as npt
import polars as pl

Holds = Literal["number", "boolean", "time", "category"]
Floats = npt.NDArray[Any]  # of float32 or float64

EXACT = 2**53  # float64 tells integers apart up to here
TEXT = (pl.String, pl.Categorical, pl.Enum)
IN_FLOAT32 = (pl.Float32, pl.Int8, pl.Int16, pl.UInt8, pl.UInt16, pl.Boolean)  # every value of these is one of float32's
PER_SECOND = {"ms": 1e3, "us": 1e6, "ns": 1e9}


def holds(name: str, dtype: pl.DataType) -> Holds:
    """What a column of this type is counted as; one of nothing but nulls is a number. Raises ValueError for what is nested.

    >>> holds("born", pl.Date()), holds("city", pl.String())
    ('time', 'category')
    """
    if isinstance(dtype, TEXT):
        return "category"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_temporal():
        return "time"
    if dtype.is_numeric() or dtype == pl.Null:
        return "number"
    raise ValueError(
        f"column {name} holds {dtype}, which has no distribution to compare: leave it out, or take it apart into columns"
    )


def number(values: pl.Series) -> Floats:
    """A column as floats with NaN for null: float32 where that holds every value of the type, else float64.

    Booleans are 0 and 1; dates and times seconds since 1970, durations seconds, times of day seconds since midnight. Integers
    beyond 2^53 are rounded; `refuse_rounding` is for who must not have that. Raises ValueError for text and what is nested.

    >>> from datetime import date
    >>> number(pl.Series([True, None])), number(pl.Series([date(1970, 1, 2)]))
    (array([ 1., nan], dtype=float32), array([86400.]))
    """
    kind = holds(values.name, values.dtype)
    if kind == "category":
        raise ValueError(f"column {values.name} holds text ({values.dtype}) where numbers are expected: {_cast(values.name)}")
    if kind == "time":
        values = _seconds(values)
    wanted = pl.Float32 if values.dtype in IN_FLOAT32 else pl.Float64
    return values.cast(wanted).fill_null(float("nan")).to_numpy()


def refuse_rounding(values: pl.Series) -> None:
    """Raises ValueError if a column holds integers that float64 cannot tell apart: such a distribution would be another one."""
    if values.dtype not in (pl.Int64, pl.UInt64, pl.Int128, pl.UInt128):
        return
    known = values.drop_nulls().cast(pl.Int128)
    beyond = known.filter((known > EXACT) | (known < -EXACT))
    if len(beyond):
        raise ValueError(
            f"column {values.name} holds {beyond[0]!r}, and integers beyond 2^53 are not told apart as numbers: "
            "leave the column out, or cast it to text if its values are codes"
        )


def value_counts(values: pl.Series) -> dict[str, int]:
    """How often each value of a text column occurs, the most frequent first; null and "" are one value."""
    counted = values.alias("value").value_counts(sort=True, name="rows")
    found: dict[str, int] = {}
    for value, rows in zip(counted["value"].cast(pl.String).to_list(), counted["rows"].to_list(), strict=True):
        found[value or ""] = found.get(value or "", 0) + rows
    return found


def numbers_as_text(name: str, values: Iterable[str]) -> str | None:
    """A sentence about a text column whose every value is a number, which it is compared as only once it is cast; else None."""
    known = pl.Series([value for value in values if value], dtype=pl.String)
    if len(known) < 2 or known.cast(pl.Float64, strict=False).null_count():
        return None
    shown = f"column {name} holds numbers as text ({known[0]!r})"
    return f"{shown} and is compared by its values, not by its distances: {_cast(name)}"


def _cast(name: str) -> str:
    return f"cast it to a number where the file is written, as in `pl.col({name!r}).cast(pl.Float64)`"


def _seconds(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Date:
        return values.to_physical().cast(pl.Float64) * 86400.0
    unit = getattr(values.dtype, "time_unit", "ns")  # a time of day is counted in nanoseconds
    return values.to_physical().cast(pl.Float64) / PER_SECOND[unit]
