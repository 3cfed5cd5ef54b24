"""The limits of one column, as they are declared in a stream's YAML or learnt from its first windows."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from engine.nouns import Kind

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one column may hold; None where nothing is said.

    min, max: the smallest and the largest number.
    min_spread: how far apart a window's smallest and largest number are at least; a column that stands still is a broken sensor.
    max_missing: largest share of nulls and NaN, from 0 to 1.
    categories: the known values of a category.
    growing: other values may come; only a window that consists mostly of others is refused. False where categories are declared
        and nothing else is said.
    """

    min: float | None = None
    max: float | None = None
    min_spread: float | None = None
    max_missing: float | None = None
    categories: tuple[str, ...] | None = None
    growing: bool | None = None

    @classmethod
    def declared(cls, column: str, settings: Mapping[str, Any]) -> Limits:
        """The limits that a YAML names. Raises ValueError naming the one that is wrong."""
        where = f"columns.{column}"
        names = [each.name for each in fields(cls)]
        for name in settings:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                raise ValueError(
                    f"{where}: there is no limit {name!r}{f'; did you mean {near[0]!r}?' if near else ''} "
                    f"Known: {', '.join(names)}"
                )
        given = dict(settings)
        for name in ("min", "max", "min_spread", "max_missing"):
            value = given.get(name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
                raise ValueError(f"{where}.{name} is {value!r}, which is no number")
        if given.get("categories") is not None:
            given |= {"categories": tuple(map(_word, given["categories"])), "growing": bool(given.get("growing"))}
        found = cls(**given)
        if found.kind == "number" and found.categories is not None:
            raise ValueError(f"{where}: a column has a range or categories, not both")
        if found.min is not None and found.max is not None and found.min > found.max:
            raise ValueError(f"{where}: min {found.min:g} is above max {found.max:g}")
        if found.max_missing is not None:
            share(f"{where}.max_missing", found.max_missing)
        if found.growing is not None and found.categories is None:
            raise ValueError(f"{where}.growing says how `categories` are meant, and there are none")
        return found

    @property
    def kind(self) -> Kind | None:
        """What a column must be for its values to be looked at; None when no value is limited."""
        if self.min is not None or self.max is not None:
            return "number"
        return "category" if self.categories is not None else None

    def over(self, other: Limits) -> Limits:
        """These limits, and the other's where these say nothing and are not contradicted."""
        merged = Limits(*(a if (a := getattr(self, f.name)) is not None else getattr(other, f.name) for f in fields(self)))
        if merged.min is not None and merged.max is not None and merged.min > merged.max:
            return replace(merged, min=self.min, max=self.max)
        return merged


def share(where: str, value: float) -> None:
    """Complain about a share that is none."""
    if not 0 <= value <= 1:
        raise ValueError(f"{where} is {value:g}; a share lies between 0 and 1")


def seconds(text: str) -> float:
    """A length of time as it is written in a YAML.

    >>> seconds("2d"), seconds("90 m")
    (172800.0, 5400.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([smhdw])", str(text).strip())
    if not found:
        raise ValueError(f"freshness is {text!r}; write a number and a unit (s, m, h, d, w), such as 36h or 2d")
    return float(found[1]) * SECONDS[found[2]]


def _word(value: object) -> str:
    """A category as text; YAML reads an unquoted `yes` as true."""
    return str(value).lower() if isinstance(value, bool) else str(value)
