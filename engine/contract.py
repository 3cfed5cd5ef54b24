"""What a window must meet; what fails is quarantined: copied aside with the reasons, never trained on, never lost."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from engine.data.table import labels
from engine.intact import lost
from engine.nouns import Breach, Column, Schema, Window


@dataclass(frozen=True)
class Contract:
    """The limits of a window.

    min_rows: a window with fewer rows is refused.
    max_missing: largest share of nulls and NaN in a nullable feature, from 0 to 1.
    constant_target: whether a window may hold one target value alone, as it may where one class is rare.
    """

    min_rows: int = 100
    max_missing: float = 0.99
    constant_target: bool = False

    def check(self, window: Window, schema: Schema) -> tuple[Breach, ...]:
        """Every way in which the window breaks the contract; empty when it is good."""
        try:
            frame = pl.read_parquet(window.uri)
        except (pl.exceptions.PolarsError, OSError) as error:
            return (Breach(None, f"the file cannot be read as Parquet ({str(error).splitlines()[0]}): deliver it again"),)
        return self.check_frame(frame, schema)

    def check_frame(self, frame: pl.DataFrame, schema: Schema) -> tuple[Breach, ...]:
        """The same for a table in memory."""
        breaches: list[Breach] = []
        if frame.height < self.min_rows:
            breaches.append(
                Breach(None, f"{frame.height} rows; at least {self.min_rows} are needed (`stream.contract.min_rows`)")
            )
        for column in (*schema.columns, *schema.watched):
            breaches += self._feature(frame, column)
        for name in schema.sliced:
            breaches += _sliced(frame, name)
        if schema.key is None:
            breaches += _target(frame, schema) or self._variety(frame, schema)
        else:
            breaches += _key(frame, schema.key)
        if schema.time is not None:
            breaches += _time(frame, schema.time)
        return tuple(breaches)

    def check_labels(self, frame: pl.DataFrame, schema: Schema) -> tuple[Breach, ...]:
        """The same for the rows of a window whose labels came later, once they are there; the rest of it was checked before."""
        if frame.height < self.min_rows:
            message = f"{frame.height} rows have a label; at least {self.min_rows} are needed (`stream.contract.min_rows`)"
            return (Breach(schema.target, message),)
        return tuple(_target(frame, schema) or self._variety(frame, schema))

    def _feature(self, frame: pl.DataFrame, column: Column) -> list[Breach]:
        if column.name not in frame.columns:
            return [_absent(frame, column.name)]
        values = frame[column.name]
        if not _fits(values.dtype, column):
            return [Breach(column.name, f"holds {values.dtype}, expected a {column.kind}")]
        missing = _missing(values)
        if missing and not column.nullable:
            return [Breach(column.name, f"{missing} of {frame.height} rows are null; none may be")]
        if missing > self.max_missing * frame.height:
            return [Breach(column.name, f"{missing} of {frame.height} rows are missing; at most {self.max_missing:.0%} may be")]
        return []

    def _variety(self, frame: pl.DataFrame, schema: Schema) -> list[Breach]:
        values = frame[schema.target]
        if self.constant_target or frame.height < 2 or values.n_unique() > 1:
            return []
        message = f"the target is {values[0]} in all {frame.height} rows: nothing can be learnt from it"
        return [Breach(schema.target, f"{message} (`stream.contract.constant_target=true` lets such windows pass)")]


def quarantine(window: Window, breaches: tuple[Breach, ...], folder: Path) -> str:
    """Keep the window's file and a report beside it in `folder`; running it again changes nothing. Returns the report's path."""
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(window.uri)
    partition = "*" in source.name  # all the files of a folder
    kept = folder / f"{window.id}.{window.digest[:12]}{'' if partition else source.suffix}"
    part = kept.with_name(f".{kept.name}")
    there = lost(window) is None  # not some other file that came under its name
    if not kept.exists() and partition and there and source.parent.exists():
        shutil.copytree(source.parent, part, dirs_exist_ok=True)
        part.replace(kept)
    elif not kept.exists() and there and source.exists():
        shutil.copyfile(source, part)
        part.replace(kept)
    report = folder / f"{window.id}.{window.digest[:12]}.json"
    part = report.with_name(f".{report.name}")
    part.write_text(json.dumps({"window": asdict(window), "breaches": [asdict(b) for b in breaches]}, indent=2))
    part.replace(report)
    return str(report)


def _fits(dtype: pl.DataType, column: Column) -> bool:
    if column.kind == "number":
        return dtype.is_numeric()
    if column.kind == "boolean":
        return dtype == pl.Boolean
    return _is_text(dtype)


def _is_text(dtype: pl.DataType) -> bool:
    return dtype in (pl.String, pl.Categorical, pl.Enum) or isinstance(dtype, pl.Enum)


def _missing(values: pl.Series) -> int:
    nan = int(values.is_nan().sum() or 0) if values.dtype.is_float() else 0
    return values.null_count() + nan


def _sliced(frame: pl.DataFrame, name: str) -> list[Breach]:
    """A column that only slices, as `stream.slice_by` says: the gate must be able to look at its groups."""
    if name not in frame.columns:
        return [_absent(frame, name)]
    dtype = frame[name].dtype
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        return [Breach(name, f"holds {dtype}, which has no values to slice by (`stream.slice_by`)")]
    return []


def _target(frame: pl.DataFrame, schema: Schema) -> list[Breach]:
    if schema.target not in frame.columns:
        return [_absent(frame, schema.target)]
    values = frame[schema.target]
    if schema.task == "regression":
        if not values.dtype.is_numeric():
            return [Breach(schema.target, f"the target holds {values.dtype}, expected numbers")]
        bad = frame.height - int(values.cast(pl.Float64).is_finite().sum() or 0)
    else:
        if not (values.dtype.is_numeric() or values.dtype == pl.Boolean or _is_text(values.dtype)):
            return [Breach(schema.target, f"the target holds {values.dtype}, expected classes")]
        values = labels(values)
        bad = values.null_count()
    if bad:
        return [Breach(schema.target, f"the target is null, NaN or infinite in {bad} of {frame.height} rows")]
    return [] if schema.task == "regression" else _classes(values, schema)


def _classes(values: pl.Series, schema: Schema) -> list[Breach]:
    known = schema.classes or ("0", "1", "false", "true")
    strange = values.filter(~values.is_in(known))
    if strange.is_empty():
        return []
    words = ", ".join(repr(word) for word in strange.unique(maintain_order=True).head(3))
    named = f"the classes {', '.join(known)}" if schema.classes else "0 and 1, or false and true"
    return [
        Breach(
            schema.target,
            f"{len(strange)} of {len(values)} rows hold {words}, which is none of {named}: correct them; a stream's classes "
            "(`stream.classes`) are fixed when it begins, so a truly new class needs a stream of another name",
        )
    ]


def _key(frame: pl.DataFrame, name: str) -> list[Breach]:
    if name not in frame.columns:
        return [_absent(frame, name)]
    values = frame[name]
    if not (values.dtype.is_integer() or _is_text(values.dtype)):
        return [Breach(name, f"the key holds {values.dtype}, expected whole numbers or text (`stream.labels.key`)")]
    if values.null_count():
        return [Breach(name, f"the key is null in {values.null_count()} of {frame.height} rows: no label can be found for them")]
    if twice := frame.height - values.n_unique():
        shown = ", ".join(str(value) for value in values.filter(values.is_duplicated()).unique(maintain_order=True).head(3))
        return [Breach(name, f"the key is not unique: {twice} of {frame.height} rows repeat one ({shown})")]
    return []


def _time(frame: pl.DataFrame, name: str) -> list[Breach]:
    if name not in frame.columns:
        return [_absent(frame, name)]
    values = frame[name]
    if not (values.dtype.is_temporal() or values.dtype.is_numeric()):
        return [Breach(name, f"the time column holds {values.dtype}, expected a date, a time or a number")]
    return [Breach(name, f"the time is null in {values.null_count()} rows")] if values.null_count() else []


def _absent(frame: pl.DataFrame, name: str) -> Breach:
    import difflib

    near = difflib.get_close_matches(name, frame.columns, n=1)
    hint = f"; did the supplier rename it to {near[0]!r}?" if near else f"; the window has {', '.join(frame.columns[:12])}"
    return Breach(name, f"the column is missing{hint}")
