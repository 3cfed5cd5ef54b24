"""A peer's call and one of ours in turn: what the runs took, how many times as long the peer's were, and whether values agree."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks.peers.agreement import Agreement, Expected
from benchmarks.peers.process import Peer

RUNS = 7  # the first of a process are slower, by up to twice: the median is of enough others
FEWEST = 3
PATIENCE = 10.0  # seconds for the runs of one comparison; past them the fewest do
LIMIT = 60.0  # and past these a single one does
HEADINGS = ("peer", "ms", "core-ms", "MB", "ours", "ms", "core-ms", "MB", "times ours", "(core)", "target", "values")


@dataclass(frozen=True)
class Comparison:
    """One call of a peer beside one of ours, what the peer's values have to be, and how many times faster ours must be."""

    peer: str
    theirs: str
    ours: str
    expected: Expected | None
    tolerance: float | None
    target: float | None = None


@dataclass
class Taken:
    """What the runs of one call took."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: int = 0
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, answer: dict[str, Any]) -> None:
        """One more run."""
        self.wall.append(answer["wall"])
        self.cpu.append(answer["cpu"])
        self.peak = max(self.peak, answer["peak"])
        self.values = answer["values"]

    @property
    def seconds(self) -> float:
        """The median on the clock."""
        return statistics.median(self.wall)

    @property
    def cpu_seconds(self) -> float:
        """The median of all cores together."""
        return statistics.median(self.cpu)


@dataclass(frozen=True)
class Compared:
    """A Comparison's outcome; seconds are of all columns."""

    comparison: Comparison
    columns: int
    theirs: Taken
    ours: Taken
    agreement: Agreement | None

    @property
    def ratio(self) -> float:
        """How many times ours' seconds the peer took, on the clock."""
        return self.theirs.seconds / self.ours.seconds

    @property
    def cpu_ratio(self) -> float:
        """The same of CPU seconds: what is left of it without the second core, and on a machine that others load."""
        return self.theirs.cpu_seconds / self.ours.cpu_seconds

    @property
    def verdict(self) -> str:
        """Whether the target was met, if there is one."""
        if self.comparison.target is None:
            return ""
        return f"{'held' if self.ratio >= self.comparison.target else 'NOT HELD'} ({self.comparison.target:g})"

    @property
    def as_json(self) -> dict[str, Any]:
        """Everything measured, for programs."""
        comparison, agreement = self.comparison, self.agreement
        return {
            "peer": comparison.peer,
            "call": comparison.theirs,
            "ours": comparison.ours,
            "columns": self.columns,
            "times_ours": self.ratio,
            "target": comparison.target,
            "agreement": None if agreement is None else vars(agreement) | {"holds": agreement.holds},
            "theirs_took": vars(self.theirs),
            "ours_took": vars(self.ours),
        }


def in_turn(*asked: tuple[Peer, str]) -> list[Taken]:
    """Runs of several calls, one after another, again and again: what the machine does beside them hits all alike."""
    taken = [Taken() for _ in asked]
    begin = time.monotonic()
    for run in range(1, RUNS + 1):
        for one, (peer, call) in zip(taken, asked, strict=True):
            one.add(peer.ask(call))
        took = time.monotonic() - begin
        if took > LIMIT or (took > PATIENCE and run >= FEWEST):
            break
    return taken


def row(compared: Compared) -> list[str]:
    """A line of the table of peers; milliseconds are of one column."""
    comparison, per = compared.comparison, 1e3 / compared.columns
    theirs, ours = compared.theirs, compared.ours
    return [
        f"{comparison.peer} {comparison.theirs}",
        f"{per * theirs.seconds:.1f} ({per * min(theirs.wall):.1f}–{per * max(theirs.wall):.1f})",
        f"{per * theirs.cpu_seconds:.1f}",
        f"{theirs.peak / 1e6:.0f}",
        comparison.ours,
        f"{per * ours.seconds:.2f} ({per * min(ours.wall):.2f}–{per * max(ours.wall):.2f})",
        f"{per * ours.cpu_seconds:.2f}",
        f"{ours.peak / 1e6:.0f}",
        f"{compared.ratio:.0f}×" if compared.ratio >= 10 else f"{compared.ratio:.1f}×",
        f"{compared.cpu_ratio:.0f}×" if compared.cpu_ratio >= 10 else f"{compared.cpu_ratio:.1f}×",
        compared.verdict,
        "other definition" if compared.agreement is None else str(compared.agreement),
    ]
