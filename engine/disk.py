"""What a disk refuses: no right to write there, no space left. The same words for it, whichever library ran into it."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from engine.person import user

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)
SQLITE_NO_SPACE = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_TRUNCATE")
SQLITE_NO_RIGHT = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")


class NotPermitted(Exception):
    """A file or folder may not be written, or not be read; the message says which and what to do."""


class NoSpace(Exception):
    """A file cannot grow. Nothing is lost: with space the work goes on."""


def refusal(error: BaseException, place: str = "") -> NotPermitted | NoSpace | None:
    """What a disk refused, when that is behind an error, however often it was wrapped; else None.

    `place` is named where the error names no file.
    """
    for each in _chain(error):
        if isinstance(each, (NotPermitted, NoSpace)):
            return each
        name = str(getattr(each, "filename", None) or place or "")
        number, word = getattr(each, "errno", None), getattr(each, "sqlite_errorname", None) or ""
        if number in NO_SPACE or word.startswith(SQLITE_NO_SPACE):
            full = number != errno.EFBIG and "IOERR" not in word
            what = "no space is left on the disk" if full else "a file cannot grow, for want of space or by `ulimit -f`"
            where = f" ({name})" if name else ""
            return NoSpace(f"{what}{where}: make room and start again; nothing is lost, the work goes on from here")
        if number in NO_RIGHT or word.startswith(SQLITE_NO_RIGHT):
            return NotPermitted(
                f"{name or 'a file of the state'} may not be written by {user()}: give that user the right to read and write it "
                "and its folder, or set `platform.state` (WARMSTART_STATE) to a folder where it has"
            )
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it. SQLAlchemy keeps the database's own error in `orig`."""
    seen: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        each = todo.pop(0)
        if each is not None and each not in seen:
            seen.append(each)
            yield each
            todo += [getattr(each, "orig", None), each.__cause__, None if each.__suppress_context__ else each.__context__]
