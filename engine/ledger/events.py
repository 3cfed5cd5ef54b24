"""What happened outside of the data, as the ledger knows of it."""

from __future__ import annotations

import time

import sqlalchemy as sa

from engine.ledger.database import Database
from engine.ledger.rows import Cycle, Event
from engine.ledger.tables import events, steps


class EventRecords(Database):
    """What is read and written about events."""

    def announce(self, stream: str, reason: str, who: str) -> None:
        """Write down an event: the next window that is decided about retrains because of it."""
        with self.engine.begin() as tx:
            self._ensure_stream(tx, stream)
            tx.execute(events.insert().values(stream=stream, reason=reason, who=who, asked=time.time()))

    def announced(self, stream: str) -> list[Event]:
        """The events that no decision has used yet, oldest first."""
        with self.engine.connect() as tx:
            return self._announced(tx, stream)

    def use(self, cycle: Cycle) -> list[Event]:
        """Give the unused events to this cycle's decision, and return those that it has.

        An event is used once the cycle that it was given to has recorded its step `decide`. Until then it can be given again: to
        the same cycle when it is killed in between, to the next attempt when that one never gets so far.
        """
        if not self.announced(cycle.window.stream):
            return []
        with self._fenced(cycle.window.stream) as tx:
            found = self._announced(tx, cycle.window.stream)
            tx.execute(events.update().where(events.c.id.in_([event.id for event in found])).values(cycle=cycle.id))
        return found

    @staticmethod
    def _announced(tx: sa.Connection, stream: str) -> list[Event]:
        decided = sa.exists().where(steps.c.cycle == events.c.cycle, steps.c.name == "decide")
        query = sa.select(events).where(events.c.stream == stream, ~decided).order_by(events.c.id)
        return [Event(row["id"], row["reason"], row["who"], row["asked"]) for row in tx.execute(query).mappings()]
