"""Ports of this machine: which are free, and who answers at one."""

from __future__ import annotations

import json
import socket
import urllib.request
from http.client import HTTPException
from typing import Final

# A busy server is slow, and one that is taken for dead is killed. Where nobody listens the answer comes at once.
ANSWER_SECONDS: Final = 5.0


def free_ports() -> tuple[int, int, int]:
    """Three loopback ports that nobody listens on just now."""
    with socket.socket() as a, socket.socket() as b, socket.socket() as c:
        for s in (a, b, c):
            s.bind(("127.0.0.1", 0))
        return a.getsockname()[1], b.getsockname()[1], c.getsockname()[1]


def name_at(http: str) -> str | None:
    """The id by which what listens at a URL calls itself; None where no model server does."""
    # Without the environment's proxies: the server is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{http}/v2", timeout=ANSWER_SECONDS) as response:
            return str(json.loads(response.read(1 << 16))["name"])
    except (OSError, HTTPException, ValueError, LookupError, TypeError):  # No listener, not HTTP, not JSON, not a model server.
        return None
