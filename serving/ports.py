"""Which ports the embedded server gets: those that were asked for, else the last ones, else any; who holds one that is taken."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from serving.errors import CannotStart

Ports = tuple[int, int, int]
"""gRPC, HTTP, metrics."""

Asked = tuple[int | None, int | None, int | None]
"""The same; None for a port that nobody asked for."""

SETTINGS: Final = ("grpc_port", "http_port", "metrics_port")
"""Their names in the group `serving`, in that order."""

LISTENS: Final = "0A"  # a socket's state in /proc/net/tcp. Source: Linux, include/net/tcp_states.h, TCP_LISTEN


def chosen(asked: Asked, last: Sequence[int]) -> Ports:
    """A port for each purpose. The last one comes first, where it is free, so that a client finds the next server there."""
    before = [port if port not in asked and is_free(port) else None for port in last] or [None, None, None]
    fresh = free_ports()
    while {*asked, *before} & set(fresh):
        fresh = free_ports()
    grpc, http, metrics = (want or had or free for want, had, free in zip(asked, before, fresh, strict=True))
    return grpc, http, metrics


def refuse_taken(asked: Asked) -> None:
    """Raise CannotStart when a port that was asked for cannot be had, and say who has it."""
    for name, port in zip(SETTINGS, asked, strict=True):
        if port and (refused := _refused(port)):
            why = "for root alone" if isinstance(refused, PermissionError) else f"taken by {_holder(port)}: stop that"
            raise CannotStart(f"port {port} (serving.{name}) is {why}, set another port, or null for a free one")


def free_ports() -> tuple[int, int, int]:
    """Three loopback ports that nobody listens on just now."""
    with socket.socket() as a, socket.socket() as b, socket.socket() as c:
        for s in (a, b, c):
            s.bind(("127.0.0.1", 0))
        return a.getsockname()[1], b.getsockname()[1], c.getsockname()[1]


def is_free(port: int) -> bool:
    """Whether a server may listen on a port of the loopback interface now."""
    return _refused(port) is None


def _refused(port: int) -> OSError | None:
    with socket.socket() as probe:
        # As servers do: connections that have ended and linger do not keep a port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error
        return None


def _holder(port: int) -> str:
    """Who listens on a port, as far as this user may know."""
    sockets = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listening(Path("/proc/net") / table, port)}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in sockets for link in (process / "fd").iterdir()):
                return f"process {process.name} ({(process / 'comm').read_text().strip()})"
        except OSError:  # it is another user's, or has ended
            continue
    return "a process of another user"


def _listening(table: Path, port: int) -> list[str]:
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:  # no such protocol here
        return []
    # Source: proc_net_tcp in the kernel's documentation: the local address, the state, the inode.
    return [row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == LISTENS]
