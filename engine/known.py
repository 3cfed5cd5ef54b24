"""What was read of landed files, kept from one process to the next: 10,000 windows are not read again at every start."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.nouns import Window
from engine.places import Landed


@dataclass(frozen=True, slots=True)
class Known:
    """A window, and what landed when it was read."""

    landed: Landed
    window: Window


class Memory:
    """A line of JSON for each window: written anew by the first look of a process, then added to.

    A cache and nothing more: whoever removes it has every file read once again, and a line torn by a kill is read again too.
    """

    def __init__(self, path: Path):
        self.path = path
        self._head: list[Any] = []
        self._found: dict[str, Window] = {}
        self._loaded = self._written = False

    def load(self, stream: str, time_column: str | None) -> None:
        """Read what the last process learnt; nothing when it looked at another time column."""
        if self._loaded:
            return
        self._loaded, self._head = True, [1, stream, time_column]
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        with contextlib.suppress(json.JSONDecodeError):
            if lines and json.loads(lines[0]) == self._head:
                for line in lines[1:]:
                    key, *rest = json.loads(line)
                    self._found[key] = Window(stream, *rest)

    def recall(self, landed: Landed) -> Window | None:
        """The window that these very files were."""
        return self._found.pop(_key(landed), None)

    def keep(self, known: Iterable[Known], new: Sequence[Known]) -> None:
        """Write down what is `new` since the last call; the first call writes all that is `known`."""
        with contextlib.suppress(OSError):  # a full disk is for others to complain about
            if not self._written:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                part = self.path.with_name(f".{self.path.name}")
                part.write_text("".join([json.dumps(self._head) + "\n", *map(_line, known)]))
                part.replace(self.path)
                self._written = True
                self._found.clear()
            elif new:
                with self.path.open("a") as file:
                    file.write("".join(map(_line, new)))


def _key(landed: Landed) -> str:
    return "\n".join([landed.path, *(f"{entry.path} {entry.version}" for entry in landed.files)])


def _line(known: Known) -> str:
    w = known.window
    return json.dumps([_key(known.landed), w.id, w.uri, w.digest, w.rows, w.start, w.end]) + "\n"
