"""The Profile of Parquet files that need not fit into memory: batches of rows go through it, and nothing else is kept of them.

A file says by itself what its columns hold, so there is no Schema here. Memory is that of a few batches of 2^24 values, of one
counter per column and of the sample; each pass reads its columns once, from the first row to the last, so time is linear in rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from engine.columns import Holds, holds, number, numbers_as_text, refuse_rounding
from engine.profile import Profile, SegmentBy, alike
from engine.profiling import THREAD, counted

VALUES = 1 << 24  # in a batch: 64 MiB of float32
MOST_ROWS = 4 * THREAD
READ_AHEAD = 1 << 18  # bytes per column: a row group may be as large as its file
DISTINCT = 100_000  # different values of a text column; each is kept with its count


def kinds_of(path: Path, columns: Sequence[str] | None = None) -> dict[str, Holds]:
    """What each column of a Parquet file holds, or each of `columns`.

    Raises ValueError, naming the column, for one that is not there and for nested and binary ones.
    """
    schema = _schema(path)
    absent = [name for name in columns or () if name not in schema.names]
    if absent:
        raise ValueError(f"{path} lacks the columns {', '.join(absent)}; it has {', '.join(schema.names)}")
    return {name: _holds(path, schema.field(name)) for name in (schema.names if columns is None else columns)}


def dates_of(path: Path) -> set[str]:
    """The columns of a Parquet file that hold dates, or dates with their time of day."""
    return {field.name for field in _schema(path) if pa.types.is_date(field.type) or pa.types.is_timestamp(field.type)}


def profile_of(
    paths: Path | Sequence[Path],
    reference: Profile | None = None,
    columns: Sequence[str] | None = None,
    by: SegmentBy | None = None,
    seed: int = 0,
) -> Profile:
    """The Profile of all rows of Parquet files, over the edges and segments of `reference`, else over their own quantiles.

    All columns, or only `columns`. It is the Profile that `engine.profiling.build` would make of the table in memory. Without a
    reference the files are read twice: the first time for range and quantiles, which come from 10,000 rows drawn by `seed`.

    Raises ValueError, which names the column, when files or reference differ in columns or in what these hold, when a column is
    nested, holds integers beyond 2^53, or text of more than 100,000 different values, and when there are no rows. Warns of
    numbers that are stored as text.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    if not files:
        raise ValueError("there is no Parquet file to profile")
    kinds = kinds_of(files[0], columns)
    for file in files[1:]:
        kinds = _agreed(str(files[0]), kinds, str(file), kinds_of(file, columns), _empty(files[0]) | _empty(file))
    if reference is not None:
        wanted = {name: kind for name, kind in reference.kinds.items() if columns is None or name in columns}
        kinds = _agreed("the reference", wanted, str(files[0]), kinds, _empty(files[0]))
        reference = reference.only(kinds)
        by = reference.by
    if by is not None:
        kinds_of(files[0], [by.column])
    rows = count_of(files)
    if not rows:
        raise ValueError(f"{', '.join(map(str, files))} holds no rows: there is nothing to compare")

    def batches(names: Sequence[str]) -> Iterator[pl.DataFrame]:
        return _batches(files, names, kinds)

    made = counted(batches, rows, kinds, None if reference is None else reference.edges, by, seed, DISTINCT)
    for name, values in made.categories.items() if reference is None else ():
        if said := numbers_as_text(name, values):
            warnings.warn(said, stacklevel=2)
    return made


def vectors_of(path: Path) -> set[str]:
    """The columns that hold lists of floats, such as embeddings."""
    return {field.name for field in _schema(path) if _is_list(field.type) and pa.types.is_floating(field.type.value_type)}


def count_of(files: Sequence[Path]) -> int:
    """How many rows the files hold together."""
    return sum(_metadata(file).num_rows for file in files)


def names_of(path: Path) -> list[str]:
    """All columns, in their order."""
    return list(_schema(path).names)


def rows_of(files: Sequence[Path], names: Sequence[str], most: int, seed: int = 0) -> npt.NDArray[np.float64]:
    """Rows of numeric columns, [n, d] with NaN for null: all of them, or `most` that are drawn by `seed`, in their order."""
    drawn, found, seen = drawn_of(files, most, seed), [np.empty((0, len(names)))], 0
    for batch in _batches(files, names, {}):
        first, last = np.searchsorted(drawn, [seen, seen + batch.height])
        here = batch[drawn[first:last] - seen]
        found.append(np.column_stack([number(here[name]).astype(np.float64) for name in names]))
        seen += batch.height
    return np.concatenate(found)


def drawn_of(files: Sequence[Path], most: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """The numbers of all rows, or of `most` that are drawn by `seed`, in their order."""
    rows = count_of(files)
    return np.arange(rows) if rows <= most else np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _agreed(
    first: str, kinds: Mapping[str, Holds], second: str, others: Mapping[str, Holds], empty: Iterable[str]
) -> dict[str, Holds]:
    """The kinds of two sides with the same columns; what is `empty` on one side is of the kind that the other says."""
    for name in (*kinds, *others):
        if name not in kinds or name not in others:
            has, lacks = (first, second) if name in kinds else (second, first)
            raise ValueError(f"column {name} is in {has} and not in {lacks}: compare columns that both have")
        if name not in empty and not alike(kinds[name], others[name]):
            words = f"column {name} holds a {kinds[name]} in {first} and a {others[name]} in {second}"
            text = "; numbers as text must be cast to numbers where the file is written" if "category" in words else ""
            raise ValueError(f"{words}{text}: write the same type on both sides, or leave the column out")
    return {name: others[name] if name in empty and kinds[name] == "number" else kind for name, kind in kinds.items()}


def _batches(files: Sequence[Path], names: Sequence[str], kinds: Mapping[str, Holds]) -> Iterator[pl.DataFrame]:
    rows = VALUES // max(len(names), 1)
    rows = min(rows // THREAD * THREAD, MOST_ROWS) if rows >= THREAD else max(rows, 1 << 12)
    for path in files:
        with pq.ParquetFile(path, buffer_size=READ_AHEAD, pre_buffer=False) as file:
            for batch in file.iter_batches(rows, columns=list(names)):
                frame = pl.DataFrame(pl.from_arrow(batch)).select(names)
                for name in names:
                    if name in kinds and kinds[name] == "category":
                        frame = frame.with_columns(pl.col(name).cast(pl.String)) if frame.schema[name] == pl.Null else frame
                    elif name in kinds:
                        refuse_rounding(frame[name])
                yield frame


def _holds(path: Path, field: pa.Field) -> Holds:
    try:
        dtype = pl.DataFrame(pl.from_arrow(pa.schema([field]).empty_table())).schema[field.name]
    except (pl.exceptions.PolarsError, pa.ArrowException, ValueError, TypeError):
        raise ValueError(f"column {field.name} of {path} holds {field.type}, which cannot be read: leave it out") from None
    return holds(field.name, dtype)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _empty(path: Path) -> set[str]:
    """The columns that are nothing but nulls, of no type."""
    return {field.name for field in _schema(path) if pa.types.is_null(field.type)}


def _schema(path: Path) -> pa.Schema:
    return _metadata(path).schema.to_arrow_schema()


def _metadata(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
