"""One stream at work on one cycle: what all of its steps share."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

import polars as pl

from engine import profile_file, slices
from engine.contracts import learning
from engine.contracts.learning import Lesson
from engine.data import table
from engine.ledger.rows import Cycle
from engine.metrics import F64
from engine.nouns import Champion, Schema, Window, Within
from engine.places import SourceError
from engine.profile import Profile
from engine.slices import Cut
from engine.stream.parts import Outside, Parts

PROFILE = profile_file.NAME
DELIVER = "deliver it again, or put the file back and `warmstart retry` it"
PREDICTED = " (predicted)"  # after a column's name: what the model said


class AtWork:
    """One stream at work on one cycle. Each subclass holds the steps of a stage."""

    def __init__(self, parts: Parts, outside: Outside, cycle: Cycle):
        self.parts = parts
        self.outside = outside
        self.cycle = cycle
        self.gate = parts.gate
        self.require_approval = parts.require_approval
        self.labels_come_later = parts.labels is not None
        self.watches = parts.drift.alarms == "stream"

    @functools.cached_property
    def _lessons(self) -> tuple[Lesson, ...]:
        return learning.remembered(self.outside.ledger, self.parts.name, self.parts.contract.learn)

    @property
    def _within(self) -> Within | None:
        """Where the target of a row lies that is trained, judged or scored on; windows that teach this lie there themselves."""
        return self.parts.contract.within(self.parts.schema, self._lessons)

    def _reference(self, champion: Champion) -> Profile:
        return profile_in(Path(champion.folder))

    def _cuts(self, rows: pl.DataFrame, champion: Champion | None) -> tuple[Cut, ...]:
        if not self.parts.slice_by:
            return ()
        return slices.cut(rows, self.parts.slice_by, self._reference(champion) if champion else None)

    def _here(self, windows: tuple[Window, ...]) -> tuple[Window, ...]:
        """The windows, with their files on this machine; who reads one that is gone everywhere says so."""
        for window in windows:
            with contextlib.suppress(SourceError):
                self.outside.fetch(window)
        return windows

    def _file(self, kind: str, name: str) -> Path:
        folder = self.outside.state / kind / self.parts.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name


@functools.lru_cache(maxsize=2)
def frame_of(window: Window, schema: Schema) -> pl.DataFrame:
    """The window's rows."""
    return table.read(window, schema)


@functools.lru_cache(maxsize=2)
def landed(window: Window, schema: Schema) -> pl.DataFrame:
    """The window without its target, where that comes later."""
    if schema.key is None:
        return frame_of(window, schema)
    return table.read(window, schema, [*(column.name for column in (*schema.columns, *schema.watched)), *schema.sliced])


@functools.lru_cache(maxsize=2)
def profile_in(folder: Path) -> Profile:
    """Of the data that the version in this folder was trained on."""
    return profile_file.read(folder / PROFILE)


def predicted(said: F64, schema: Schema) -> dict[str, F64]:
    """A model's answers as columns of a Profile: the value, or the probability of a class."""
    if said.ndim == 1:
        return {f"{schema.target}{PREDICTED}": said}
    return {f"{schema.target} = {name}{PREDICTED}": said[:, k] for k, name in enumerate(schema.classes)}
