"""Where fresh windows come from. A Source lists the windows that are finished; nothing else about arrival is known here."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from engine.nouns import Window


class SourceError(Exception):
    """The place where windows should land cannot be read; the message says what to do."""


class Source(Protocol):
    """Lists finished windows in their natural order. A window must never change once it was listed."""

    def list(self, stream: str, time_column: str | None) -> Sequence[Window]:
        """Every finished window, oldest first."""
        ...


class ParquetFolder:
    """Each Parquet file in a folder is one window, or each partition `day=2024-01-01/`; `part-2` comes before `part-10`.

    Names that begin with "." or "_" are somebody's work in progress and are passed over. A file is finished when its footer can
    be read (Parquet writes it last). One that still cannot be read `settle` seconds after its last change is listed with zero
    rows, for the contract to quarantine. A partition is all the files in it, and may lie in another: it is finished
    when it holds a file `_SUCCESS`, or when nothing in it changed for `settle` seconds.
    """

    def __init__(self, folder: str, pattern: str = "*.parquet", settle: float = 60.0):
        self.folder = Path(folder).expanduser()
        self.pattern = pattern
        self.settle = settle
        self._known: dict[tuple[str, int, int], Window] = {}
        self._watched: dict[tuple[str, float], float] = {}

    def list(self, stream: str, time_column: str | None) -> list[Window]:
        """Every finished window, oldest first. Raises SourceError when the folder cannot be read."""
        try:
            paths = [*self._files(self.folder), *self._partitions(self.folder)]
        except OSError as error:
            raise SourceError(f"the window folder {self.folder} cannot be read: {error.strerror or error}") from error
        if not self.folder.is_dir():
            raise SourceError(f"the window folder {self.folder} does not exist: create it, or set `stream.source.folder`")
        found = []
        for path in sorted(paths, key=lambda p: natural_order(p.relative_to(self.folder))):
            window = self._partition(path, stream, time_column) if path.is_dir() else self._window(path, stream, time_column)
            if window:
                found.append(window)
        return found

    def _settled(self, path: Path, changed: float) -> bool:
        """Whether nothing changed for `settle` seconds: by the clock, or by our own watch when the clock was set back."""
        since = self._watched.setdefault((str(path), changed), time.monotonic())
        return time.time() - changed >= self.settle or time.monotonic() - since >= self.settle

    def _files(self, folder: Path) -> Sequence[Path]:
        return [p for p in folder.glob(self.pattern) if not p.name.startswith((".", "_")) and p.is_file()]

    def _partitions(self, folder: Path) -> Sequence[Path]:
        inside = [path for path in folder.glob("*=*") if path.is_dir()]
        return [path for path in inside if self._files(path)] + [deep for path in inside for deep in self._partitions(path)]

    def _partition(self, folder: Path, stream: str, time_column: str | None) -> Window | None:
        try:
            files = sorted(self._files(folder), key=natural_order)
            newest = max(path.stat().st_mtime for path in files)
        except FileNotFoundError:
            return None
        if not (folder / "_SUCCESS").exists() and not self._settled(folder, newest):
            return None
        parts = [part for path in files if (part := self._window(path, stream, time_column))]
        if len(parts) < len(files):
            return None
        digest = hashlib.sha256("".join(part.digest for part in parts).encode()).hexdigest()
        rows = sum(part.rows for part in parts) if all(part.rows for part in parts) else 0
        spans = [(part.start, part.end) for part in parts if part.start is not None and part.end is not None]
        start, end = (min(s for s, _ in spans), max(e for _, e in spans)) if spans else (None, None)
        name = ",".join(folder.relative_to(self.folder).parts)
        return Window(stream, name, str(folder.resolve() / self.pattern), digest, rows, start, end)

    def _window(self, path: Path, stream: str, time_column: str | None) -> Window | None:
        try:
            stat = path.stat()
            key = (str(path), stat.st_size, stat.st_mtime_ns)
            if key not in self._known:
                footer = pq.read_metadata(path)
                start, end = _span(footer, time_column)
                self._known[key] = Window(stream, path.stem, str(path.resolve()), digest_of(path), footer.num_rows, start, end)
            return self._known[key]
        except FileNotFoundError:
            return None
        except (pa.ArrowInvalid, OSError):
            if not self._settled(path, stat.st_mtime):
                return None
            return Window(stream, path.stem, str(path.resolve()), digest_of(path), 0)


def natural_order(path: PurePath) -> tuple[list[Any], str]:
    """Sort key in which runs of digits count as numbers.

    >>> [p.name for p in sorted(map(Path, ["part-10", "part-2"]), key=natural_order)]
    ['part-2', 'part-10']
    """
    text = str(path)
    return [(int(run), "") if run.isdigit() else (-1, run) for run in re.split(r"(\d+)", text)], text


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _span(footer: Any, column: str | None) -> tuple[str | None, str | None]:
    names = footer.schema.names
    if column is None or column not in names:
        return None, None
    index = names.index(column)
    ranges = [footer.row_group(group).column(index).statistics for group in range(footer.num_row_groups)]
    known = [stats for stats in ranges if stats is not None and stats.has_min_max]
    if not known:
        return None, None
    return _text(min(s.min for s in known)), _text(max(s.max for s in known))


def _text(value: object) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
