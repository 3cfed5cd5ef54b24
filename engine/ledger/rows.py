"""What a row of the ledger's tables is outside of the database."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from engine.nouns import Window


@dataclass(frozen=True, slots=True)
class Cycle:
    """One row of the cycle table. `closed` and `outcome` are None while the work is unfinished. Times are Unix seconds.

    `fresh`: opened a moment ago by this process, so nothing outside can know of it yet.
    """

    id: str
    window: Window
    attempt: int
    sequence: int
    opened: float
    closed: float | None
    outcome: str | None
    version: int | None
    reason: str | None
    fresh: bool = False

    @property
    def seconds(self) -> float | None:
        """How long it took from being opened to its end, whatever it waited for; None while it is unfinished."""
        return self.closed - self.opened if self.closed else None


@dataclass(frozen=True, slots=True)
class Step:
    """A finished step: its result as JSON and when it ran, in Unix seconds."""

    name: str
    result: str
    started: float
    finished: float


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """One intended or finished change of the live version. `state`: intended, done, failed or superseded."""

    id: int
    version: int
    expects: int | None
    cause: str
    cycle: str | None
    state: str
    asked: float
    done: float | None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened outside of the data: the next window retrains because of it, once."""

    id: int
    reason: str
    who: str
    asked: float


def cycle_of(row: Any, fresh: bool = False) -> Cycle:
    """From a row of the table `cycle`, by the names of its columns."""
    fields = ("id", "attempt", "sequence", "opened", "closed", "outcome", "version", "reason")
    return Cycle(window=window_of(row["window"]), fresh=fresh, **{name: row[name] for name in fields})


def window_of(text: str) -> Window:
    """From the JSON in a row of the table `cycle`."""
    found = json.loads(text)
    return Window(**found | {"parts": tuple(found.get("parts", ()))})


def step_of(row: Any) -> Step:
    """From a row of the table `step`."""
    return Step(row["name"], row["result"], row["started"], row["finished"])


def release_of(row: Any) -> ReleaseRow:
    """From a row of the table `release`."""
    return ReleaseRow(*(row[name] for name in ("id", "version", "expects", "cause", "cycle", "state", "asked", "done")))
