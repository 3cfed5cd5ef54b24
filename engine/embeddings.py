"""Columns of vectors, such as embeddings: the rows of each are compared as wholes, in the unit that all its numbers share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from engine.metrics import F64
from engine.parquet import drawn_of
from kernels import suite
from kernels.measured import Measured

NAMES = tuple(name for name in suite.TABLES if name != "correlation")  # what a single number of an embedding says is nobody's


def vectors_of(files: Sequence[Path], name: str, most: int, seed: int = 0) -> F64:
    """The vectors of a column, [n, width], a row of NaN for null: all of them, or `most` that are drawn by `seed`.

    Raises ValueError when they are not of one length.
    """
    # By polars: pyarrow cannot read missing vectors of a fixed length.
    rows = pl.scan_parquet(list(files)).select(name).with_row_index("row")
    drawn = pl.col("row").is_in(pl.Series(drawn_of(files, most, seed), dtype=pl.UInt32).implode())
    column = rows.filter(drawn).collect(engine="streaming").sort("row")[name]
    present = column.is_not_null().to_numpy()
    column = column.drop_nulls()
    lists = column.arr.to_list() if isinstance(column.dtype, pl.Array) else column
    lengths = lists.list.len().unique().sort().to_list()
    if len(lengths) > 1:
        raise ValueError(f"column {name} holds lists of {lengths[0]} to {lengths[-1]} numbers: vectors have one length")
    width = int(lengths[0]) if lengths else 0
    found = np.full((len(present), width), np.nan)
    found[present] = lists.explode().cast(pl.Float64).fill_null(float("nan")).to_numpy().reshape(-1, width) if width else 0.0
    return found


def compare(before: F64, after: F64, name: str, seed: int = 0, confidence: float = 0.95) -> dict[str, Measured]:
    """The statistics of `NAMES` for the vectors [n, width] and [m, width] of a column. Raises ValueError for other lengths."""
    if before.shape[1] != after.shape[1]:
        raise ValueError(
            f"column {name} holds vectors of {before.shape[1]} numbers in the reference and of {after.shape[1]} in the current "
            "data: two models made them, and they have no distance"
        )
    return suite.tables(before, after, NAMES, seed, confidence, scaled=False)
