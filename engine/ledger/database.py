"""The ledger's database: opened, its layout checked, and who may write to it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from engine.ledger.tables import LAYOUT, layout, metadata, streams

LAYOUT_LOCK = 0x7761726D7374  # of PostgreSQL, while tables are created


class LedgerError(Exception):
    """The ledger cannot be used as it is; the message says what to do."""


class LedgerUnreachable(Exception):
    """The ledger's database does not answer; the work is interrupted, not lost."""


class FencedOut(LedgerError):
    """Another process took the stream over while this one worked; nothing more may be written."""


class Database:
    """Opens the database at an SQLAlchemy URL, creating its tables when there are none.

    Raises LedgerError when the tables were made by another layout.
    """

    def __init__(self, url: str):
        self.url = sa.make_url(url)
        if self.sqlite and self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = sa.create_engine(self.url, pool_pre_ping=not self.sqlite)
        if self.sqlite:
            sa.event.listen(self.engine, "connect", _sqlite_settings)
        self._fences: dict[str, int] = {}
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    @property
    def sqlite(self) -> bool:
        """True for SQLite, where locks are files."""
        return self.url.get_backend_name() == "sqlite"

    def _prepare(self) -> None:
        with self.engine.begin() as tx:
            # Two processes that find an empty database must not both fill it.
            if self.sqlite:
                tx.execute(sa.text("BEGIN IMMEDIATE"))
            else:
                tx.execute(sa.select(sa.func.pg_advisory_xact_lock(LAYOUT_LOCK)))
            metadata.create_all(tx)
            found = tx.execute(sa.select(layout.c.version)).scalar_one_or_none()
            if found is None:
                tx.execute(layout.insert().values(version=LAYOUT))
            elif found != LAYOUT:
                age = "an older" if found < LAYOUT else "a newer"
                raise LedgerError(
                    f"the ledger at {self.url.render_as_string()} was written by {age} version of warmstart (table layout "
                    f"{found}, this one reads {LAYOUT}): run {age} version, or point `platform.ledger` at a new database"
                )

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    # who may write

    def take_over(self, stream: str, verb: str, pid: int) -> None:
        """Make this process the one writer of the stream's cycles: whoever wrote before is fenced out from here on."""
        holder = json.dumps({"pid": pid, "host": socket.gethostname(), "verb": verb, "since": time.time()})
        with self.engine.begin() as tx:
            self._ensure_stream(tx, stream)
            fence = tx.execute(
                streams.update()
                .where(streams.c.name == stream)
                .values(fence=streams.c.fence + 1, holder=holder)
                .returning(streams.c.fence)
            ).scalar_one()
        self._fences[stream] = fence

    def holder(self, stream: str) -> dict[str, Any] | None:
        """Who last took the stream: pid, host, verb, since (Unix seconds)."""
        with self.engine.connect() as tx:
            text = tx.execute(sa.select(streams.c.holder).where(streams.c.name == stream)).scalar_one_or_none()
        return json.loads(text) if text else None

    @contextmanager
    def _fenced(self, stream: str) -> Iterator[sa.Connection]:
        with self.engine.begin() as tx:
            if (mine := self._fences.get(stream)) is not None:
                query = sa.select(streams.c.fence).where(streams.c.name == stream).with_for_update()
                if tx.execute(query).scalar_one() != mine:
                    raise FencedOut(f"another process has taken stream {stream!r} over; this one stops without writing")
            yield tx

    @staticmethod
    def _ensure_stream(tx: sa.Connection, stream: str) -> None:
        if tx.execute(sa.select(streams.c.name).where(streams.c.name == stream)).scalar_one_or_none() is None:
            tx.execute(streams.insert().values(name=stream, fence=0))


def _sqlite_settings(connection: Any, _: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
