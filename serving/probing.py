"""Who answers at an address: a model server, and which."""

from __future__ import annotations

import json
import urllib.request
from http.client import HTTPException
from typing import Final

# A busy server is slow, and one that is taken for dead is killed. Where nobody listens the answer comes at once.
ANSWER_SECONDS: Final = 5.0


def name_at(http: str) -> str | None:
    """The id by which what listens at a URL calls itself; None where no model server does."""
    # Without the environment's proxies: the server is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{http}/v2", timeout=ANSWER_SECONDS) as response:
            return str(json.loads(response.read(1 << 16))["name"])
    except (OSError, HTTPException, ValueError, LookupError, TypeError):  # No listener, not HTTP, not JSON, not a model server.
        return None
