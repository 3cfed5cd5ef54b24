"""What makes training on a window impossible, whatever its limits are: nobody can accept this.

Columns that are missing or of another type, nulls where there can be none, targets that are none.
"""

from __future__ import annotations

import difflib

import polars as pl

from engine.data.table import YES_OR_NO, has_target, labels
from engine.nouns import Breach, Column, Kind, Schema

NAMED_ROWS = 20  # of those that break a rule; they are counted all

TARGETLESS = "the target is null, NaN or infinite"


def broken(frame: pl.DataFrame, schema: Schema) -> list[Breach]:
    """Why nothing can be trained on the table, each column once; empty when something can."""
    breaches = [breach for column in (*schema.columns, *schema.watched) for breach in _feature(frame, column)]
    breaches += [breach for name in schema.sliced for breach in _sliced(frame, name)]
    breaches += target(frame, schema) if schema.key is None else _key(frame, schema.key)
    return [*breaches, *(_time(frame, schema.time) if schema.time is not None else [])]


def absent(frame: pl.DataFrame, name: str, limit: bool = False) -> Breach:
    """A column is not there, but perhaps under another name."""
    near = difflib.get_close_matches(name, frame.columns, n=1)
    hint = f"; did the supplier rename it to {near[0]!r}?" if near else f"; the window has {', '.join(frame.columns[:12])}"
    return Breach(name, f"the column is missing{hint}", limit=limit)


def fits(dtype: pl.DataType, kind: Kind) -> bool:
    """Whether a column stored as this can be of the kind."""
    if kind == "number":
        return dtype.is_numeric()
    if kind == "boolean":
        return dtype == pl.Boolean
    return _is_text(dtype)


def missing(values: pl.Series) -> pl.Series:
    """True where a value is null or NaN."""
    return values.is_null() | values.is_nan().fill_null(True) if values.dtype.is_float() else values.is_null()


def first(bad: pl.Series) -> tuple[int, ...]:
    """The numbers of the first rows that are true."""
    return tuple(bad.arg_true().head(NAMED_ROWS))


def _feature(frame: pl.DataFrame, column: Column) -> list[Breach]:
    if column.name not in frame.columns:
        return [absent(frame, column.name)]
    values = frame[column.name]
    if not fits(values.dtype, column.kind):
        return [Breach(column.name, f"holds {values.dtype}, expected a {column.kind}")]
    bad = missing(values)
    if column.nullable or not bad.any():
        return []
    return [Breach(column.name, f"{bad.sum()} of {frame.height} rows are null; none may be", int(bad.sum()), first(bad))]


def _is_text(dtype: pl.DataType) -> bool:
    return dtype in (pl.String, pl.Categorical, pl.Enum) or isinstance(dtype, pl.Enum)


def _sliced(frame: pl.DataFrame, name: str) -> list[Breach]:
    """A column that only slices, as `stream.slice_by` says: the gate must be able to look at its groups."""
    if name not in frame.columns:
        return [absent(frame, name)]
    dtype = frame[name].dtype
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        return [Breach(name, f"holds {dtype}, which has no values to slice by (`stream.slice_by`)")]
    return []


def _key(frame: pl.DataFrame, name: str) -> list[Breach]:
    """What names a row whose label comes later."""
    if name not in frame.columns:
        return [absent(frame, name)]
    values = frame[name]
    if not (values.dtype.is_integer() or _is_text(values.dtype)):
        return [Breach(name, f"the key holds {values.dtype}, expected whole numbers or text (`stream.labels.key`)")]
    if values.null_count():
        words = f"the key is null in {values.null_count()} of {frame.height} rows: no label can be found for them"
        return [Breach(name, words, values.null_count(), first(values.is_null()))]
    if twice := frame.height - values.n_unique():
        bad = values.is_duplicated()
        shown = ", ".join(str(value) for value in values.filter(bad).unique(maintain_order=True).head(3))
        words = f"the key is not unique: {twice} of {frame.height} rows repeat one ({shown})"
        return [Breach(name, words, int(bad.sum()), first(bad))]
    return []


def target(frame: pl.DataFrame, schema: Schema) -> list[Breach]:
    """Why nothing can be learnt from the target."""
    if schema.target not in frame.columns:
        return [absent(frame, schema.target)]
    values = frame[schema.target]
    if schema.task == "regression":
        if not values.dtype.is_numeric():
            return [Breach(schema.target, f"the target holds {values.dtype}, expected numbers")]
    elif not (values.dtype.is_numeric() or values.dtype == pl.Boolean or _is_text(values.dtype)):
        return [Breach(schema.target, f"the target holds {values.dtype}, expected classes")]
    bad = ~has_target(frame, schema)
    if frame.height and bad.all():
        return [Breach(schema.target, f"{TARGETLESS} in all {frame.height} rows", frame.height, first(bad))]
    return [] if schema.task == "regression" else _classes(labels(values), schema)


def _classes(values: pl.Series, schema: Schema) -> list[Breach]:
    known = schema.classes or tuple(YES_OR_NO)
    bad = ~values.is_in(known).fill_null(True)
    strange = values.filter(bad)
    if strange.is_empty():
        return []
    words = ", ".join(repr(word) for word in strange.unique(maintain_order=True).head(3))
    named = f"the classes {', '.join(known)}" if schema.classes else "0 and 1, or false and true"
    return [
        Breach(
            schema.target,
            f"{len(strange)} of {len(values)} rows hold {words}, which is none of {named}: correct them; a stream's classes "
            "(`stream.classes`) are fixed when it begins, so a truly new class needs a stream of another name",
            len(strange),
            first(bad),
            tuple(strange.head(NAMED_ROWS)),
        )
    ]


def clock(dtype: pl.DataType) -> str | None:
    """What a time column that is stored as this counts, in words; None when it is none. Rows of two clocks have no order."""
    if dtype.is_numeric():
        return "numbers"
    if dtype == pl.Date or dtype == pl.Datetime:
        return "dates or times"
    return {pl.Time: "times of day", pl.Duration: "durations"}.get(dtype.base_type())


def _time(frame: pl.DataFrame, name: str) -> list[Breach]:
    if name not in frame.columns:
        return [absent(frame, name)]
    values = frame[name]
    if clock(values.dtype) is None:
        return [Breach(name, f"the time column holds {values.dtype}, expected a date, a time or a number")]
    bad = values.is_null()
    return [Breach(name, f"the time is null in {bad.sum()} rows", int(bad.sum()), first(bad))] if bad.any() else []
