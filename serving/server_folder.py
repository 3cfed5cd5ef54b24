"""What the embedded server has in its state folder: the record that names it, its users, its ports, its log, and two locks."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from serving.processes import start_time

RECORD: Final = "server.json"
USERS: Final = "users.json"
PORTS: Final = "ports.json"
LOG: Final = "server.log"
LAST_LOG: Final = "server.last.log"


@dataclass(frozen=True, slots=True)
class User:
    """A process at work that wants the server to answer. `started`, in clock ticks since boot, tells it from a later one."""

    pid: int
    started: int
    verb: str

    def __str__(self) -> str:
        return f"`warmstart {self.verb}`, process {self.pid}"


@contextmanager
def folder_lock(state: Path) -> Iterator[None]:
    """One process at a time starts or stops the server of a state folder."""
    with _locked(state / "server.lock"):
        yield


@contextmanager
def users_lock(state: Path) -> Iterator[None]:
    """One process at a time comes or goes as a user; it is held while the last one stops the server, not while one is started."""
    with _locked(state / "users.lock"):
        yield


def users(state: Path) -> list[User]:
    """The users that are at work. One that was killed is none: its process is gone, or its pid belongs to a later one."""
    found = (User(**each) for each in _read(state / USERS, []))
    return [user for user in found if start_time(user.pid) == user.started]


def write_users(state: Path, users: Sequence[User]) -> None:
    """Put the users in place, whole."""
    _write(state / USERS, [asdict(user) for user in users])


def read_record(state: Path) -> dict[str, Any]:
    """The record of the folder's server; empty where there is none."""
    record: dict[str, Any] = _read(state / RECORD, {})
    return record


def write_record(state: Path, record: Mapping[str, Any]) -> None:
    """Put the record in place, whole."""
    _write(state / RECORD, record)


def read_ports(state: Path) -> list[int]:
    """gRPC, HTTP and metrics of the last server that answered in this folder; empty where there was none."""
    ports: list[int] = _read(state / PORTS, [])
    return ports


def write_ports(state: Path, ports: Sequence[int]) -> None:
    """Remember the ports, so that clients find the next server there."""
    _write(state / PORTS, ports)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # Released by the kernel when the holder ends, however it ends.
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(path: Path, otherwise: Any) -> Any:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return otherwise


def _write(path: Path, content: Any) -> None:
    # Nobody reads half of it.
    beside = path.with_name(f".{path.name}")
    beside.write_text(json.dumps(content, indent=1))
    beside.replace(path)
