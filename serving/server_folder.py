"""What the embedded server has in its state folder: the record that names it, its log, the lock of who looks after it."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

RECORD: Final = "server.json"
LOG: Final = "server.log"
LAST_LOG: Final = "server.last.log"


@contextmanager
def folder_lock(state: Path) -> Iterator[None]:
    """One process at a time looks after the server of a state folder."""
    # Released by the kernel when the holder ends, however it ends.
    with (state / "server.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_record(state: Path) -> dict[str, Any]:
    """The record of the folder's server; empty where there is none."""
    try:
        record: dict[str, Any] = json.loads((state / RECORD).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return record


def write_record(state: Path, record: Mapping[str, Any]) -> None:
    """Put the record in place whole: nobody reads half of one."""
    beside = state / f".{RECORD}"
    beside.write_text(json.dumps(record, indent=1))
    beside.replace(state / RECORD)
