"""Exact statistics need every value in order: the sorted columns of windows, kept on disk within a budget.

What is kept lies in a folder by the window's digest, one .npy file per column, and is mapped, not read: a statistic pages in what
it passes over. The digest names the bytes, so what is there is right for ever, and may be removed at any time. Several windows,
such as those that a champion was trained on, are one under a digest of their digests: their sorted columns are merged.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

import kernels
from engine.columns import Floats, number
from engine.intact import WindowLost, lost
from engine.nouns import Window
from engine.windows import digest_of

ABANDONED = 3600.0  # seconds after which a file that somebody began to write is nobody's
LOOK_EVERY = 0.01  # of the budget that is written before all that is kept is looked through again: it may be many small files
_written: dict[Path, int] = {}  # bytes by this process since it last looked through a folder


def window_of(path: Path) -> Window:
    """Any Parquet file as a Window, which its bytes name."""
    return Window("", path.stem, str(path.resolve()), digest_of(path), 0)


def sorted_columns(windows: Window | Sequence[Window], columns: Sequence[str], folder: Path, budget: int) -> Mapping[str, Floats]:
    """The finite and infinite values of each column, ascending: float32 or float64, made when first asked for.

    They are kept in `folder`/DIGEST, altogether at most `budget` bytes of all windows (and a hundredth more for a moment); what
    was asked for the longest time ago goes first. A column larger than the budget is sorted anew each time. To ask is safe from
    several threads and processes at once. Raises ValueError, naming the column, where one is not numeric, and WindowLost when it
    must be read from bytes that are not those of the digest any more.
    """
    return _Sorted((windows,) if isinstance(windows, Window) else tuple(windows), tuple(columns), folder, budget)


class WhileThere:
    """Sorted columns as `engine.drift.measure` asks for them: None for one that is not among them, or that needs a lost window.

    `notes` say which window that is and what it costs.
    """

    def __init__(self, columns: Mapping[str, Floats]):
        self.columns = columns
        self.notes: dict[str, None] = {}

    def __call__(self, name: str) -> Floats | None:
        """The column, whole."""
        try:
            return self.columns.get(name)
        except WindowLost as error:
            self.note(str(error))
            return None

    def note(self, why: str) -> None:
        """Say why there is no column, once."""
        self.notes[f"{why}; the profile's sample stands in for every value"] = None


class _Sorted(Mapping[str, Floats]):
    """A column is opened, or read, sorted and kept, when it is asked for: no more than one is in memory."""

    def __init__(self, windows: tuple[Window, ...], columns: tuple[str, ...], folder: Path, budget: int):
        self.windows = windows
        self.columns = columns
        self.folder = folder
        self.budget = budget
        digests = [window.digest for window in windows]
        self.digest = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, name: str) -> Floats:
        if name not in self.columns:
            raise KeyError(name)
        path = self.folder / self.digest / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.npy"
        found = _mapped(path)
        return self._make(name, path) if found is None else found

    def _make(self, name: str, path: Path) -> Floats:
        values = self._values(name)
        if values.nbytes > self.budget:
            return values
        part = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.save(file, values)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except FileNotFoundError:  # another process removed the empty folder in this moment: it is kept the next time
            return values
        finally:
            part.unlink(missing_ok=True)
        written = _written.get(self.folder, self.budget) + values.nbytes
        _written[self.folder] = written
        if written > LOOK_EVERY * self.budget:
            _written[self.folder] = 0
            for surplus in too_much(self.folder, self.budget, path):
                remove(surplus)
        found = _mapped(path)
        return values if found is None else found

    def _values(self, name: str) -> Floats:
        if len(self.windows) > 1:
            parts = [_Sorted((window,), self.columns, self.folder, self.budget)[name] for window in self.windows]
            return np.sort(np.concatenate(parts), kind="stable")  # which merges runs that are in order
        (window,) = self.windows
        if why := lost(window):
            raise WindowLost(window, why)
        try:
            column = pl.read_parquet(window.uri, columns=[name])[name]
        except pl.exceptions.ColumnNotFoundError:
            raise ValueError(f"window {window.id} has no column {name}") from None
        except (pl.exceptions.PolarsError, OSError) as error:
            raise WindowLost(window, str(error).splitlines()[0]) from error
        (ordered,) = kernels.sort_columns(number(column)[:, None])
        return ordered


def _mapped(path: Path) -> Floats | None:
    """A kept column, which is now the last one asked for; None when there is none, or what is there is torn."""
    try:
        os.utime(path)
        # Copied on write, which nobody does: numba would compile all its passes again for arrays that are read-only.
        return np.asarray(np.load(path, mmap_mode="c"))
    except (OSError, ValueError, EOFError):
        return None


def too_much(folder: Path, budget: int, newest: Path | None = None) -> list[Path]:
    """What is beyond the budget when the latest asked for stays, `newest` before all others; and what was left half written."""
    kept, surplus = [], []
    for path in folder.glob("*/*"):
        with contextlib.suppress(FileNotFoundError):  # another process removes the same
            stat = path.stat()
            if not path.name.startswith("."):
                kept.append((path != newest, stat.st_mtime_ns, stat.st_size, path))
            elif time.time() - stat.st_mtime > ABANDONED:
                surplus.append(path)
    size = 0
    for _, _, bytes_, path in sorted(kept, key=lambda each: (each[0], -each[1])):
        size += bytes_
        if size > budget:
            surplus.append(path)
    return surplus


def remove(path: Path) -> None:
    """Remove a kept column, and the folder of its window with the last one."""
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # others of its window are still there
        path.parent.rmdir()
