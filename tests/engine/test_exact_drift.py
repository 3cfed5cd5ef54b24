"""Drift with every value: what a stream compares where `stream.drift.exact` is true, against scipy on the whole windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from engine import drift, exact, profile, profiling
from engine.drift import DriftLimits
from engine.exact import sorted_columns, window_of
from engine.nouns import Column, Schema, Window
from engine.profile import F64, Profile
from kernels import suite

ROWS = 15_000  # more than a Profile's sample
SCHEMA = Schema((Column("speed", "number"), Column("narrow", "number"), Column("late", "boolean")), target="minutes")
NAMES = ("speed", "narrow", "late", "minutes")
BUDGET = 10**8


def table(seed: int, shift: float = 0.0, rows: int = ROWS) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    speed = random.normal(10 + shift, 2, rows)
    speed[::50], speed[1], speed[2] = np.nan, np.inf, -np.inf
    narrow = random.normal(0, 1, rows).astype(np.float32).round(2)
    return pl.DataFrame(
        {"speed": speed, "narrow": narrow, "late": random.random(rows) < 0.3, "minutes": random.exponential(9, rows)}
    )


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> list[Window]:
    """Two that a champion was trained on, and one that comes after them."""
    folder, found = tmp_path_factory.mktemp("windows"), []
    for seed, shift in ((0, 0.0), (1, 0.1), (2, 0.3)):
        table(seed, shift).write_parquet(folder / f"{seed}.parquet")
        found.append(window_of(folder / f"{seed}.parquet"))
    return found


@pytest.fixture(scope="module")
def sides(windows: list[Window]) -> tuple[Profile, Profile]:
    frames = [pl.read_parquet(window.uri) for window in windows]
    reference = profiling.build(pl.concat(frames[:2]), SCHEMA)
    return reference, profiling.build(frames[2], SCHEMA, reference.edges)


def measured(sides: tuple[Profile, Profile], windows: Sequence[Window], folder: Path) -> dict[str, drift.Compared]:
    asked = (sorted_columns(each, NAMES, folder, BUDGET).get for each in (windows[:2], windows[2]))
    return {each.column: each for each in drift.measure(*sides, ordered=(next(asked), next(asked)))}


def finite(windows: Sequence[Window], name: str) -> F64:
    values = np.concatenate([pl.read_parquet(each.uri)[name].cast(pl.Float64).to_numpy() for each in windows])
    return values[np.isfinite(values)]


SCIPY: dict[str, Callable[[F64, F64], float]] = {
    "ks": lambda x, y: stats.ks_2samp(x, y).statistic,
    "w1": stats.wasserstein_distance,
    "cvm": lambda x, y: stats.cramervonmises_2samp(x, y).statistic,
    "mann_whitney": lambda x, y: stats.mannwhitneyu(x, y).statistic,
}


@pytest.mark.parametrize("name", NAMES)
def test_statistics_in_order_are_scipys_on_every_row_of_the_windows(
    name: str, sides: tuple[Profile, Profile], windows: list[Window], tmp_path: Path
) -> None:
    found = measured(sides, windows, tmp_path)[name]
    x, y = finite(windows[:2], name), finite(windows[2:], name)
    assert not found.drawn
    for statistic, theirs in SCIPY.items():
        assert found.measures[statistic].value == pytest.approx(theirs(x, y), rel=1e-9), statistic
    assert found.measures["ks"].p_value == pytest.approx(stats.ks_2samp(x, y, method="asymp").pvalue, rel=1e-6, abs=1e-300)


def test_a_sample_is_off_by_no_more_than_it_says_and_is_said_to_be_one(
    sides: tuple[Profile, Profile], windows: list[Window], tmp_path: Path
) -> None:
    whole = {name: each.measures["ks"].value for name, each in measured(sides, windows, tmp_path).items()}
    report = drift.compare(*sides, DriftLimits(), "w", 1)
    (note,) = report.notes
    assert note.startswith("statistics over sorted values of speed, narrow, late, minutes are of samples, 10,000 values")
    assert note.endswith("their ranks are off by 0.0195 of all at most, at 99.9% confidence")
    for column in report.columns:  # each side's sample is off by that much at most
        assert abs(column.statistics["ks"] - whole[column.column]) <= 2 * profile.rank_error(profile.SAMPLE)


def test_the_second_comparison_reads_no_window(
    sides: tuple[Profile, Profile], windows: list[Window], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measured(sides, windows, tmp_path)
    monkeypatch.setattr(pl, "read_parquet", lambda *_, **__: pytest.fail("a window was read again"))
    again = measured(sides, windows, tmp_path)
    assert {name: each.measures for name, each in again.items()} == {name: each.measures for name, each in first.items()}


def test_what_a_sample_holds_whole_is_not_read(windows: list[Window], tmp_path: Path) -> None:
    small = profiling.build(table(3, rows=500), SCHEMA)
    other = profiling.build(table(4, rows=700), SCHEMA, small.edges)
    asked = exact.WhileThere(sorted_columns(windows[0], NAMES, tmp_path / "sorted", BUDGET))
    report = drift.compare(small, other, DriftLimits(exact=True), "w", 1, ordered=(asked, asked))
    assert not report.notes
    assert not (tmp_path / "sorted").exists()


def test_columns_are_asked_for_as_they_are_compared(
    sides: tuple[Profile, Profile], windows: list[Window], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "VALUES", 2 * 2 * ROWS)  # two columns of the reference
    asked: list[str] = []
    numbers = suite.numbers
    monkeypatch.setattr(suite, "numbers", lambda *args: asked.append("compared") or numbers(*args))
    columns = sorted_columns(windows[:2], NAMES, tmp_path, BUDGET), sorted_columns(windows[2], NAMES, tmp_path, BUDGET)
    one, other = (lambda name, side=side: asked.append(name) or side[name] for side in columns)
    found = drift.measure(*sides, ordered=(one, other))
    assert asked == [*("speed", "narrow") * 2, "compared", *("late", "minutes") * 2, "compared"]
    assert {each.column: each for each in found} == measured(sides, windows, tmp_path)


def test_a_lost_window_leaves_the_sample_and_says_so(
    sides: tuple[Profile, Profile], windows: list[Window], tmp_path: Path
) -> None:
    gone = Window("toy", "2", "/gone.parquet", "0" * 64, ROWS)
    before = exact.WhileThere(sorted_columns([windows[0], gone], NAMES, tmp_path, BUDGET))
    after = sorted_columns(windows[2], NAMES, tmp_path, BUDGET).get
    report = drift.compare(*sides, DriftLimits(exact=True), "w", 1, ordered=(before, after))
    assert list(before.notes) == [
        "window 2 of toy cannot be read from /gone.parquet: it is gone; the profile's sample stands in for every value"
    ]
    assert "speed, narrow, late, minutes are of samples" in report.notes[0]
    speed = report.columns[0]
    reference = np.asarray(sides[0].samples[0])
    assert speed.statistics["ks"] == pytest.approx(stats.ks_2samp(reference, finite(windows[2:], "speed")).statistic, rel=1e-9)
