"""The record of finished steps: what makes a killed cycle carry on, and what `status` and `explain` read.

One row per finished step of a cycle, its result as the JSON of a frozen dataclass. A process that starts again walks the same
cycle: finished steps answer from here, the interrupted one runs again. SQLite by default, PostgreSQL for many machines.
"""

from __future__ import annotations

from engine.ledger.events import EventRecords
from engine.ledger.labels import LabelRecords
from engine.ledger.releases import ReleaseRecords
from engine.ledger.results import StepRecords


class Ledger(StepRecords, LabelRecords, EventRecords, ReleaseRecords):
    """The ledger at an SQLAlchemy URL. Each base holds one subject; all share one `Database`, which says what opening raises."""
