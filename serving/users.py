"""Who uses the embedded server: it answers until the last one goes.

Several processes of one state folder share a server, whoever started it. If it belonged to its starter, whoever joined it would
have to notice that it went and start another, and requests in between would fail. So it belongs to all: each writes itself down
before it looks for the server, and whoever goes and finds nobody else stops it. A user that was killed is not counted. A server
whose users were all killed goes on answering; the next one joins it, and stops it at its end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.processes import start_time, undisturbed
from serving.server import stop_recorded
from serving.server_folder import User, users, users_lock, write_users


@contextmanager
def using(state: Path, verb: str) -> Iterator[None]:
    """Be a user of the server of a state folder while the block lasts; start or find the server inside, close clients before."""
    me = join(state, verb)
    try:
        yield
    finally:
        leave(state, me)


def join(state: Path, verb: str) -> User:
    """Write this process down as a user."""
    state.mkdir(parents=True, exist_ok=True)
    me = User(os.getpid(), start_time(os.getpid()) or 0, verb)
    with users_lock(state):
        write_users(state, [*users(state), me])
    return me


def leave(state: Path, me: User) -> None:
    """Cross this process out, and stop the server when nobody else uses it. A Ctrl-C waits until that is done."""
    with undisturbed(), users_lock(state):
        left = users(state)
        if me in left:
            left.remove(me)
        write_users(state, left)
        if not left:
            stop_recorded(state)
