"""A Profile that was kept in a file, ours or whylogs'."""

from __future__ import annotations

from pathlib import Path

from engine import profile_file, whylogs_file
from engine.reference import Reference

ARROW = b"ARROW1"


def kept(path: Path) -> Reference | None:
    """The Profile that a file holds, told by its first bytes and not by its name; None for other files.

    Raises ValueError when it cannot be read.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        begins = file.read(len(ARROW))
    if begins.startswith(whylogs_file.BEGINS):
        return whylogs_file.read(path)
    return Reference(profile_file.read(path)) if begins == ARROW else None
