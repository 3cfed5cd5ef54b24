"""Where files lie that may be windows: a folder of this machine (`Disk`), or one elsewhere (`engine.remote`)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple, Protocol

SUCCESS = "_SUCCESS"
"""The file that says of a partition that it is whole."""


class SourceError(Exception):
    """The place where windows should land cannot be read; the message says what to do."""


class SourceUnreachable(Exception):
    """The place where windows land does not answer: worth another try."""


class Entry(NamedTuple):  # thousands are made and compared at every look: a dataclass takes thrice as long
    """A listed file.

    `path` is relative to the place, with "/"; `version` is another one whenever the bytes are; `size` in bytes and `changed` in
    seconds since 1970 are None where nobody knows them.
    """

    path: str
    size: int | None
    changed: float | None
    version: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


class Landed(NamedTuple):
    """What may be a window: a file, or all `files` of a partition in their order. `complete`: the partition says it is whole."""

    path: str
    files: tuple[Entry, ...]
    partition: bool = False
    complete: bool = False

    @property
    def id(self) -> str:
        """The window's: a file's name without its suffix, a partition's `year=2013,day=2`."""
        return self.path.replace("/", ",") if self.partition else PurePath(self.path).stem

    @property
    def changed(self) -> float | None:
        """When the newest of the files was."""
        times = [entry.changed for entry in self.files]
        return None if None in times else max(time for time in times if time is not None)


class Place(Protocol):
    """A folder of files and partitions, and their bytes on this machine."""

    def files(self) -> Iterable[Entry]:
        """Every file at the top and in partitions now, in no order. Raises SourceError and SourceUnreachable."""
        ...

    def recall(self, landed: Landed) -> tuple[str, int] | None:
        """Digest and rows of what was kept before, though its bytes need not be here any more."""
        ...

    def bring(self, landed: Landed) -> Sequence[Path] | None:
        """Its files on this machine, in the same order; None when they are gone or changed since they were listed."""
        ...

    def keep(self, landed: Landed, digest: str, rows: int) -> None:
        """What was brought is the window with this digest."""
        ...

    def at(self, landed: Landed, digest: str) -> Path:
        """The file or folder on this machine that a window's uri names."""
        ...


def in_progress(name: str) -> bool:
    """Whether the name says that somebody still works on it."""
    return name.startswith((".", "_"))


def is_partition(name: str) -> bool:
    """Whether a folder is a partition, as `day=2024-01-01`."""
    return "=" in name and not in_progress(name)


def is_url(folder: str) -> bool:
    """Whether a folder is named as fsspec names it: `s3://bucket/flights`, `dir://flights::s3://bucket`."""
    return "://" in folder


class Disk:
    """A folder of this machine; its files are read where they lie."""

    def __init__(self, folder: str) -> None:
        self.root = Path(folder).expanduser()

    def __str__(self) -> str:
        return str(self.root)

    def files(self) -> Iterator[Entry]:
        """Every file at the top and in partitions."""
        if not self.root.is_dir():
            raise SourceError(f"the window folder {self.root} does not exist: create it, or set `stream.source.folder`")
        try:
            yield from self._files(self.root, "")
        except OSError as error:
            raise SourceError(f"the window folder {self.root} cannot be read: {error.strerror or error}") from error

    def _files(self, folder: Path, within: str) -> Iterator[Entry]:
        with os.scandir(folder) as listed:
            for each in listed:
                try:
                    if each.is_dir():
                        if is_partition(each.name):
                            yield from self._files(Path(each.path), f"{within}{each.name}/")
                        continue
                    stat = each.stat()
                except FileNotFoundError:  # gone in this moment
                    continue
                yield Entry(within + each.name, stat.st_size, stat.st_mtime, f"{stat.st_size}.{stat.st_mtime_ns}")

    def recall(self, landed: Landed) -> None:
        """Nothing: reading it again costs little."""

    def bring(self, landed: Landed) -> list[Path]:
        """They are here."""
        return [self.root / entry.path for entry in landed.files]

    def keep(self, landed: Landed, digest: str, rows: int) -> None:
        """They stay where they are."""

    def at(self, landed: Landed, digest: str) -> Path:
        """Where they lie."""
        return (self.root / landed.path).resolve()
