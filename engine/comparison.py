"""Any two tables compared, model or no model: every statistic of every column, and of the tables as a whole.

Windows of a stream are compared by their Profiles, which keep a sample of each column. Here the files are at hand: statistics
over sorted values read every row, a few columns in memory at a time, and whole rows are compared by as many as are drawn.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

import kernels
from engine import drift
from engine.columns import Floats, number
from engine.drift import DriftLimits
from engine.explain import drift_lines
from engine.nouns import DriftReport, Measure
from engine.parquet import profile_of, rows_of
from engine.profile import Profile
from kernels import suite

ROWS = 10_000  # drawn of each table, for statistics of whole rows


@dataclass(frozen=True)
class Comparison:
    """Two tables and how they differ: `report` by column, `whole` by row; `notes` are what a person should know of the files."""

    reference: str
    current: str
    before: Profile
    after: Profile
    report: DriftReport
    whole: Mapping[str, Measure]
    notes: tuple[str, ...] = ()


def of_files(
    reference: Path, current: Path, limits: DriftLimits, columns: Sequence[str] | None = None, seed: int = 0
) -> Comparison:
    """Compare the rows of one Parquet file, or of all in a folder, with those of another.

    Raises ValueError with what is wrong with which column of which file, FileNotFoundError, and OSError for what is no Parquet.
    """
    sides = [files_of(reference), files_of(current)]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        before = profile_of(sides[0], None, columns, limits.segment_by, seed)
        after = profile_of(sides[1], before, columns, None, seed)
    ordered = partial(_ordered, sides[0]), partial(_ordered, sides[1])
    found = drift.measure(before, after, confidence=limits.confidence, ordered=ordered)
    report = drift.judge(before, after, found, limits, current.name, 0, whole=True)
    whole: dict[str, Measure] = {}
    if len(before.numbers) > 1:
        rows = [rows_of(files, before.numbers, ROWS, seed + place) for place, files in enumerate(sides)]
        measured = suite.tables(rows[0], rows[1], seed=seed, confidence=limits.confidence)
        whole = {name: drift.one(each) for name, each in measured.items()}
    notes = dict.fromkeys(str(warning.message) for warning in said)
    return Comparison(str(reference), str(current), before, after, report, whole, tuple(notes))


def lines(found: Comparison) -> list[str]:
    """Every column, the furthest from its limit first, then the tables as a whole."""
    _, *columns = drift_lines(found.report)
    head = (
        f"{found.current} against {found.reference}: {found.report.rows_current:,} rows against {found.report.rows_reference:,}"
    )
    width = max(map(len, found.whole), default=0)
    whole = [
        f"{name:<{width}}  {each.value:9.4g}  effect {each.effect:.3g} ({each.low:.3g} to {each.high:.3g})"
        + ("" if each.p_value is None else f"  p {each.p_value:.1e}")
        for name, each in found.whole.items()
    ]
    return [*found.notes, head, *columns, *(["", f"whole rows, up to {ROWS:,} of each side", *whole] if whole else [])]


def files_of(path: Path) -> list[Path]:
    """A file, or the Parquet files of a folder in their order. Raises FileNotFoundError."""
    if path.is_dir():
        found = sorted(path.rglob("*.parquet"))
        if not found:
            raise FileNotFoundError(f"{path} holds no .parquet file")
        return found
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    return [path]


def _ordered(files: Sequence[Path], name: str) -> Floats:
    """All values of a numeric column, ascending."""
    column = pl.concat([pl.read_parquet(file, columns=[name]) for file in files], how="vertical_relaxed")[name]
    (ordered,) = kernels.sort_columns(number(column)[:, None])
    return ordered
