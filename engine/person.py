"""Who is at work here, as records and messages name them."""

from __future__ import annotations

import os


def user() -> str:
    """The user's name, or `user NUMBER` where the number has no name, as in a container that runs under one."""
    import getpass  # only who records or complains pays for it

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.geteuid()}"
