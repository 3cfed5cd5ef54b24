"""Where fresh windows come from. A Source lists the windows that are finished; nothing else about arrival is known here."""

from __future__ import annotations

import bisect
import fnmatch
import hashlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.parquet as pq

from engine.known import Known, Memory
from engine.nouns import Window
from engine.places import SUCCESS, Disk, Entry, Landed, Place, SourceError, in_progress, is_url
from engine.untaken import Unfinished, Untaken


@runtime_checkable
class Remembering(Protocol):
    """A Source that reads a window's bytes to know it, and can keep what it learnt for the next process."""

    def remember(self, memory: Path) -> None:
        """Keep what is learnt in the file `memory`; it may be removed at any time."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A Source that can say what its last look did not list, and why."""

    @property
    def untaken(self) -> Untaken:
        """What lies there and is no window, or none yet."""
        ...


@runtime_checkable
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

    `folder` may lie elsewhere: a URL that fsspec knows, such as s3://bucket/flights, opened with `storage_options`. The rules are
    the same, and each window is fetched once into `copies`; without it, into the state. Where a store does not tell when a file
    was changed, the time since it was first seen counts.
    """

    def __init__(
        self,
        folder: str,
        pattern: str = "*.parquet",
        settle: float = 60.0,
        storage_options: Mapping[str, Any] | None = None,
        copies: str = ".warmstart/windows",
    ):
        self.pattern = pattern
        self.settle = settle
        self.place: Place = Disk(folder)
        if is_url(folder):
            from engine.remote import Remote  # only who reads from elsewhere pays for fsspec

            self.place = Remote(folder, storage_options or {}, Path(copies).absolute())
        self._known: dict[str, Known] = {}
        self._memory: Memory | None = None
        self._watched: dict[Landed, float] = {}  # since when, by the monotonic clock
        self._unreadable: set[Landed] = set()
        self._unfinished: dict[str, Unfinished] = {}
        self._passed_over, self._example = 0, ""

    @property
    def untaken(self) -> Untaken:
        """What the last look left alone: what is not finished yet, and files that the pattern passes over."""
        return Untaken(tuple(self._unfinished.values()), self._passed_over, self._example, self.pattern)

    def remember(self, memory: Path) -> None:
        """Keep what is read of every file in `memory`, so that the next process need not read it again."""
        self._memory = Memory(memory)

    def list(self, stream: str, time_column: str | None) -> list[Window]:
        """Every finished window, oldest first. Raises SourceError when the folder cannot be read, else SourceUnreachable."""
        if self._memory:
            self._memory.load(stream, time_column)
        self._unfinished, self._passed_over, self._example = {}, 0, ""
        there: set[str] = set()
        unread: list[Landed] = []
        for landed in self._landed():
            known = self._known.get(landed.path)
            if known and known.landed == landed:
                there.add(landed.path)
            else:
                unread.append(landed)
        if len(there) < len(self._known):  # what is gone is forgotten, what changed is read again
            self._known = {path: known for path, known in self._known.items() if path in there}
        new = []
        for landed in sorted(unread, key=_place):  # the oldest is read, or fetched, first
            window = (self._memory.recall(landed) if self._memory else None) or self._window(landed, stream, time_column)
            if window:
                new.append(Known(landed, window))
                self._watched.pop(landed, None)
                self._unreadable.discard(landed)
        if new:  # little is, from one look to the next: of a year of files the others keep their places
            ordered = list(self._known.values())
            for known in new:
                bisect.insort(ordered, known, key=lambda known: _place(known.landed))
            self._known = {known.landed.path: known for known in ordered}
        if self._memory:
            self._memory.keep(self._known.values(), new)
        return [known.window for known in self._known.values()]

    def fetch(self, window: Window) -> None:
        """Bring back a window whose copy was removed. Raises SourceError when it is not there any more."""
        path = Path(window.uri)
        if isinstance(self.place, Disk) or (path.parent if "*" in path.name else path).exists():
            return
        for landed in [known.landed for known in self._known.values() if known.window.digest == window.digest]:
            files = self.place.bring(landed)
            if files and _digest(landed, files) == window.digest:
                self.place.keep(landed, window.digest, window.rows)
                return
        raise SourceError(
            f"window {window.id} is needed again, its copy was removed (`retention.windows`) and {self.place} does not hold it "
            "any more: put it back there"
        )

    def _landed(self) -> Iterator[Landed]:
        """What may be a window, in no order."""
        folders: dict[str, list[Entry]] = {}
        for entry in self.place.files():
            folder, _, name = entry.path.rpartition("/")
            if folder:
                folders.setdefault(folder, []).append(entry)
            elif self._counts(name):
                yield Landed(name, (entry,))
            else:
                self._pass_over(entry)
        for folder, entries in folders.items():
            files, complete = [], False
            for entry in entries:
                if self._counts(entry.name):
                    files.append(entry)
                else:
                    complete = complete or entry.name == SUCCESS
                    self._pass_over(entry)
            if files:
                files.sort(key=lambda entry: natural_order(PurePath(entry.path)))
                yield Landed(folder, tuple(files), partition=True, complete=complete)

    def _pass_over(self, entry: Entry) -> None:
        if not in_progress(entry.name):
            self._passed_over += 1
            self._example = min(self._example or entry.path, entry.path)

    def _counts(self, name: str) -> bool:
        return not in_progress(name) and fnmatch.fnmatchcase(name, self.pattern)

    def _window(self, landed: Landed, stream: str, time_column: str | None) -> Window | None:
        """The window, or None while it is not finished."""
        # By the clock, or by our own watch when the clock was set back or nobody knows the time of change.
        watched = time.monotonic() - self._watched.setdefault(landed, time.monotonic())
        settled = watched >= self.settle or (landed.changed is not None and time.time() - landed.changed >= self.settle)
        if not settled and (landed in self._unreadable or (landed.partition and not landed.complete)):
            self._leave(landed, watched)
            return None
        if held := self.place.recall(landed):
            digest, rows = held
            footers = [_footer(path) for path in self._paths(landed, digest)]
        else:
            try:
                files = self.place.bring(landed)
                if not files:
                    return None
                footers = [_footer(path) for path in files]
                digest = _digest(landed, files)
            except FileNotFoundError:
                return None
            if None in footers and not settled:
                self._unreadable.add(landed)
                self._leave(landed, watched)
                return None
            rows = 0 if None in footers else sum(footer.num_rows for footer in footers if footer is not None)
            self.place.keep(landed, digest, rows)
        at = self.place.at(landed, digest)
        uri = str(at / self.pattern if landed.partition else at)
        return Window(stream, landed.id, uri, digest, rows, *_whole_span(footers, time_column))

    def _leave(self, landed: Landed, watched: float) -> None:
        """It may still be written, for as long as it has not settled: note until when."""
        until = time.time() + self.settle - watched
        if landed.changed is not None:
            until = min(until, landed.changed + self.settle)
        why = "cannot be read yet" if landed in self._unreadable else f"holds no {SUCCESS} yet"
        self._unfinished[landed.id] = Unfinished(landed.id, why, round(until, 1))

    def _paths(self, landed: Landed, digest: str) -> Sequence[Path]:
        at = self.place.at(landed, digest)
        paths = [at / entry.name for entry in landed.files] if landed.partition else [at]
        return [path for path in paths if path.exists()]


def natural_order(path: PurePath) -> tuple[list[Any], str]:
    """Sort key in which runs of digits count as numbers.

    >>> [p.name for p in sorted(map(Path, ["part-10", "part-2"]), key=natural_order)]
    ['part-2', 'part-10']
    """
    text = str(path)
    return [(int(run), "") if run.isdigit() else (-1, run) for run in re.split(r"(\d+)", text)], text


def _place(landed: Landed) -> tuple[list[Any], str]:
    return natural_order(PurePath(landed.path))


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(landed: Landed, files: Sequence[Path]) -> str:
    digests = [digest_of(path) for path in files]
    return hashlib.sha256("".join(digests).encode()).hexdigest() if landed.partition else digests[0]


def _footer(path: Path) -> Any | None:
    """What Parquet writes last; None when it is not there."""
    try:
        return pq.read_metadata(path)
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError):
        return None


def _whole_span(footers: Sequence[Any], column: str | None) -> tuple[str | None, str | None]:
    spans = [_span(footer, column) for footer in footers if footer is not None]
    known = [(start, end) for start, end in spans if start is not None and end is not None]
    return (min(start for start, _ in known), max(end for _, end in known)) if known else (None, None)


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
