"""Limits learnt from the first good windows, with slack: the door is for what is broken, drift has to pass it.

Every one of these windows leaves a Lesson in the ledger; the limits follow from the lessons alone. What tells nothing about what
may come teaches nothing:

| what the first windows show | what is learnt |
|---|---|
| numbers that vary | their range, widened on each side by its own width; that they vary by a thousandth of the least spread |
| numbers of which most are one value (a rare event) | no range |
| numbers that only rise or only fall from window to window (a month, a counter) | no range |
| a share of missing values | the largest one and 25 points more |
| categories that come again | that half of a window's rows hold known ones |
| categories of which every window brings many new ones (orders, customers) | nothing |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from engine.contracts import shape
from engine.contracts.limits import Limits
from engine.ledger import Ledger
from engine.nouns import Column, Schema, Window

SLACK = 1.0  # of a range, in its own widths
STILL = 1e-3  # of the smallest spread that was seen; a column that varies less stands still
MISSING_SLACK = 0.25
MOST_NEW = 0.5  # of a window's rows may hold categories never seen
SETTLED = 0.25  # of the rows of a later lesson may hold new categories, or the column has no vocabulary
MOST_LEVELS = 1000  # more different texts than this are no vocabulary


@dataclass(frozen=True, slots=True)
class Seen:
    """What one column held in one window.

    missing: share of nulls and NaN. low, high: smallest and largest finite number, None where they say nothing about a range.
    levels: category → rows, None where there are too many.
    """

    missing: float
    low: float | None = None
    high: float | None = None
    levels: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one good window taught; `window` is its id."""

    window: str
    columns: dict[str, Seen]


def study(window: Window, frame: pl.DataFrame, schema: Schema) -> Lesson:
    """What a good window teaches: of features, watched columns and a target that is a number and there already."""
    target = (Column(schema.target, "number"),) if schema.task == "regression" and schema.key is None else ()
    columns = (*schema.columns, *schema.watched, *target)
    return Lesson(window.id, {column.name: _seen(frame[column.name], column) for column in columns})


def remembered(ledger: Ledger, stream: str, number: int) -> tuple[Lesson, ...]:
    """The lessons of the first `number` good windows, fewer while there were fewer."""
    if not number:
        return ()
    lessons: dict[str, Lesson] = {}
    for _, lesson in ledger.results(stream, "learn", Lesson):
        lessons.setdefault(lesson.window, lesson)  # a window that was tried again teaches once
    return tuple(lessons.values())[:number]


def learnt(lessons: Sequence[Lesson]) -> dict[str, Limits]:
    """The limits that follow from the lessons, for every column that each of them knows."""
    found = {}
    for name in lessons[0].columns if lessons else ():
        seen = [lesson.columns[name] for lesson in lessons if name in lesson.columns]
        if len(seen) == len(lessons):
            low, high = _range(seen)
            words = _vocabulary(seen)
            missing = min(1.0, max(each.missing for each in seen) + MISSING_SLACK)
            found[name] = Limits(low, high, _spread(seen), missing, words, True if words else None)
    return found


def _seen(values: pl.Series, column: Column) -> Seen:
    missing = int(shape.missing(values).sum()) / max(len(values), 1)
    if column.kind == "number":
        known = values.cast(pl.Float64).drop_nulls()
        known = known.filter(known.is_finite())
        if known.is_empty() or known.quantile(0.1) == known.quantile(0.9):
            return Seen(missing)
        return Seen(missing, float(known.min()), float(known.max()))  # type: ignore[arg-type]
    if column.kind == "category":
        counted = words_of(values).drop_nulls().value_counts(sort=True, name="n")
        if counted.height <= MOST_LEVELS:
            return Seen(missing, levels=dict(zip(counted[values.name].to_list(), counted["n"].to_list(), strict=True)))
    return Seen(missing)


def _range(seen: Sequence[Seen]) -> tuple[float | None, float | None]:
    spans = [(each.low, each.high) for each in seen if each.low is not None and each.high is not None]
    rises = all(after[0] >= before[1] for before, after in pairwise(spans))
    falls = all(after[1] <= before[0] for before, after in pairwise(spans))
    if len(spans) < len(seen) or (len(spans) > 1 and (rises or falls)):
        return None, None
    low, high = min(low for low, _ in spans), max(high for _, high in spans)
    slack = SLACK * (high - low)
    return low - slack, high + slack


def _spread(seen: Sequence[Seen]) -> float | None:
    spreads = [each.high - each.low for each in seen if each.low is not None and each.high is not None]
    return STILL * min(spreads) if len(spreads) == len(seen) else None


def _vocabulary(seen: Sequence[Seen]) -> tuple[str, ...] | None:
    known: dict[str, None] = {}
    for each in seen:
        if not each.levels:
            return None
        new = sum(rows for word, rows in each.levels.items() if word not in known)
        if known and new > SETTLED * sum(each.levels.values()):
            return None
        known |= dict.fromkeys(each.levels)
    return tuple(known)


def words_of(values: pl.Series) -> pl.Series:
    """Categories as text; "" is null, as everywhere."""
    return values.cast(pl.String).replace("", None)
