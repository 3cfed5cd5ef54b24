"""Where fresh windows come from. A Source lists the windows that are finished; nothing else about arrival is known here."""

from __future__ import annotations

import bisect
import contextlib
import fnmatch
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Protocol, runtime_checkable

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


@runtime_checkable
class Remembering(Protocol):
    """A Source that reads a window's bytes to know it, and can keep what it learnt for the next process."""

    def remember(self, memory: Path) -> None:
        """Keep what is learnt in the file `memory`; it may be removed at any time."""
        ...


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read of a file when it had this size and this time of change, in nanoseconds."""

    size: int
    changed: int
    window: Window


class ParquetFolder:
    """Each Parquet file in a folder is one window, or each partition `day=2024-01-01/`; `part-2` comes before `part-10`.

    Names that begin with "." or "_" are somebody's work in progress and are passed over. A file is finished when its footer can
    be read (Parquet writes it last). One that still cannot be read `settle` seconds after its last change is listed with zero
    rows, for the contract to quarantine. A partition is all the files in it, and may lie in another: it is finished
    when it holds a file `_SUCCESS`, or when nothing in it changed for `settle` seconds.

    A file is read once, as long as its size and its time of change stay: a look at 10,000 windows costs some hundredths of a
    second, and with `remember` so does the first look of the next process.
    """

    def __init__(self, folder: str, pattern: str = "*.parquet", settle: float = 60.0):
        self.folder = Path(folder).expanduser()
        self.pattern = pattern
        self.settle = settle
        self._matches = re.compile(fnmatch.translate(pattern)).match
        self._read: dict[str, _Read] = {}
        self._whole: dict[str, tuple[tuple[str, ...], Window]] = {}  # partition → the digests of its files, and what they make
        self._order: list[str] = []
        self._seen: set[str] = set()
        self._new: list[str] = []
        self._memory: _Memory | None = None

    def remember(self, memory: Path) -> None:
        """Keep what is read of every file in `memory`, so that the next process need not read it again."""
        self._memory = _Memory(memory)

    def list(self, stream: str, time_column: str | None) -> list[Window]:
        """Every finished window, oldest first. Raises SourceError when the folder cannot be read."""
        root = str(self.folder.absolute())
        if self._memory and self._memory.new:
            self._read = self._memory.load(stream, time_column)
        try:
            found = dict(self._look(root, root, stream, time_column))
        except FileNotFoundError:
            raise SourceError(
                f"the window folder {self.folder} does not exist: create it, or set `stream.source.folder`"
            ) from None
        except OSError as error:
            raise SourceError(f"the window folder {self.folder} cannot be read: {error.strerror or error}") from error
        self._sort(root, found)
        self._seen.clear()
        if self._memory:
            with contextlib.suppress(OSError):  # a full disk is for others to complain about
                self._memory.keep(self._read, self._new)
        self._new.clear()
        return [found[path] for path in self._order]

    def _look(self, root: str, folder: str, stream: str, time_column: str | None) -> Iterator[tuple[str, Window]]:
        """Path → window of all that is finished in a folder and in its partitions."""
        self._seen.add(folder)
        files, partitions, finished = [], [], False
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith((".", "_")):
                        finished |= entry.name == "_SUCCESS"
                    elif "=" in entry.name and entry.is_dir():
                        partitions.append(entry.path)
                    elif not self._matches(entry.name) or not entry.is_file():
                        continue
                    elif folder != root:
                        files.append(entry)
                    elif window := self._window(entry, stream, time_column):
                        yield entry.path, window
        except FileNotFoundError:
            if folder == root:
                raise
            return
        if files and (window := self._partition(root, folder, files, finished, stream, time_column)):
            yield folder, window
        for partition in partitions:
            yield from self._look(root, partition, stream, time_column)

    def _partition(
        self, root: str, path: str, files: Sequence[os.DirEntry[str]], finished: bool, stream: str, time_column: str | None
    ) -> Window | None:
        try:
            files = sorted(files, key=lambda entry: natural_order(PurePath(entry.name)))
            newest = max(entry.stat().st_mtime for entry in files)
        except FileNotFoundError:
            return None
        if not finished and time.time() - newest < self.settle:
            return None
        parts = [part for entry in files if (part := self._window(entry, stream, time_column))]
        if len(parts) < len(files):
            return None
        digests = tuple(part.digest for part in parts)
        if path not in self._whole or self._whole[path][0] != digests:
            digest = hashlib.sha256("".join(digests).encode()).hexdigest()
            rows = sum(part.rows for part in parts) if all(part.rows for part in parts) else 0
            spans = [(part.start, part.end) for part in parts if part.start is not None and part.end is not None]
            start, end = (min(s for s, _ in spans), max(e for _, e in spans)) if spans else (None, None)
            name = ",".join(PurePath(path).relative_to(root).parts)
            self._whole[path] = digests, Window(stream, name, str(Path(path).resolve() / self.pattern), digest, rows, start, end)
        return self._whole[path][1]

    def _window(self, entry: os.DirEntry[str], stream: str, time_column: str | None) -> Window | None:
        try:
            stat = entry.stat()
        except FileNotFoundError:
            return None
        self._seen.add(entry.path)
        known = self._read.get(entry.path)
        if known and known.size == stat.st_size and known.changed == stat.st_mtime_ns:
            return known.window
        path = Path(entry.path)
        try:
            footer = pq.read_metadata(path)
            start, end = _span(footer, time_column)
            window = Window(stream, path.stem, str(path.resolve()), digest_of(path), footer.num_rows, start, end)
        except FileNotFoundError:
            return None
        except (pa.ArrowInvalid, OSError):
            if time.time() - stat.st_mtime < self.settle:
                return None
            window = Window(stream, path.stem, str(path.resolve()), digest_of(path), 0)
        self._read[entry.path] = _Read(stat.st_size, stat.st_mtime_ns, window)
        self._new.append(entry.path)
        return window

    def _sort(self, root: str, found: Mapping[str, Window]) -> None:
        """Put the paths in their order: little is new from one look to the next."""

        def place(path: str) -> tuple[Any, ...]:
            return natural_order(PurePath(path[len(root) + 1 :]))

        for gone in self._read.keys() - self._seen:
            del self._read[gone]
        for gone in self._whole.keys() - self._seen:
            del self._whole[gone]
        if found.keys() == set(self._order):
            return
        self._order = [path for path in self._order if path in found]
        new = found.keys() - set(self._order)
        if len(new) > 100:
            self._order = sorted(found, key=place)
        else:
            for path in new:
                bisect.insort(self._order, path, key=place)


class _Memory:
    """What was read of files, a line of JSON for each: written anew by the first look of a process, then added to.

    A cache and nothing more: whoever removes it has every file read once again, and a line torn by a kill is read again too.
    """

    def __init__(self, path: Path):
        self.path = path
        self.new = True
        self._head: list[Any] = []
        self._written = False

    def load(self, stream: str, time_column: str | None) -> dict[str, _Read]:
        """What the last process learnt; nothing when it looked at another time column."""
        self.new, self._head = False, [1, stream, time_column]
        found: dict[str, _Read] = {}
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        with contextlib.suppress(json.JSONDecodeError):
            if not lines or json.loads(lines[0]) != self._head:
                return found
            for line in lines[1:]:
                path, size, changed, *rest = json.loads(line)
                found[path] = _Read(size, changed, Window(stream, *rest))
        return found

    def keep(self, read: Mapping[str, _Read], new: Sequence[str]) -> None:
        """Write down what is new: `new` are the paths that were read since the last call."""
        if not self._written:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part = self.path.with_name(f".{self.path.name}")
            part.write_text("".join([json.dumps(self._head) + "\n", *(_line(path, each) for path, each in read.items())]))
            part.replace(self.path)
            self._written = True
        elif new:
            with self.path.open("a") as file:
                file.write("".join(_line(path, read[path]) for path in new if path in read))


def _line(path: str, read: _Read) -> str:
    w = read.window
    return json.dumps([path, read.size, read.changed, w.id, w.uri, w.digest, w.rows, w.start, w.end]) + "\n"


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
