"""A ledger with a history made up by hand: five windows of a stream, each ended in another way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engine.ledger import Ledger
from engine.ledger.rows import Cycle
from engine.nouns import (
    Breach,
    Champion,
    Closing,
    ColumnDrift,
    Decision,
    DriftReport,
    LiveScore,
    Outcome,
    Resources,
    Rule,
    Score,
    Scorecard,
    SliceScore,
    Training,
    Verdict,
    Window,
)

ROWS = 800


def window(day: int, stream: str = "toy") -> Window:
    return Window(stream, f"day-{day}", f"/gone/day-{day}.parquet", f"{day:08x}".ljust(64, "0"), ROWS)


def opened(ledger: Ledger, day: int, stream: str = "toy") -> Cycle:
    return ledger.open(window(day, stream))


def drifted(day: int, effect: float, version: int = 1) -> DriftReport:
    speed = ColumnDrift("speed", "number", {"psi": effect}, 0.001, 0.002, "psi", effect, 0.2, effect > 0.2)
    load = replace(speed, column="load", effect=0.01, drifted=False)
    return DriftReport(f"day-{day}", version, ROWS, ROWS, (load, speed))


def promoted(ledger: Ledger, day: int, version: int, folder: Path = Path("/gone"), rmse: float = 2.0) -> Cycle:
    """A window that ended with a release of `version`."""
    cycle = opened(ledger, day)
    before = version - 1 or None
    record = lambda name, result: ledger.record(cycle, name, result, ledger.cycle(cycle.id).opened)  # noqa: E731
    record("configuration", {})
    if before:
        record("champion", Champion(before, "/gone", "toy:0:1", "day-1"))
        record("drift", drifted(day, 0.5, before))
        record("score", LiveScore(before, Score(ROWS, {"rmse": rmse}), str(folder / f"day-{day}.npy")))
        record("decide", Decision(True, "drift", "drift in speed psi 0.50 > 0.20"))
    else:
        record("champion", None)
        record("decide", Decision(True, "first", "there is no champion yet"))
    job, used = folder / cycle.id.replace(":", "."), Resources(1.5, 400_000_000)
    record(
        "train",
        Training(str(job), "replay", (f"day-{day}",), None, 1, 560, 80, 160, 20, 0.1, None, "graph", {"fit": 1.0}, {}, used),
    )
    record("judge.1", Scorecard("rmse", 160, Score(160, {"rmse": 1.0}), None, before, 0.1, 0.05))
    record("register", version)
    record("verify.1", Verdict((Rule("latency", True, 1.02, 1.5, "median latency is 1.02× the champion's, 1.50× allowed"),)))
    row = ledger.intend("toy", version, before, "promotion", cycle.id)
    ledger.finish(row, "done", Closing(Outcome.PROMOTED, ""))
    record("close", Closing(Outcome.PROMOTED, f"drift → version {version}", version))
    return ledger.cycle(cycle.id)


def kept(ledger: Ledger, day: int, rmse: float = 1.0, slices: tuple[SliceScore, ...] = ()) -> Cycle:
    cycle = opened(ledger, day)
    ledger.record(cycle, "drift", drifted(day, 0.05), cycle.opened)
    ledger.record(cycle, "score", LiveScore(1, Score(ROWS, {"rmse": rmse}, slices), "/gone"), cycle.opened)
    ledger.record(cycle, "decide", Decision(False, "none", "0 columns drifted, 1 needed"), cycle.opened)
    ledger.record(cycle, "close", Closing(Outcome.KEPT, "0 columns drifted, 1 needed", 1), cycle.opened)
    return ledger.cycle(cycle.id)


def quarantined(ledger: Ledger, day: int) -> Cycle:
    cycle = opened(ledger, day)
    ledger.record(cycle, "validate", (Breach("speed", "the column is missing"),), cycle.opened)
    ledger.record(cycle, "close", Closing(Outcome.QUARANTINED, "<speed>: the column is missing & nothing else"), cycle.opened)
    return ledger.cycle(cycle.id)
