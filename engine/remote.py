"""Windows that lie elsewhere: in whatever fsspec reaches (S3, Google Cloud, Azure, SFTP, HTTP, …), brought here once.

The engine and its jobs read local files. So a window is fetched when it is first listed, into a folder of the state: under a name
that begins with a dot, then renamed to one that carries the digest, `part-2.0123456789ab.parquet`. What was fetched is written
down in `.known.jsonl` by path, size and etag (or checksum, or time of change), so that it is fetched once, whoever starts again,
and though the copy was removed since (`retention.windows`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import unquote

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.registry import known_implementations

from engine.places import Entry, Landed, SourceError, SourceUnreachable, is_partition

KNOWN = ".known.jsonl"
TAGS = ("ETag", "etag", "md5", "md5Hash", "content_md5", "Content-MD5", "checksum", "crc32c", "generation", "VersionId")
TIMES = ("mtime", "LastModified", "last_modified", "updated", "Last-Modified", "modified", "created")
CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `stream.source.storage_options={anon: true}` for a public bucket",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or `stream.source.storage_options={token: anon}` for a public bucket",
    "az": "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
SAME = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "adl": "az"}


class Remote:
    """A folder that fsspec reaches, and the copies of its windows in `copies`."""

    def __init__(self, url: str, storage_options: Mapping[str, Any], copies: Path) -> None:
        self.url, self.copies = url.rstrip("/"), copies
        self.options = dict(storage_options)
        self._fs: Any = None
        self._root = ""
        self._names: dict[str, str] = {}  # path within the place → what the file system calls it
        self._kept: dict[str, tuple[str, int]] | None = None

    def __str__(self) -> str:
        return self.url

    # what is there

    def files(self) -> list[Entry]:
        """Every file at the top and in partitions: one request for a bucket, else one a folder, and one a file over HTTP."""
        with self._reaching():
            self._open()
            self._fs.invalidate_cache()
            listed = self._find()
            if not listed and not self._fs.exists(self._root):
                raise FileNotFoundError(self._root)
        found = {self._path(info["name"]): info for info in listed}
        self._names = {path: info["name"] for path, info in found.items()}
        return [_entry(path, info) for path, info in found.items()]

    def _open(self) -> None:
        if self._fs is None:
            self._fs, root = fsspec.core.url_to_fs(self.url, **self.options)
            self._root = root.rstrip("/")

    def _find(self) -> list[dict[str, Any]]:
        if isinstance(self._fs, AsyncFileSystem) and type(self._fs)._find is not AsyncFileSystem._find:
            found = self._fs.find(self._root, detail=True).values()
            return [info for info in found if info["type"] == "file" and self._counts(info["name"])]
        return list(self._walk(self._root))

    def _walk(self, folder: str) -> Iterator[dict[str, Any]]:
        for info in self._fs.ls(folder, detail=True):
            name = self._path(info["name"]).rpartition("/")[2]
            if info["type"] == "directory":
                if is_partition(name):
                    yield from self._walk(info["name"])
            elif "?" not in name:  # a web server's link that sorts its own page
                yield info if info.get("size") is not None else self._fs.info(info["name"]) | {"name": info["name"]}

    def _path(self, name: str) -> str:
        path = name.rstrip("/").removeprefix(self._root).lstrip("/")
        return unquote(path) if self._root.startswith("http") else path

    def _counts(self, name: str) -> bool:
        return all(map(is_partition, self._path(name).split("/")[:-1]))

    # what is here

    def recall(self, landed: Landed) -> tuple[str, int] | None:
        """Digest and rows, if these very files were fetched before."""
        if self._kept is None:
            self._kept = dict(_records(self.copies / KNOWN))
        return self._kept.get(_key(landed))

    def bring(self, landed: Landed) -> list[Path] | None:
        """Fetch the files, each verified by its size. None when one is gone or was written on since it was listed."""
        folder = self._begun(landed)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        paths = [folder / entry.name for entry in landed.files]
        with self._reaching():
            for entry, path in zip(landed.files, paths, strict=True):
                if not self._get(entry, path):
                    return None
        return paths

    def _get(self, entry: Entry, path: Path) -> bool:
        name = self._names[entry.path]
        try:
            self._fs.get_file(name, str(path))
            arrived = path.stat().st_size
            if entry.size is None or arrived == entry.size:
                return True
            self._fs.invalidate_cache()
            if self._fs.info(name)["size"] != entry.size:
                return False
        except FileNotFoundError:
            return False
        raise SourceUnreachable(f"{self.url}/{entry.path} was cut short: {arrived:,} of {entry.size:,} bytes arrived")

    def keep(self, landed: Landed, digest: str, rows: int) -> None:
        """Give what was brought its name, then write it down."""
        begun, kept = self._begun(landed), self.at(landed, digest)
        for path in begun.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if not kept.exists():
            (begun if landed.partition else begun / landed.files[0].name).replace(kept)
        shutil.rmtree(begun, ignore_errors=True)
        record = json.dumps({"key": _key(landed), "digest": digest, "rows": rows, "path": landed.path}, ensure_ascii=False)
        with (self.copies / KNOWN).open("a", encoding="utf-8") as file:
            file.write(f"\n{record}\n")  # begins a line of its own even where a killed process left half of one
        if self._kept is not None:
            self._kept[_key(landed)] = digest, rows

    def at(self, landed: Landed, digest: str) -> Path:
        """The copy."""
        suffix = "" if landed.partition else PurePath(landed.path).suffix
        return self.copies / f"{landed.id}.{digest[:12]}{suffix}"

    def _begun(self, landed: Landed) -> Path:
        return self.copies / f".{landed.id}"

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """Whatever a file system raises, in words: what the user can mend is a SourceError, the rest an outage."""
        try:
            yield
        except SourceUnreachable:
            raise
        except ImportError as error:
            raise SourceError(f"{self.url}: {_missing(self._protocol, error)}") from error
        except FileNotFoundError as error:
            why = f" ({error})" if " " in str(error) else ""  # else it is the path once more
            raise SourceError(
                f"there is nothing at {self.url}{why}: write the first window there, or correct `stream.source.folder`"
            ) from error
        except Exception as error:  # every kind of store brings its own
            said = " ".join(str(error).split()) or "no reason given"
            status = getattr(error, "status", None)
            status = status if isinstance(status, int) else 500  # of HTTP
            if isinstance(error, PermissionError) or status in (401, 403) or _about_credentials(error):
                store = SAME.get(self._protocol, self._protocol)
                how = CREDENTIALS.get(store, "give what it needs in `stream.source.storage_options`")
                raise SourceError(f"{self.url} lets us not in ({said}): {how}") from error
            if isinstance(error, (TypeError, ValueError)) or status < 500:
                raise SourceError(
                    f"{self.url} cannot be opened ({said}): correct `stream.source.folder` or `.storage_options`"
                ) from error
            raise SourceUnreachable(f"{self.url} does not answer: {said} ({type(error).__name__})") from error

    @property
    def _protocol(self) -> str:
        return self.url.rpartition("::")[2].partition("://")[0]


def _entry(path: str, info: Mapping[str, Any]) -> Entry:
    size = info.get("size")
    times = [time for field in TIMES if (time := _seconds(info.get(field))) is not None]
    tags = [str(info[field]) for field in TAGS if info.get(field)]
    changed = times[0] if times else None
    return Entry(path, size, changed, json.dumps([size, tags or changed]))


def _seconds(time: object) -> float | None:
    """A time of change as stores write it (a number, a datetime, ISO 8601, RFC 5322) in seconds since 1970."""
    if isinstance(time, str):
        for read in (datetime.fromisoformat, parsedate_to_datetime):
            with contextlib.suppress(ValueError):
                return _seconds(read(time))
    if isinstance(time, datetime):
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return float(time) if isinstance(time, (int, float)) else None


def _key(landed: Landed) -> str:
    return hashlib.sha256(json.dumps([[entry.path, entry.version] for entry in landed.files]).encode()).hexdigest()


def _records(path: Path) -> Iterator[tuple[str, tuple[str, int]]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError, KeyError):  # half a line, of a process that was killed
            record = json.loads(line) if line else {}
            yield record["key"], (record["digest"], record["rows"])


def _missing(protocol: str, error: ImportError) -> str:
    known = known_implementations.get(protocol, {})
    package = known.get("class", "").partition(".")[0]
    return f"{protocol}:// needs a package: `pip install {package}`" if package not in ("", "fsspec") else str(error)


def _about_credentials(error: Exception) -> bool:
    return any(word in kind.__name__ for kind in type(error).__mro__ for word in ("Credential", "Authentication"))
