"""Labels that come later, as the ledger knows of them."""

from __future__ import annotations

import json

import sqlalchemy as sa

from engine.ledger.codec import decode
from engine.ledger.cycles import CycleRecords
from engine.ledger.rows import Cycle
from engine.ledger.tables import cycles, steps
from engine.nouns import Labelled


class LabelRecords(CycleRecords):
    """What is read about labels: the cycles that wait for them, the windows that have found them."""

    def awaiting_labels(self, stream: str) -> list[Cycle]:
        """The unfinished cycles that were checked and go on when the labels of their window are there."""
        query = (
            sa.select(steps.c.cycle, steps.c.name, steps.c.result)
            .join(cycles, steps.c.cycle == cycles.c.id)
            .where(cycles.c.stream == stream, cycles.c.closed.is_(None), steps.c.name.in_(("configuration", "validate", "label")))
        )
        done: dict[str, dict[str, str]] = {}
        with self.engine.connect() as tx:
            for cycle, name, result in tx.execute(query):
                done.setdefault(cycle, {})[name] = result
        waits = {
            cycle
            for cycle, found in done.items()
            if found.get("validate") == "[]" and "label" not in found and labels_come_later(found["configuration"])
        }
        return [cycle for cycle in self.unfinished(stream) if cycle.id in waits] if waits else []

    def labelled(self, stream: str) -> dict[str, Labelled]:
        """Cycle id → its window with the labels that came later, of every cycle that has found them."""
        query = (
            sa.select(steps.c.cycle, steps.c.result)
            .join(cycles, steps.c.cycle == cycles.c.id)
            .where(cycles.c.stream == stream, steps.c.name == "label")
        )
        with self.engine.connect() as tx:
            return {cycle: decode(Labelled, result) for cycle, result in tx.execute(query)}


def labels_come_later(configuration: str) -> bool:
    """Whether a recorded configuration (JSON) has the labels of its window come later."""
    stream = json.loads(configuration).get("stream", {})
    return bool((stream.get("labels") or {}).get("folder"))
