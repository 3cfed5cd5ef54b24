"""Any two tables compared, model or no model: every statistic of every column, and of the tables as a whole.

Windows of a stream are compared by their Profiles, which keep a sample of each column. Here the files are at hand: statistics
over sorted values read every row, a few columns in memory at a time, and whole rows are compared by as many as are drawn. Of the
reference a Profile may be all that is left.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

import kernels
from engine import drift, embeddings
from engine.columns import Floats, number
from engine.drift import Compared, DriftLimits
from engine.explain import drift_lines
from engine.kept import kept
from engine.nouns import DriftReport, Measure
from engine.parquet import count_of, dates_of, kinds_of, names_of, profile_of, rows_of, vectors_of
from engine.profile import F64, Profile
from engine.reference import Reference
from kernels import suite

ROWS = 10_000  # drawn of each table, for statistics of whole rows
FEW = 100  # rows; of fewer any number may be another in each
TESTS_OF_BINS = ("chi2", "g", "cramers_v", "ks_bins")  # which would take a sketch's error for drift
SIZES_OF_BINS = ("psi", "js", "kl", "hellinger", "tv", "l_infinity")  # their p-values would, too


@dataclass(frozen=True)
class Drawn:
    """The rows of one side that statistics of whole rows saw.

    rows, drawn: of the table, and how many of them were drawn.
    gaps, cells: drawn rows in which a value is missing or infinite, and how many such values there are. They count as the
        reference's median of their column; the classifier alone takes them as they are.
    empty: drawn rows without any value, which all but the classifier leave out.
    """

    rows: int
    drawn: int
    gaps: int
    cells: int
    empty: int

    @classmethod
    def of(cls, table: F64, rows: int) -> Drawn:
        """What was drawn of a table of so many rows."""
        gaps = ~np.isfinite(table)
        return cls(rows, len(table), int(gaps.any(axis=1).sum()), int(gaps.sum()), int(gaps.all(axis=1).sum()))

    def __str__(self) -> str:
        said = f"{self.drawn:,} drawn of {self.rows:,} rows" if self.drawn < self.rows else f"all {self.rows:,} rows"
        if self.cells:
            said += f"; in {self.gaps:,} of them a value is missing or infinite, {self.cells:,} in all"
        return said + (f"; {self.empty:,} without any value are left out" if self.empty else "")


@dataclass(frozen=True)
class Vectors:
    """How a column of vectors differs: their `width`, which rows of both sides were `drawn`, and the statistics of these."""

    width: int
    drawn: tuple[Drawn, Drawn]
    measures: Mapping[str, Measure]


@dataclass(frozen=True)
class Comparison:
    """Two tables and how they differ: `report` by column, `whole` by row; `notes` are what a person should know of the files.

    `drawn` are the rows of both sides that `whole` is of, without the numeric columns that are `ids`. `vectors` are the columns
    that hold embeddings.
    """

    reference: str
    current: str
    before: Profile
    after: Profile
    report: DriftReport
    whole: Mapping[str, Measure]
    drawn: tuple[Drawn, Drawn] | None
    notes: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    vectors: Mapping[str, Vectors] = field(default_factory=dict)


def of_files(
    reference: Path, current: Path, limits: DriftLimits, columns: Sequence[str] | None = None, seed: int = 0
) -> Comparison:
    """Compare the rows of one Parquet file, or of all in a folder, with those of another; `reference` may be a Profile, too.

    Without `columns` all are compared but dates and times, which are later in later data whether or not anything drifted.

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
    lists = vectors_of(sides[0][0]) & vectors_of(sides[1][0])
    vectors = {name: _vectors(sides, name, limits.confidence, seed) for name in columns or names_of(sides[0][0]) if name in lists}
    if lists:
        columns = [name for name in columns or names_of(sides[0][0]) if name not in lists]
    names = [kinds_of(files[0], columns) for files in sides]
    moving = dates_of(sides[0][0]) & dates_of(sides[1][0])
    columns, times = _but_times(names[0], names[1], moving, columns)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        before = profile_of(sides[0], None, columns, limits.segment_by, seed)
        after = profile_of(sides[1], before, columns, None, seed)
    ordered = partial(_ordered, sides[0]), partial(_ordered, sides[1])
    found = drift.measure(before, after, confidence=limits.confidence, ordered=ordered)
    report = _judged(before, after, found, limits, current.name, times)
    whole: dict[str, Measure] = {}
    drawn = None
    ids: tuple[str, ...] = ()
    if len(before.numbers) > 1:
        rows = [rows_of(files, before.numbers, ROWS, seed + place) for place, files in enumerate(sides)]
        ids = _ids(sides, before.numbers, rows)
    if len(before.numbers) - len(ids) > 1:
        rows = [each[:, [name not in ids for name in before.numbers]] for each in rows]
        measured = suite.tables(rows[0], rows[1], seed=seed, confidence=limits.confidence)
        whole = {name: drift.one(each) for name, each in measured.items()}
        drawn = Drawn.of(rows[0], before.rows), Drawn.of(rows[1], after.rows)
    notes = dict.fromkeys(str(warning.message) for warning in said)
    return Comparison(str(reference), str(current), before, after, report, whole, drawn, tuple(notes), ids, vectors)


def _vectors(sides: Sequence[Sequence[Path]], name: str, confidence: float, seed: int) -> Vectors:
    rows = [embeddings.vectors_of(files, name, ROWS, seed + place) for place, files in enumerate(sides)]
    measured = embeddings.compare(rows[0], rows[1], name, seed, confidence)
    before, after = (Drawn.of(each, count_of(files)) for each, files in zip(rows, sides, strict=True))
    return Vectors(rows[0].shape[1], (before, after), {key: drift.one(each) for key, each in measured.items()})


def _but_times(
    before: Collection[str], after: Collection[str], moving: Collection[str], asked: Sequence[str] | None
) -> tuple[Sequence[str] | None, list[str]]:
    """The columns to compare (None: all there are), and the `moving` ones, which are left out."""
    times = [name for name in before if name in moving]
    others = [name for name in before if name not in moving]
    if asked or not times or not others or set(before) != set(after):  # what one side lacks is an error of its own
        return asked, []
    return others, times


def _judged(
    before: Profile, after: Profile, found: Sequence[Compared], limits: DriftLimits, current: str, times: Sequence[str]
) -> DriftReport:
    report = drift.judge(before, after, found, limits, current, 0, whole=True)
    words = "moves with time: it is not judged, and no part of whole rows"
    moved = (f"{name} {words}; `--column {name}` compares it" for name in times)
    return replace(report, notes=(*report.notes, *moved))


def _ids(sides: Sequence[Sequence[Path]], names: Sequence[str], drawn: Sequence[F64]) -> tuple[str, ...]:
    """The columns that count the rows: integers, no two of a side alike, and apart or in order on both sides.

    Whole rows that hold one are always far from others. What was `drawn` of each side spares reading most columns again.
    """
    found = []
    for place, name in enumerate(names):
        if any(len(rows) < FEW or np.unique(rows[:, place]).size < len(rows) for rows in drawn):
            continue
        before, after = (_column(files, name) for files in sides)
        if not all(one.dtype.is_integer() and not one.null_count() and one.n_unique() == len(one) for one in (before, after)):
            continue
        (low, high), (first, last) = ((one.min(), one.max()) for one in (before, after))
        apart = bool((pl.Series([high, last]) < pl.Series([first, low])).any())
        if apart or (before.is_sorted() and after.is_sorted()):
            found.append(name)
    return tuple(found)


def _with_kept(
    path: Path, reference: Reference, current: Path, limits: DriftLimits, columns: Sequence[str] | None, seed: int
) -> Comparison:
    """The same where of the reference a Profile is left: no whole rows, and its sample for statistics over sorted values."""
    files, before = files_of(current), reference.profile
    if absent := [name for name in columns or () if name in reference.left_out]:
        raise ValueError(f"column {absent[0]} of {path} cannot be compared: it is one {reference.left_out[absent[0]]}")
    if limits.segments and (before.by is None or before.by.column != limits.segments):
        raise ValueError(f"{path} holds no profiles of the segments of {limits.segments}: compare the data, or without segments")
    kinds = {name: kind for name, kind in kinds_of(files[0]).items() if name not in reference.left_out}
    moving = {name for name in dates_of(files[0]) if before.kinds.get(name) == "time"}
    asked, times = _but_times(before.kinds, kinds, moving, columns)
    columns = asked or list(kinds)
    estimated = [name for name in reference.estimated if name in columns]
    if limits.effect in TESTS_OF_BINS and estimated:
        raise ValueError(
            f"{limits.effect} is no effect for {', '.join(estimated)}: it takes counts for exact, and {path} holds estimates of "
            f"them; choose another than {', '.join(TESTS_OF_BINS)}, or other columns"
        )
    after = profile_of(files, before, columns, None, seed)
    before = before.only(after.kinds)
    of_sketches = [name for name in before.numbers if name in reference.estimated]

    def measured(columns: Collection[str], names: Collection[str]) -> list[Compared]:
        ordered = (lambda name: None), partial(_ordered, files)  # of the reference its sample is all there is
        return drift.measure(before.only(columns), after.only(columns), names, confidence=limits.confidence, ordered=ordered)

    found = measured([name for name in before.kinds if name not in of_sketches], suite.NUMBERS)
    sizes = [name for name in suite.NUMBERS if name not in TESTS_OF_BINS]
    found += [_untested(one) for one in measured(of_sketches, sizes)]
    report = _judged(before, after, found, limits, current.name, times)
    return Comparison(str(path), str(current), before, after, report, {}, None, tuple(reference.notes()))


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
    vectors = [
        line for name, each in found.vectors.items() for line in ("", *seen_vectors(name, each), *_statistics(each.measures))
    ]
    return [*found.notes, head, *columns, "", *seen(found), *_statistics(found.whole), *vectors]


def _statistics(measures: Mapping[str, Measure]) -> list[str]:
    width = max(map(len, measures), default=0)
    return [
        f"{name:<{width}}  {each.value:9.4g}  effect {each.effect:.3g} ({each.low:.3g} to {each.high:.3g})"
        + ("" if each.p_value is None else f"  p {each.p_value:.1e}")
        + ("" if each.rows is None else f"  of {each.rows[0]:,} and {each.rows[1]:,} rows")
        for name, each in measures.items()
    ]


def seen_vectors(name: str, vectors: Vectors) -> list[str]:
    """What was seen of a column of vectors."""
    sides = zip(("reference", "current"), vectors.drawn, strict=True)
    return [f"{name}, vectors of {vectors.width:,} numbers", *(f"{what}: {side}" for what, side in sides)]


def seen(found: Comparison) -> list[str]:
    """What statistics of whole rows saw of the two tables, and what they did not."""
    text = f"; text has no part in them: {', '.join(found.before.categories)}" if found.before.categories else ""
    if found.drawn is None and len(found.before.numbers) > 1:
        return ["whole rows are not compared: of the reference a profile is all there is"]
    text += f"; nor have ids, which count the rows: {', '.join(found.ids)}" if found.ids else ""
    numbers = len(found.before.numbers) - len(found.ids)
    if found.drawn is None:
        return [f"whole rows are compared where there are two numeric columns, not {numbers}{text}"]
    sides = [f"{what}: {side}" for what, side in zip(("reference", "current"), found.drawn, strict=True)]
    filled = ["such a value counts as the reference's median of its column, but for the classifier, which takes it as it is"]
    return [
        f"whole rows of {numbers:,} numeric columns{text}",
        *sides,
        *(filled if any(side.cells for side in found.drawn) else []),
    ]


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
    (ordered,) = kernels.sort_columns(number(_column(files, name))[:, None])
    return ordered


def _column(files: Sequence[Path], name: str) -> pl.Series:
    return pl.concat([pl.read_parquet(file, columns=[name]) for file in files], how="vertical_relaxed")[name]
