"""Any two tables compared, model or no model: every statistic of every column, and of the tables as a whole.

Windows of a stream are compared by their Profiles, which keep a sample of each column. Here the files are at hand: statistics
over sorted values read every row, a few columns in memory at a time, and whole rows are compared by as many as are drawn. Of the
reference a Profile may be all that is left.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

import kernels
from engine import drift
from engine.columns import Floats, number
from engine.drift import Compared, DriftLimits
from engine.explain import drift_lines
from engine.nouns import DriftReport, Measure
from engine.parquet import kinds_of, profile_of, rows_of
from engine.profile import Profile
from engine.reference import Reference, kept
from kernels import suite

ROWS = 10_000  # drawn of each table, for statistics of whole rows
VALUES = 1 << 25  # of each side in memory at once, sorted
TESTS_OF_BINS = ("chi2", "g", "cramers_v", "ks_bins")  # which would take a sketch's error for drift
SIZES_OF_BINS = ("psi", "js", "kl", "hellinger", "tv")  # their p-values would, too


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
    """Compare the rows of one Parquet file, or of all in a folder, with those of another; `reference` may be a Profile, too.

    Raises ValueError with what is wrong with which column of which file, FileNotFoundError, and OSError for what is no Parquet.
    """
    if not current.is_dir() and kept(current) is not None:
        raise ValueError(
            f"{current} is a profile: what is compared with the reference is data, counted over the reference's edges"
        )
    profile = kept(reference)
    if profile is not None:
        return _with_kept(reference, profile, current, limits, columns, seed)
    sides = [files_of(reference), files_of(current)]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        before = profile_of(sides[0], None, columns, limits.segment_by, seed)
        after = profile_of(sides[1], before, columns, None, seed)
    found: list[Compared] = []
    for names in _groups(before.numbers, before.categories, max(before.rows, after.rows)):
        parts = before.only(names), after.only(names)
        ordered = [_ordered(files, part.numbers) for files, part in zip(sides, parts, strict=True)]
        found += drift.measure(*parts, confidence=limits.confidence, ordered=(ordered[0], ordered[1]))
    report = drift.judge(before, after, found, limits, current.name, 0, whole=True)
    whole: dict[str, Measure] = {}
    if len(before.numbers) > 1:
        rows = [rows_of(files, before.numbers, ROWS, seed + place) for place, files in enumerate(sides)]
        measured = suite.tables(rows[0], rows[1], seed=seed, confidence=limits.confidence)
        whole = {name: drift.one(each) for name, each in measured.items()}
    notes = dict.fromkeys(str(warning.message) for warning in said)
    return Comparison(str(reference), str(current), before, after, report, whole, tuple(notes))


def _with_kept(
    path: Path, reference: Reference, current: Path, limits: DriftLimits, columns: Sequence[str] | None, seed: int
) -> Comparison:
    """The same where of the reference a Profile is left: no whole rows, and its sample for statistics over sorted values."""
    files, before = files_of(current), reference.profile
    if absent := [name for name in columns or () if name in reference.left_out]:
        raise ValueError(f"column {absent[0]} of {path} cannot be compared: it is one {reference.left_out[absent[0]]}")
    if limits.segments and (before.by is None or before.by.column != limits.segments):
        raise ValueError(f"{path} holds no profiles of the segments of {limits.segments}: compare the data, or without segments")
    columns = columns or [name for name in kinds_of(files[0]) if name not in reference.left_out]
    estimated = [name for name in reference.estimated if name in columns]
    if limits.effect in TESTS_OF_BINS and estimated:
        raise ValueError(
            f"{limits.effect} is no effect for {', '.join(estimated)}: it takes counts for exact, and {path} holds estimates of "
            f"them; choose another than {', '.join(TESTS_OF_BINS)}, or other columns"
        )
    after = profile_of(files, before, columns, None, seed)
    before = before.only(after.kinds)
    exact = [name for name in before.numbers if name not in reference.estimated]

    def measured(group: list[str], names: Collection[str]) -> list[Compared]:
        parts = before.only(group), after.only(group)
        ordered = parts[0].samples, _ordered(files, parts[1].numbers)
        return drift.measure(*parts, names, confidence=limits.confidence, ordered=ordered)

    found = [one for group in _groups(exact, before.categories, after.rows) for one in measured(group, suite.NUMBERS)]
    sizes = [name for name in suite.NUMBERS if name not in TESTS_OF_BINS]
    found += [_untested(one) for group in _groups(estimated, (), after.rows) for one in measured(group, sizes)]
    report = drift.judge(before, after, found, limits, current.name, 0, whole=True)
    return Comparison(str(path), str(current), before, after, report, {}, tuple(reference.notes()))


def _untested(column: Compared) -> Compared:
    """A column without the p-values of its estimated counts."""
    measures = {name: replace(each, p_value=None) if name in SIZES_OF_BINS else each for name, each in column.measures.items()}
    return replace(column, measures=measures)


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


def _groups(numbers: Sequence[str], categories: Iterable[str], rows: int) -> Iterator[list[str]]:
    """The numeric columns, as many at a time as may be in memory, then the others."""
    size = max(VALUES // max(rows, 1), 1)
    for start in range(0, len(numbers), size):
        yield list(numbers[start : start + size])
    if others := list(categories):
        yield others


def _ordered(files: Sequence[Path], names: Sequence[str]) -> list[Floats]:
    """All finite values of numeric columns, ascending."""
    found = []
    for name in names:
        column = pl.concat([pl.read_parquet(file, columns=[name]) for file in files], how="vertical_relaxed")[name]
        (ordered,) = kernels.sort_columns(number(column)[:, None])
        found.append(ordered[np.searchsorted(ordered, -np.inf, side="right") : np.searchsorted(ordered, np.inf)])
    return found
