"""Windows that are too small wait for the next ones and are joined with them, as small files that land every few minutes need it.

Not quarantined, for nothing is wrong with them; not an Outcome, for their rows must not be lost: a window that waits is one that
has not been listed yet, like a file whose footer is missing. It is joined with those that follow, in the order of the stream and
whatever their size, until together they have `stream.contract.min_rows` rows: so the rows are used in the order of time and wait
for the next window at most, where that is of the usual size.

What was joined is a window like any other, `first..last`: one file in the state folder, named by the digests of its parts,
which the ledger remembers with its cycle. So no row is used twice, however late something lands that sorts before. It is
not done as a Source, which cannot know what was carried already.

A window on which nothing could be trained goes to the door alone and is quarantined there: it does not spoil its neighbours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import polars as pl

from engine.contracts import shape
from engine.nouns import Schema, Small, Window
from engine.report import SMALL_FILE, small_in
from engine.windows import digest_of


class Gathering:
    """Joins small windows. `folder` is where joined ones are kept, and what waits is written down for `status`."""

    def __init__(self, min_rows: int, schema: Schema, folder: Path):
        self.min_rows = min_rows
        self.schema = schema
        self.folder = folder
        self.small: Small | None = small_in(folder)
        self._broken: dict[str, bool] = {}

    def ready(self, landed: Iterable[Window]) -> list[Window]:
        """Of the windows that nobody has carried, oldest first: those to carry now."""
        ready: list[Window] = []
        group: list[Window] = []
        for window in landed:
            small = 0 < window.rows < self.min_rows
            if (not group and not small) or self._cannot_be_joined(window):
                ready.append(window)
                continue
            group.append(window)
            if sum(each.rows for each in group) >= self.min_rows:
                ready += self._join(group)
                group = []
        self._wait(group)
        return ready

    def _cannot_be_joined(self, window: Window) -> bool:
        if window.digest not in self._broken:
            try:
                frame = pl.read_parquet(window.uri)
            except (pl.exceptions.PolarsError, OSError):
                self._broken[window.digest] = True
            else:
                self._broken[window.digest] = frame.is_empty() or bool(shape.broken(frame, self.schema))
        return self._broken[window.digest]

    def _join(self, group: Sequence[Window]) -> Sequence[Window]:
        """One window of all, or they themselves when their columns are too different: the contract says what is wrong."""
        parts = tuple(window.digest for window in group)
        whole = hashlib.sha256("".join(parts).encode()).hexdigest()
        name = f"{group[0].id}..{group[-1].id}"
        path = self.folder / f"{name}.{whole[:12]}.parquet"
        try:
            if not path.exists():
                table = pl.concat([_plain(pl.read_parquet(window.uri)) for window in group], how="diagonal_relaxed")
                self.folder.mkdir(parents=True, exist_ok=True)
                table.write_parquet(path.with_name(f".{path.name}"))
                path.with_name(f".{path.name}").replace(path)
        except pl.exceptions.PolarsError:
            return group
        starts, ends = [w.start for w in group if w.start], [w.end for w in group if w.end]
        start, end = min(starts, default=None), max(ends, default=None)
        rows = sum(w.rows for w in group)
        return [Window(group[0].stream, name, str(path.resolve()), digest_of(path), rows, start, end, parts)]

    def _wait(self, group: Sequence[Window]) -> None:
        rows = sum(window.rows for window in group)
        small = Small(tuple(window.id for window in group), rows, self.min_rows) if group else None
        if small == self.small:
            return
        self.small = small
        path = self.folder / SMALL_FILE
        if small is None:
            path.unlink(missing_ok=True)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path.with_name(f".{SMALL_FILE}").write_text(json.dumps(asdict(small)))
        path.with_name(f".{SMALL_FILE}").replace(path)


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Text as text, however it was stored: categories of two files cannot be put into one column."""
    return frame.with_columns(pl.selectors.by_dtype(pl.Categorical, pl.Enum).cast(pl.String))
