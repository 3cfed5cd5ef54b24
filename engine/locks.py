"""Two locks per stream: *cycle* (long, one writer) and *release* (seconds).

With SQLite they are files that the operating system frees when their holder dies, however it dies. With PostgreSQL they are
session-level advisory locks, gone with the connection; the ledger's fence stops a holder that lost its connection and did
not notice.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from engine.ledger import Ledger

LockName = Literal["cycle", "release"]


class Busy(Exception):
    """Somebody else holds the lock; the message says who."""


class Locks:
    """The locks of the streams in one ledger. `folder` holds the lock files when the ledger is SQLite."""

    def __init__(self, ledger: Ledger, folder: Path):
        self.ledger = ledger
        self.folder = folder

    @contextmanager
    def cycle(self, stream: str, verb: str) -> Iterator[None]:
        """Be the one writer of the stream's cycles. Raises Busy at once, naming the holder, when another process is."""
        with self._lock(stream, "cycle", wait=0.0):
            self.ledger.take_over(stream, verb, os.getpid())
            yield

    @contextmanager
    def release(self, stream: str, wait: float = 60.0) -> Iterator[None]:
        """Be the one who changes the live version; waits up to `wait` seconds, then raises Busy."""
        with self._lock(stream, "release", wait):
            yield

    @contextmanager
    def _lock(self, stream: str, name: LockName, wait: float) -> Iterator[None]:
        take = self._file_lock if self.ledger.sqlite else self._advisory_lock
        with take(stream, name, wait):
            yield

    @contextmanager
    def _file_lock(self, stream: str, name: LockName, wait: float) -> Iterator[None]:
        from filelock import FileLock, Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / f"{stream}.{name}.lock", timeout=wait, poll_interval=0.02)
        try:
            lock.acquire()
        except Timeout:
            raise self._busy(stream, name) from None
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _advisory_lock(self, stream: str, name: LockName, wait: float) -> Iterator[None]:
        key = int.from_bytes(hashlib.sha256(f"warmstart:{stream}:{name}".encode()).digest()[:8], "big", signed=True)
        deadline = time.monotonic() + wait
        with self.ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as session:
            while not session.execute(sa.select(sa.func.pg_try_advisory_lock(key))).scalar_one():
                if time.monotonic() >= deadline:
                    raise self._busy(stream, name)
                time.sleep(0.02)
            try:
                yield
            finally:
                # A session that was cut off has taken its lock with it.
                with contextlib.suppress(sa.exc.OperationalError):
                    session.execute(sa.select(sa.func.pg_advisory_unlock(key)))

    def _busy(self, stream: str, name: LockName) -> Busy:
        holder = self.ledger.holder(stream) if name == "cycle" else None
        if not holder:
            return Busy(f"another process is changing the live version of stream {stream!r}; try again in a moment")
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["since"]))
        return Busy(
            f"stream {stream!r} is in use by `warmstart {holder['verb']}`, process {holder['pid']} on {holder['host']}, "
            f"since {since}: one process works on a stream at a time"
        )
