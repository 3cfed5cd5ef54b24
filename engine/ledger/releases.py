"""Releases in the ledger, written down before they are done, and holds."""

from __future__ import annotations

import time

import sqlalchemy as sa

from engine.ledger.database import Database
from engine.ledger.results import settle_cycle
from engine.ledger.rows import ReleaseRow, release_of
from engine.ledger.tables import releases, streams
from engine.nouns import Closing


class ReleaseRecords(Database):
    """What is read and written about releases and holds."""

    def hold(self, stream: str, reason: str | None) -> None:
        """Hold the stream (nothing is released by itself), or with None let it go on."""
        with self.engine.begin() as tx:
            self._ensure_stream(tx, stream)
            tx.execute(streams.update().where(streams.c.name == stream).values(held=reason))

    def held(self, stream: str) -> str | None:
        """Why the stream is held, or None."""
        with self.engine.connect() as tx:
            return tx.execute(sa.select(streams.c.held).where(streams.c.name == stream)).scalar_one_or_none()

    def intend(
        self, stream: str, version: int, expects: int | None, cause: str, cycle: str | None, hold: str | None = None
    ) -> ReleaseRow:
        """Write down a release before it is done. What was intended and not done is superseded; `hold` holds the stream too."""
        with self.engine.begin() as tx:
            self._ensure_stream(tx, stream)
            pending = sa.and_(releases.c.stream == stream, releases.c.state == "intended")
            tx.execute(releases.update().where(pending).values(state="superseded"))
            values = {"stream": stream, "version": version, "expects": expects, "cause": cause, "cycle": cycle}
            row = (
                tx.execute(releases.insert().values(**values, state="intended", asked=time.time()).returning(releases))
                .mappings()
                .one()
            )
            if hold is not None:
                tx.execute(streams.update().where(streams.c.name == stream).values(held=hold))
            return release_of(row)

    def finish(self, release: ReleaseRow, state: str, closing: Closing) -> None:
        """Mark a release done or failed. An approved one ends the cycle that waited for it in the same transaction."""
        with self.engine.begin() as tx:
            tx.execute(releases.update().where(releases.c.id == release.id).values(state=state, done=time.time()))
            if release.cause == "approval" and release.cycle:
                settle_cycle(tx, release.cycle, closing)

    def releases(self, stream: str) -> list[ReleaseRow]:
        """Every release of a stream, oldest first."""
        query = sa.select(releases).where(releases.c.stream == stream).order_by(releases.c.id)
        with self.engine.connect() as tx:
            return [release_of(row) for row in tx.execute(query).mappings()]
