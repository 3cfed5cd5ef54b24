"""The year of hourly windows, in little: what must hold after 8,760 must hold after some hundred, with as much less kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import hourly
from engine.ledger import Ledger

SMALL = ["releases=2", "checkpoints=3", "jobs=2", "answers=20", "quarantined=2", "steps=30"]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_many_windows_stay_small_and_quick(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hourly, "SEASONS", 2)
    monkeypatch.setattr(hourly, "BROKEN", 20)
    monkeypatch.setattr(hourly, "BOUND", 2.0)  # of so few each is a large share
    monkeypatch.setattr(hourly, "STATUS", 20.0)  # on the clock; whoever else works here makes it longer
    monkeypatch.setattr(hourly, "MEMORY", 200_000)  # what a process warms up in its first minutes counts here
    schedule = "trigger.triggers=[{_target_: engine.triggers.Schedule, days: 0.6}]"
    project = tmp_path / "project"
    looks = hourly.live_through(project, 200, 20, [*(f"retention.{number}" for number in SMALL), schedule])
    assert [words for held, words in hourly.bounds(looks) if not held] == []
    assert max(look.status_cpu for look in looks) < 1.0
    ledger = Ledger(f"sqlite:///{project / '.warmstart' / 'ledger.db'}")
    counts = ledger.counts("hourly")
    ledger.close()
    assert sum(counts.values()) == 200
    assert counts["quarantined"] == 10
    assert counts["promoted"] >= 6
    assert looks[-1].sizes["artifacts"] < 6 * looks[0].sizes["artifacts"]
    assert hourly.growth(looks, "ledger.db") < 10_000
    assert hourly.growth(looks, "mlflow.db") < 30_000
