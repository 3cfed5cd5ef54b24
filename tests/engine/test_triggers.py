"""Triggers: what fires, and what they say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.alarms.overtime import CUSUM
from engine.nouns import ColumnDrift, Decision, DriftReport, LiveScore, Score
from engine.triggers import All, Any, Change, Degradation, Drift, Evidence, Schedule, Volume


def evidence(
    *, effects: dict[str, float] | None = None, live: float = 10.0, fresh_rows: int = 500, now: str = "2013-01-15T00:00:00"
) -> Evidence:
    columns = tuple(
        ColumnDrift(name, "number", {"psi": effect}, 0.0, 0.0, "psi", effect, 0.2, effect > 0.2)
        for name, effect in (effects or {}).items()
    )
    report = DriftReport("w", 3, 1000, 500, columns)
    return Evidence(report, LiveScore(3, Score(500, {"rmse": live}), "f"), {"rmse": 10.0}, fresh_rows, "2013-01-07T00:00:00", now)


def test_drift_names_the_worst_columns_first_with_their_numbers() -> None:
    decision = Drift().decide(evidence(effects={"wind": 0.31, "seats": 0.1, "distance": 0.9}))
    assert decision.retrain
    assert decision.cause == "drift"
    assert decision.reason == "drift in distance psi 0.90 > 0.20, wind psi 0.31 > 0.20"


def test_drift_stays_quiet_below_the_number_of_columns_it_needs() -> None:
    decision = Drift(columns=2).decide(evidence(effects={"wind": 0.31}))
    assert not decision.retrain
    assert decision.reason == "1 columns drifted, 2 needed"


@pytest.mark.parametrize(("live", "fires"), [(10.9, False), (11.1, True)])
def test_degradation_fires_beyond_its_tolerance(live: float, fires: bool) -> None:
    assert Degradation("rmse", 0.1).decide(evidence(live=live)).retrain is fires


def test_a_change_over_time_fires_at_the_window_that_shows_it_and_not_behind_it() -> None:
    values = [10.0 + 0.1 * (i % 3) for i in range(40)] + [10.8] * 3
    asked: list[tuple[str, int]] = []

    def decide(until: int, number: str = "auto") -> Decision:
        def past(name: str, windows: int) -> list[float]:
            asked.append((name, windows))
            return values[:until]

        return Change(CUSUM(), number).decide(replace(evidence(), past=past))

    fired = [until for until in range(1, len(values) + 1) if decide(until).retrain]
    assert fired == [42]
    assert decide(42).reason == "rmse 10.8 is a change over 42 windows (CUSUM)"
    assert decide(40).reason == "rmse shows no change over 40 windows (CUSUM)"
    assert decide(42).cause == "degradation"
    assert decide(42, "drift/wind").cause == "drift"
    assert asked[-1] == ("drift/wind", 1000)


def test_schedule_counts_the_datas_own_days() -> None:
    assert not Schedule(days=9).decide(evidence()).retrain
    fired = Schedule(days=8).decide(evidence())
    assert fired.reason == "the champion's data is 8.0 days old, 8 allowed"


def test_schedule_says_that_it_needs_a_time_column() -> None:
    quiet = Schedule().decide(evidence(now=None))  # type: ignore[arg-type]
    assert not quiet.retrain
    assert "no time column" in quiet.reason


def test_volume_counts_the_rows_that_the_champion_has_not_seen() -> None:
    assert Volume(500).decide(evidence()).reason == "500 fresh rows, 500 needed"
    assert not Volume(501).decide(evidence()).retrain


def test_any_takes_the_first_that_fires_and_all_needs_every_one() -> None:
    quiet, loud = Volume(10_000), Degradation("rmse", 0.1)
    assert Any([quiet, loud]).decide(evidence(live=20)).cause == "degradation"
    assert not All([quiet, loud]).decide(evidence(live=20)).retrain
    assert All([Volume(1), loud]).decide(evidence(live=20)).reason == (
        "500 fresh rows, 1 needed; live rmse 20 > 11 (10 when it was judged)"
    )


def test_without_triggers_nothing_fires() -> None:
    assert not Any().decide(evidence()).retrain
    assert not All().decide(evidence()).retrain


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        ("2013-01-05T00:00:00", "the champion's data is 0.0 of 7 days old"),
        ("1357603200000000", "no schedule can be kept between the times 2013-01-07T00:00:00 and 1357603200000000"),
        (
            "2013-01-30T00:00:00Z",
            "no schedule can be kept between the times 2013-01-07T00:00:00 and 2013-01-30T00:00:00Z",
        ),
    ],
)
def test_a_schedule_is_not_confused_by_a_late_window_or_by_another_kind_of_time(now: str, reason: str) -> None:
    assert Schedule(days=7).decide(evidence(now=now)) == Decision(False, "none", reason)
