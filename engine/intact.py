"""Whether a window is still what landed: its files are there and hold the bytes that its digest names.

The engine keeps no copy of its own (docs/decisions/0010-no-private-copies.md): whoever reads a window looks here first.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from engine.nouns import Window
from engine.windows import natural_order


class WindowLost(ValueError):
    """A window is not what landed any more. `why` says in which way."""

    def __init__(self, window: Window, why: str):
        super().__init__(f"window {window.id} of {window.stream} cannot be read from {window.uri}: {why}")
        self.window = window
        self.why = why


def lost(window: Window) -> str | None:
    """Why a window is not what landed any more, or None. What lies in no local file is taken as it is."""
    if "://" in window.uri:
        return None
    path = Path(window.uri)
    try:
        files = [path] if path.exists() else _partition(path)
        digests = [_digest_of(file) for file in files]
    except FileNotFoundError:
        digests = []
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    if not digests:
        return "it is gone"
    if window.digest not in (digests[0], hashlib.sha256("".join(digests).encode()).hexdigest()):
        return "other bytes are there now than those that landed"
    return None


def _partition(pattern: Path) -> list[Path]:
    """All the files of a folder that its pattern names, in the order in which a digest takes them."""
    found = [p for p in pattern.parent.glob(pattern.name) if not p.name.startswith((".", "_")) and p.is_file()]
    return sorted(found, key=natural_order)


def _digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes; remembered for as long as the file system says that it is the same, unchanged file."""
    stat = path.stat()
    return _digest(str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@functools.lru_cache(maxsize=1024)
def _digest(path: str, *same: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
