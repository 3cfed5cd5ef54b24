"""What lies where windows land and was not taken up: said once by whoever looks, and written down for `status`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What may be a window and is left alone `until` (Unix seconds), in case it is still being written; `why` it seems so."""

    id: str
    why: str
    until: float

    def __str__(self) -> str:
        if self.until <= time.time():
            return f"{self.id} {self.why}, when it was last looked at: the next look takes it up as it is"
        today = time.strftime("%Y-%m-%d") == time.strftime("%Y-%m-%d", time.localtime(self.until))
        until = time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", time.localtime(self.until))
        return f"{self.id} {self.why}: left until {until} in case it is still being written (`stream.source.settle`)"


@dataclass(frozen=True, slots=True)
class Untaken:
    """What one look found besides windows: what is unfinished, and how many files the pattern passes over, with one's name."""

    unfinished: tuple[Unfinished, ...] = ()
    passed_over: int = 0
    example: str = ""
    pattern: str = ""

    @property
    def others(self) -> str:
        """The files that are passed over, in words; "" where there is none."""
        if not self.passed_over:
            return ""
        many = self.passed_over > 1
        named = (
            f"{self.passed_over:,} files are passed over, {self.example} among them" if many else f"{self.example} is passed over"
        )
        return f"{named}: no window, by `stream.source.pattern` {self.pattern}"


class Noticing:
    """Tells `say` of each thing once, and writes down in `path` what holds now."""

    def __init__(self, path: Path, say: Callable[[str], None]):
        self.path, self.say = path, say
        self._said: set[str] = set()
        self._written = kept(path)

    def __call__(self, found: Untaken) -> None:
        """Hear what a look found."""
        for name, words in [(each.id, str(each)) for each in found.unfinished] + [("", found.others)]:
            if words and name not in self._said:
                self.say(words)
                self._said.add(name)
        if found != self._written:
            self._written = found
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part = self.path.with_name(f".{self.path.name}")
            part.write_text(json.dumps(asdict(found)))
            part.replace(self.path)


def kept(path: Path) -> Untaken:
    """What the last look wrote down."""
    return of_json(json.loads(path.read_text())) if path.exists() else Untaken()


def of_json(found: Mapping[str, Any]) -> Untaken:
    """The inverse of `dataclasses.asdict`."""
    return Untaken(**{**found, "unfinished": tuple(Unfinished(**each) for each in found["unfinished"])})
