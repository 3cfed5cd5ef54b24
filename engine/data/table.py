"""Tables: from a window's columns to the raw arrays that a model is asked with, and back to which rows are for what.

There is one encoding. The same function makes the arrays for training and for a request to the live endpoint; everything that
depends on data (scales, vocabularies) lives in the model and its graph. No torch here: the parent process, which never imports
it, reads windows and sends requests with this module too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from engine.intact import WindowLost, lost
from engine.nouns import Column, Schema, Slices, Window, Within

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]

PACKED = "numbers"
PACK_ABOVE = 50
"""More FP64 inputs than this travel as one: a request of one row costs 1 / 5 / 28 ms with 20 / 100 / 300 separate inputs."""

YES_OR_NO = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0}
"""The classes of a binary target whose stream names none, and their places."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model, in Triton's words. A batch of it has the shape `[rows, width]`."""

    name: str
    datatype: Literal["FP64", "FP32", "BOOL", "BYTES"]
    width: int = 1


def _is_number(column: Column) -> bool:
    """A boolean that may be missing needs a third value, so it travels as a number: 0, 1 or NaN."""
    return column.kind == "number" or (column.kind == "boolean" and column.nullable)


def packed(schema: Schema) -> tuple[str, ...]:
    """The columns that travel together in the one input `numbers`, in its order; empty when each has its own."""
    numbers = tuple(column.name for column in schema.columns if _is_number(column))
    return numbers if len(numbers) > PACK_ABOVE else ()


def signature(schema: Schema) -> tuple[TensorSpec, ...]:
    """The model's inputs, in the order of its `forward`: the packed numbers first, if any, then one input per column.

    >>> signature(Schema((Column("distance", "number"), Column("origin", "category")), target="air_time"))
    (TensorSpec(name='distance', datatype='FP64', width=1), TensorSpec(name='origin', datatype='BYTES', width=1))
    """
    together = packed(schema)
    names = [column.name for column in schema.columns if column.name not in together] + [PACKED] * bool(together)
    twice = sorted({name for name in [*names, schema.target] if [*names, schema.target].count(name) > 1})
    if twice:
        raise ValueError(f"these names are used twice among the schema's columns and target: {', '.join(twice)}; rename them")
    specs = [TensorSpec(PACKED, "FP64", len(together))] if together else []
    for column in schema.columns:
        if column.name in together:
            continue
        if column.kind == "category":
            specs.append(TensorSpec(column.name, "BYTES"))
        else:
            specs.append(TensorSpec(column.name, "FP64" if _is_number(column) else "BOOL"))
    return tuple(specs)


def output(schema: Schema) -> TensorSpec:
    """The model's one output, named as the target.

    The predicted value; of a binary task the probability of the positive class; of a multiclass task one probability a class, in
    the order of `classes`.
    """
    return TensorSpec(schema.target, "FP32", len(schema.classes) if schema.task == "multiclass" else 1)


def inputs(frame: pl.DataFrame, schema: Schema) -> Arrays:
    """The raw arrays of `frame` for the inputs of `signature`, each `[rows, width]`.

    Numbers and times become float64 with NaN for null (times in their own unit since 1970); booleans bool; categories objects
    of str, "" for null.

    Raises:
        ValueError: a column is absent, or holds what its kind cannot.
    """
    absent = [column.name for column in schema.columns if column.name not in frame.columns]
    if absent:
        raise ValueError(f"the table lacks the columns {', '.join(absent)}; it has {', '.join(frame.columns)}")
    together = packed(schema)
    arrays = {}
    if together:
        kinds = {column.name: column for column in schema.columns}
        arrays[PACKED] = np.stack([_array(frame[name], kinds[name]) for name in together], axis=1)
    for column in schema.columns:
        if column.name not in together:
            arrays[column.name] = _array(frame[column.name], column)[:, None]
    return arrays


def _array(series: pl.Series, column: Column) -> np.ndarray[Any, np.dtype[Any]]:
    try:
        if column.kind == "category":
            strings: np.ndarray[Any, np.dtype[Any]] = np.empty(len(series), dtype=object)
            strings[:] = series.cast(pl.String).fill_null("").to_list()
            return strings
        if _is_number(column):
            return _floats(series)
        if series.null_count():
            raise ValueError(f"{series.null_count()} values are null, which `nullable: false` excludes")
        return series.cast(pl.Boolean).to_numpy(writable=True)
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise ValueError(f"column {column.name} ({series.dtype}) does not hold a {column.kind}: {error}") from error


def _floats(series: pl.Series) -> np.ndarray[Any, np.dtype[np.float64]]:
    if series.dtype.is_temporal():
        series = series.to_physical()
    return series.cast(pl.Float64).fill_null(float("nan")).to_numpy(writable=True)


def target(frame: pl.DataFrame, schema: Schema) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The target as float64 `[rows, 1]`; of a classification the place of its class in `classes`, from 0.

    Raises:
        ValueError: a target is missing or infinite, or is none of the classes.
    """
    if schema.target not in frame.columns:
        raise ValueError(f"the table lacks the target {schema.target}; it has {', '.join(frame.columns)}")
    values = frame[schema.target]
    if schema.task == "regression":
        floats = _floats(values)
        if bad := int((~np.isfinite(floats)).sum()):
            raise ValueError(f"the target {schema.target} is missing or infinite in {bad} of {len(floats)} rows; drop them first")
        return floats[:, None]
    places = {label: float(place) for place, label in enumerate(schema.classes)} or YES_OR_NO
    found = labels(values).replace_strict(places, default=None, return_dtype=pl.Float64)
    if unknown := found.null_count():
        classes = ", ".join(schema.classes) or "0 and 1, or false and true,"
        raise ValueError(f"the target {schema.target} is missing or none of the classes {classes} in {unknown} rows")
    return found.to_numpy(writable=True)[:, None]


def has_target(frame: pl.DataFrame, schema: Schema, within: Within | None = None) -> pl.Series:
    """True where a row has a target that can be learnt from.

    It is not null or NaN and, of a regression, not beyond FP32, in which the model answers, and `within` its limits.
    """
    values = frame[schema.target]
    if schema.task != "regression":
        return labels(values).is_not_null()
    low, high = within or (None, None)
    values = values.cast(pl.Float64)
    has = values.cast(pl.Float32).is_finite().fill_null(False)
    return has & (low is None or values >= low) & (high is None or values <= high)


def labels(values: pl.Series) -> pl.Series:
    """Classes as text, whatever they are stored as: `1`, `1.0` and "1" are the same class; null and NaN are null.

    >>> labels(pl.Series([1.0, None, 2.5])).to_list(), labels(pl.Series([True, False])).to_list()
    (['1', None, '2.5'], ['true', 'false'])
    """
    if values.dtype.is_float():
        values = values.fill_nan(None)
        if bool((values.drop_nulls() % 1 == 0).all()):
            return values.cast(pl.Int64, strict=False).cast(pl.String)
        return values.cast(pl.String).str.strip_suffix(".0")
    return values.cast(pl.String)


def read(windows: Window | Iterable[Window], schema: Schema, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The rows of one or more windows in order of time (stable; in the order of the windows when the schema names no time).

    `columns` are those to read; by default the schema's features, watched columns, target, time and those that only slice. A
    window that lacks one of the last, because it was not asked for yet, gets nulls. Raises WindowLost when one is not what landed
    any more.
    """
    windows = [windows] if isinstance(windows, Window) else list(windows)
    if not windows:
        raise ValueError("there is no window to read")
    features = [column.name for column in (*schema.columns, *schema.watched)]
    wanted = dict.fromkeys([*features, schema.target, *schema.sliced] if columns is None else columns)
    kept = list(wanted)
    if schema.time:
        wanted[schema.time] = None
        if columns is None:
            kept = list(wanted)
    frames = []
    for window in windows:
        if why := lost(window):
            raise WindowLost(window, why)
        try:
            frames.append(_plain(_parquet(window.uri, list(wanted), schema.sliced), schema))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise WindowLost(window, str(error).splitlines()[0]) from error
    return in_order(frames, schema).select(kept)


def labelled(windows: Window | Sequence[Window], schema: Schema, within: Within | None = None) -> pl.DataFrame:
    """The same rows without those that have no target, or none `within` its limits: what is fitted, judged on and scored.

    In a window that a person accepted, targets may lie anywhere.
    """
    frames = []
    for window in [windows] if isinstance(windows, Window) else windows:
        frame = read(window, schema)
        frames.append(frame.filter(has_target(frame, schema, None if window.accepted else within)))
    return frames[0] if len(frames) == 1 else in_order(frames, schema)


def _plain(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """The same rows as any other window stores them: what a supplier changes of that must not part old windows from new ones.

    Categories and classes as text, however they are encoded; times with a zone as UTC without one.
    """
    words = {column.name for column in (*schema.columns, *schema.watched) if column.kind == "category"}
    plain = [values.cast(pl.String) for values in frame if values.name in words and values.dtype != pl.String]
    if schema.task != "regression" and schema.target in frame.columns:
        plain.append(labels(frame[schema.target]))
    if schema.time and getattr(frame.schema[schema.time], "time_zone", None):
        plain.append(frame[schema.time].dt.convert_time_zone("UTC").dt.replace_time_zone(None))
    return frame.with_columns(plain)


def in_order(frames: Sequence[pl.DataFrame], schema: Schema) -> pl.DataFrame:
    """The rows of several tables in order of time (stable; one table after the other when the schema names no time).

    A column that only slices, and is stored in another way in some of them, becomes text in all.
    """
    for name in schema.sliced:
        stored = {frame.schema[name] for frame in frames if name in frame.columns} - {pl.Null()}
        if len(stored) > 1 and not all(dtype.is_numeric() for dtype in stored):
            frames = [frame.with_columns(labels(frame[name])) for frame in frames]
    rows = pl.concat(frames, how="vertical_relaxed")
    return rows.sort(schema.time, maintain_order=True) if schema.time else rows


def _parquet(uri: str, columns: list[str], may_lack: tuple[str, ...]) -> pl.DataFrame:
    there = pl.scan_parquet(uri).collect_schema().names() if may_lack else []
    absent = [name for name in columns if name in may_lack and name not in there]
    frame = pl.read_parquet(uri, columns=[name for name in columns if name not in absent])
    return frame.with_columns(pl.lit(None).alias(name) for name in absent).select(columns) if absent else frame


def slices(rows: int, shares: Slices) -> tuple[range, range, range]:
    """Row numbers, in order of time, to fit on, to stop on and to judge on: disjoint, adjacent, all rows, the latest judge.

    >>> slices(1000, Slices(stop=0.1, judge=0.2, min_stop_rows=50))
    (range(0, 700), range(700, 800), range(800, 1000))
    """
    if shares.stop < 0 or shares.judge < 0 or shares.stop + shares.judge >= 1:
        raise ValueError(f"slices stop={shares.stop} and judge={shares.judge} leave no rows to fit on; their sum must be below 1")
    judge = int(rows * shares.judge)
    stop = int(rows * shares.stop)
    if stop < shares.min_stop_rows:
        stop = 0
    fit = rows - judge - stop
    return range(fit), range(fit, fit + stop), range(fit + stop, rows)
