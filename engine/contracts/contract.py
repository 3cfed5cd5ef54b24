"""What a window must meet. What fails is said row by row, in words that a data supplier understands."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from functools import cached_property
from typing import Any

import polars as pl

from engine.contracts import rows, shape
from engine.contracts.learning import MOST_NEW, Lesson, learnt
from engine.contracts.limits import Limits, seconds, share
from engine.data.table import has_target
from engine.nouns import Breach, Schema, Window, Within

Known = Mapping[str, Collection[str]]
"""Column → categories that are known from elsewhere than the contract: those that the champion was trained on."""


@dataclass(frozen=True)
class Contract:
    """The limits of a window. Declared ones win over learnt ones, which win over these defaults.

    min_rows: a window with fewer rows waits for the next ones and is joined with them (engine/gathering.py).
    max_missing: largest share of nulls and NaN in a nullable feature, from 0 to 1.
    max_outside: share of a window's rows that may lie outside of a range or a closed list of categories: one typing error costs
        no window. Rows whose target lies outside are answered, but not trained, judged or scored on.
    max_missing_target: share of a window's rows that may have no target. They are answered and profiled like the others, but not
        trained or scored on. Beyond a few percent those that have one may be of another kind than those that have none, and a
        model is trained and judged on a part of the world alone; so it is declared and not learnt.
    constant_target: whether a window may hold one target value alone, as it may where one class is rare.
    key: a column, or several, that tell a window's rows apart.
    freshness: how old the newest row of the newest window may be when it is first looked at (`36h`, `2d`). As in dbt and Soda
        that is its event time against now; a backlog's older windows are history and not asked.
    columns: limits by column, features or not: min, max, max_missing, categories, growing (engine/contracts/limits.py).
    learn: from so many first good windows limits are learnt for what is not declared (engine/contracts/learning.py); 0: none.
    checks: pandera schemas and checks of your own, each a `_target_` that returns one; a single failing row refuses the window.
    """

    min_rows: int = 100
    max_missing: float = 0.99
    max_outside: float = 0.01
    max_missing_target: float = 0.05
    constant_target: bool = False
    key: str | Sequence[str] | None = None
    freshness: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    learn: int = 3
    checks: Sequence[Any] = ()

    def __post_init__(self) -> None:
        share("max_missing", self.max_missing)
        share("max_outside", self.max_outside)
        share("max_missing_target", self.max_missing_target)
        _ = self.declared
        if self.freshness is not None:
            seconds(self.freshness)
        for check in self.checks:
            if not (hasattr(check, "validate") or callable(check)):
                raise ValueError(f"checks: {check!r} is neither a schema nor a check of pandera")

    @cached_property
    def declared(self) -> dict[str, Limits]:
        """The limits that the YAML names, by column."""
        return {name: Limits.declared(name, settings or {}) for name, settings in self.columns.items()}

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that tell rows apart; none when nothing was said."""
        return (self.key,) if isinstance(self.key, str) else tuple(self.key or ())

    def suits(self, schema: Schema) -> None:
        """Complain about limits that cannot be meant for this stream. Raises ValueError."""
        if self.freshness is not None and schema.time is None:
            raise ValueError("freshness is measured by the time column, which this stream has none of (`stream.time`)")
        kinds = _kinds(schema)
        for name, limits in self.declared.items():
            kind = kinds.get(name, "")
            if kind and kind != "number" and (limits.min is not None or limits.max is not None):
                raise ValueError(f"columns.{name}: min and max are for numbers, and this is a {kind}")
            if kind and kind != "category" and limits.categories is not None:
                raise ValueError(f"columns.{name}: categories are for categories, and this is a {kind}")

    def limits(self, schema: Schema, lessons: Sequence[Lesson]) -> dict[str, Limits]:
        """The limits that hold by column, the learnt ones among them once there are `learn` lessons."""
        taught = learnt(lessons) if self.learn and len(lessons) >= self.learn else {}
        kinds = _kinds(schema)  # a column may have become another one since
        taught = {name: limit for name, limit in taught.items() if name in kinds and limit.kind in (None, kinds[name])}
        if schema.target in taught:
            taught[schema.target] = replace(taught[schema.target], max_missing=None)  # `max_missing_target` says it
        names = [*taught, *(name for name in self.declared if name not in taught)]
        return {name: self.declared.get(name, Limits()).over(taught.get(name, Limits())) for name in names}

    def within(self, schema: Schema, lessons: Sequence[Lesson]) -> Within | None:
        """Between which limits the target of a row that is trained, judged or scored on lies; None where there are none."""
        found = self.limits(schema, lessons).get(schema.target)
        return None if found is None or schema.task != "regression" else (found.min, found.max)

    def origin(self, column: str, limit: str, lessons: Sequence[Lesson]) -> str:
        """Where a limit comes from, in words."""
        said = self.declared.get(column, Limits())
        if getattr(said, "categories" if limit == "growing" else limit) is not None:
            return f"`stream.contract.columns.{column}`"
        return f"learnt from {_span([lesson.window for lesson in lessons])}"

    def check(
        self,
        window: Window,
        schema: Schema,
        lessons: Sequence[Lesson] = (),
        known: Known | None = None,
        now: datetime | None = None,
    ) -> tuple[Breach, ...]:
        """Every way in which the window breaks the contract; empty when it is good.

        `lessons` are those of the first good windows, `known` further categories; without `now` nothing is asked about freshness.
        """
        try:
            frame = pl.read_parquet(window.uri)
        except (pl.exceptions.PolarsError, OSError) as error:
            return (Breach(None, f"the file cannot be read as Parquet ({str(error).splitlines()[0]}): deliver it again"),)
        return self.check_frame(frame, schema, lessons, known, now)

    def check_frame(
        self,
        frame: pl.DataFrame,
        schema: Schema,
        lessons: Sequence[Lesson] = (),
        known: Known | None = None,
        now: datetime | None = None,
    ) -> tuple[Breach, ...]:
        """The same for a table in memory."""
        breaches = shape.broken(frame, schema)
        if frame.height < self.min_rows:
            words = f"{frame.height} rows; at least {self.min_rows} are needed (`stream.contract.min_rows`)"
            breaches.insert(0, Breach(None, words, limit=frame.height > 0))
        if frame.is_empty():
            return tuple(breaches)
        spoilt = {breach.column for breach in breaches}
        if schema.key is None and schema.target not in spoilt:
            breaches += self._targets(frame, schema)
        limits = {column.name: Limits() for column in (*schema.columns, *schema.watched)} | self.limits(schema, lessons)
        limits = {name: limit for name, limit in limits.items() if name not in spoilt}
        breaches += [shape.absent(frame, name, limit=True) for name in limits if name not in frame.columns]
        limits = {name: limit for name, limit in limits.items() if name in frame.columns}
        for name, limit in limits.items():
            breaches += self._missing(frame[name], limit, lessons) or self._still(frame[name], limit, lessons)
        breaches += self._rows(frame, limits, lessons, known or {})
        breaches += self._repeated(frame)
        breaches += [breach for check in self.checks for breach in _own(frame, check)]
        if now is not None and self.freshness is not None and schema.time not in spoilt:
            breaches += self._stale(frame, schema, now)
        return tuple(breaches)

    def check_labels(self, frame: pl.DataFrame, schema: Schema) -> tuple[Breach, ...]:
        """The same for the rows of a window whose labels came later, once they are there; the rest of it was checked before."""
        if frame.height < self.min_rows:
            message = f"{frame.height} rows have a label; at least {self.min_rows} are needed (`stream.contract.min_rows`)"
            return (Breach(schema.target, message),)
        return tuple(shape.target(frame, schema) or self._targets(frame, schema))

    def _targets(self, frame: pl.DataFrame, schema: Schema) -> list[Breach]:
        known = has_target(frame, schema)
        values = frame[schema.target].filter(known)
        missing = frame.height - len(values)
        if missing > self.max_missing_target * frame.height:
            words = (
                f"{shape.TARGETLESS} in {missing} of {frame.height} rows; at most {self.max_missing_target:.0%} may be "
                "(`stream.contract.max_missing_target`): deliver it again with its targets, or allow more, and the rows without "
                "one are left out"
            )
            return [Breach(schema.target, words, missing, shape.first(~known), limit=True)]
        if self.constant_target or len(values) < 2 or values.n_unique() > 1:
            return []
        message = f"the target is {values[0]} in all {len(values)} rows: nothing can be learnt from it"
        words = f"{message} (`stream.contract.constant_target=true` lets such windows pass)"
        return [Breach(schema.target, words, limit=True)]

    def _missing(self, values: pl.Series, limits: Limits, lessons: Sequence[Lesson]) -> list[Breach]:
        most = self.max_missing if limits.max_missing is None else min(limits.max_missing, self.max_missing)
        gone = shape.missing(values)
        missing = int(gone.sum())
        if missing <= most * len(values):
            return []
        origin = f" ({self.origin(values.name, 'max_missing', lessons)})" if most < self.max_missing else ""
        words = f"{missing} of {len(values)} rows are missing; at most {most:.0%} may be{origin}"
        return [Breach(values.name, words, missing, shape.first(gone), limit=True)]

    def _still(self, values: pl.Series, limits: Limits, lessons: Sequence[Lesson]) -> list[Breach]:
        if limits.min_spread is None or not values.dtype.is_numeric():
            return []
        known = values.cast(pl.Float64).drop_nulls()
        known = known.filter(known.is_finite())
        if len(known) < 2:
            return []
        low, high = float(known.min()), float(known.max())  # type: ignore[arg-type]
        if high - low >= limits.min_spread:
            return []
        between = f"{low:.6g} in all rows" if low == high else f"between {low:.6g} and {high:.6g} in all rows"
        origin = self.origin(values.name, "min_spread", lessons)
        return [Breach(values.name, f"is {between}; a spread of {limits.min_spread:.3g} is expected ({origin})", limit=True)]

    def _rows(
        self, frame: pl.DataFrame, limits: Mapping[str, Limits], lessons: Sequence[Lesson], known: Known
    ) -> Iterator[Breach]:
        asked = {}
        for name, limit in limits.items():
            if (kind := limit.kind) is None:
                continue
            if not shape.fits(frame[name].dtype, kind):
                yield Breach(name, f"holds {frame[name].dtype}, and its limits are those of a {kind}", limit=True)
                continue
            more = known.get(name, ()) if limit.growing else ()
            asked[name] = replace(limit, categories=(*limit.categories, *more)) if limit.categories is not None else limit
        shares = {name: MOST_NEW if limit.growing else self.max_outside for name, limit in asked.items()}
        for found in rows.outside(frame, asked, shares):
            name = str(found.column)
            words = f"{self._words(name, limits[name], found, lessons)}; at most {shares[name]:.0%} may"
            yield _breach(found, words, frame.height)

    def _words(self, name: str, limit: Limits, found: rows.Failing, lessons: Sequence[Lesson]) -> str:
        if found.rule == rows.RANGE:
            sides = [side for side in ("min", "max") if getattr(limit, side) is not None]
            origin = " and ".join(dict.fromkeys(self.origin(name, side, lessons) for side in sides))
            return f"lie {_outside(limit)} ({origin}): {rows.few(found.values)}"
        words = rows.few(map(repr, found.values))
        if limit.growing:
            return f"hold values never seen before, {words} ({self.origin(name, 'growing', lessons)}): did their codes change?"
        return f"hold {words}, which is none of {rows.few(limit.categories or (), 10)} ({self.origin(name, 'growing', lessons)})"

    def _repeated(self, frame: pl.DataFrame) -> Iterator[Breach]:
        absent = [name for name in self.keys if name not in frame.columns]
        for name in absent:
            yield shape.absent(frame, name, limit=True)
        for found in rows.repeated(frame, self.keys) if self.keys and not absent else ():
            named = Breach(", ".join(self.keys), "", found.count, found.rows, found.values, limit=True)
            words = f"repeat a key that another row has, {rows.few(found.values)} (`stream.contract.key`)"
            yield _worded(named, words, frame.height)

    def _stale(self, frame: pl.DataFrame, schema: Schema, now: datetime) -> list[Breach]:
        newest = frame[schema.time].max()  # type: ignore[index]
        if not isinstance(newest, date):
            words = f"holds {frame[schema.time].dtype}; freshness needs a date or a time (`stream.contract.freshness`)"  # type: ignore[index]
            return [Breach(schema.time, words, limit=True)]
        then = newest if isinstance(newest, datetime) else datetime.combine(newest, time())
        then = then.replace(tzinfo=UTC) if then.tzinfo is None else then  # a time without a zone is read as UTC
        age = (now - then).total_seconds()
        if age <= seconds(str(self.freshness)):
            return []
        words = f"the newest row is of {newest.isoformat()}, {_age(age)} ago; at most {self.freshness} may have passed"
        return [Breach(schema.time, f"{words} (`stream.contract.freshness`)", limit=True)]


def _outside(limits: Limits) -> str:
    if limits.min is None or limits.max is None:
        return f"above {limits.max:.6g}" if limits.min is None else f"below {limits.min:.6g}"
    return f"outside of {limits.min:.6g} to {limits.max:.6g}"


def _kinds(schema: Schema) -> dict[str, str]:
    """Column → its kind, of a class target `class`."""
    kinds: dict[str, str] = {column.name: column.kind for column in (*schema.columns, *schema.watched)}
    return kinds | {schema.target: "number" if schema.task == "regression" else "class"}


def _span(names: Sequence[str]) -> str:
    return f"window {names[0]}" if len(names) == 1 else f"the windows {', '.join(names)}"


def _own(frame: pl.DataFrame, check: Any) -> Iterator[Breach]:
    for found in rows.failing(frame, check):
        if found.rows:
            yield _breach(found, f"fail {found.rule!r} (`stream.contract.checks`): {rows.few(found.values)}", frame.height)
        else:
            words = f"the window fails {found.rule!r} (`stream.contract.checks`): {rows.few(found.values)}"
            yield Breach(found.column, words, limit=True)


def _breach(found: rows.Failing, words: str, height: int) -> Breach:
    return _worded(Breach(found.column, "", found.count, found.rows, found.values, limit=True), words, height)


def _worded(breach: Breach, words: str, height: int) -> Breach:
    first = rows.few(map(str, breach.rows))
    return replace(breach, message=f"{breach.count} of {height} rows {words}; rows {first}")


def _age(seconds_: float) -> str:
    return f"{seconds_ / 86400:.1f} days" if seconds_ >= 86400 else f"{seconds_ / 3600:.1f} hours"
