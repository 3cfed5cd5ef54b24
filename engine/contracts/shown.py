"""The limits that hold, for a person, a program and a YAML file: what `warmstart contract show` says."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from engine.contracts.contract import Contract
from engine.contracts.learning import MOST_NEW, Lesson
from engine.contracts.limits import Limits
from engine.contracts.rows import few
from engine.nouns import Schema

WINDOW = ("min_rows", "max_missing", "max_outside", "max_missing_target", "constant_target", "key", "freshness", "learn")
COLUMN = tuple(field.name for field in dataclasses.fields(Limits))

Shown = dict[str, Any]
"""One limit: `column` (None: the whole window), `limit`, `value`, and in words where it comes `from`."""


def limits(contract: Contract, schema: Schema, lessons: Sequence[Lesson]) -> list[Shown]:
    """Every limit that holds, those of the whole window first, then the columns in the order of the schema."""
    defaults = {field.name: field.default for field in dataclasses.fields(Contract)}
    found: list[Shown] = []
    for name in WINDOW:
        value = getattr(contract, name)
        if value is not None:
            origin = "default" if value == defaults[name] else f"`stream.contract.{name}`"
            found.append({"column": None, "limit": name, "value": value, "from": origin})
    held = contract.limits(schema, lessons)
    columns = [column.name for column in (*schema.columns, *schema.watched)] + [schema.target]
    for column in dict.fromkeys([*columns, *held]):
        for name in COLUMN:
            value = getattr(held.get(column, Limits()), name)
            if value is not None:
                origin = contract.origin(column, name, lessons)
                found.append({"column": column, "limit": name, "value": value, "from": origin})
            elif name == "max_missing" and column in columns and column != schema.target:
                found.append({"column": column, "limit": name, "value": contract.max_missing, "from": "default"})
    return found


def lines(shown: Sequence[Shown], contract: Contract, lessons: Sequence[Lesson]) -> list[str]:
    """The same as a table; the name of a column stands on its first line."""
    rows = [(each["column"] or "the window", each["limit"], _words(each), each["from"]) for each in shown]
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    written, before = [], None
    for column, *rest in rows:
        cells = ["" if column == before else column, *rest]
        before = column
        written.append("  ".join(cell.ljust(width) for cell, width in zip(cells, (*widths, 0), strict=True)).rstrip())
    if len(lessons) < contract.learn:
        written.append(f"limits are learnt from the first {contract.learn} good windows; there are {len(lessons)} so far")
    return written


def as_yaml(shown: Sequence[Shown]) -> str:
    """The limits of the columns as a part of the stream's YAML, where declared ones win over learnt ones."""
    written = ["stream:", "  contract:", "    columns:"]
    for column in dict.fromkeys(each["column"] for each in shown if each["column"]):
        own = [each for each in shown if each["column"] == column]
        settings = ", ".join(f"{each['limit']}: {_json(each['value'])}" for each in own)
        origins = ", ".join(dict.fromkeys(each["from"] for each in own))
        written.append(f"      {json.dumps(column, ensure_ascii=False)}: {{{settings}}}  # {' '.join(origins.split())}")
    return "\n".join(written)


def _json(value: Any) -> str:
    """JSON is YAML; OmegaConf reads `${` in a value, not in a key, as the beginning of an interpolation."""
    return json.dumps(value, ensure_ascii=False).replace("${", "\\\\${")


def _words(each: Shown) -> str:
    value = each["value"]
    if each["limit"] == "categories":
        return few(value, 8)
    if each["limit"] == "growing":
        return f"others may come, in {MOST_NEW:.0%} of the rows" if value else "no others may come"
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
