"""The benchmark of warm starts, on weeks of which a few hundred flights are left."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks import warm_start
from engine import flights
from engine.configuration import resolve


def test_a_strategy_is_carried_through_the_weeks_that_have_enough_before_them(tmp_path: Path) -> None:
    windows = []
    for name, week in islice(flights.weeks(), 5):
        week.head(400).write_parquet(tmp_path / f"{name}.parquet")
        windows.append(warm_start.as_window(tmp_path / f"{name}.parquet"))
    found = warm_start.run("replay", resolve(["stream=flights"])["strategy"], windows, tmp_path / "jobs")
    assert [path.name for path in sorted((tmp_path / "jobs" / "replay").iterdir())] == [window.id for window in windows[:4]]
    assert np.isfinite(found.rmse)
    assert (found.steps > 0, found.seconds > 0) == (True, True)
