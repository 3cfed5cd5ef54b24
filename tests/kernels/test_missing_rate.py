from __future__ import annotations

import numpy as np

import kernels
from kernels.statistics.missing_rate import measure


def profiled(rows: int, *missing: int) -> kernels.ColumnCounts:
    table = np.ones((rows, len(missing)))
    for column, number in enumerate(missing):
        table[:number, column] = np.nan
    return kernels.profile(table, np.zeros((len(missing), 1)))


def test_the_difference_in_shares_has_newcombes_interval() -> None:
    # Newcombe 1998, table II: 56/70 less 48/80, and 9/10 less 3/10, by his method 10.
    found = measure(profiled(80, 48), profiled(70, 56))
    np.testing.assert_allclose([found.value[0], found.low[0], found.high[0]], [0.2, 0.0524, 0.3339], atol=5e-5)
    found = measure(profiled(10, 3), profiled(10, 9))
    np.testing.assert_allclose([found.effect[0], found.low[0], found.high[0]], [0.6, 0.1705, 0.8090], atol=5e-5)


def test_columns_that_miss_nothing_have_not_changed_but_are_not_known_exactly() -> None:
    found = measure(profiled(1000, 0, 1000), profiled(100, 0, 100))
    assert found.p_value.tolist() == [1.0, 1.0]
    assert found.value.tolist() == [0.0, 0.0]
    assert (found.low < 0).all()
    assert (found.high > 0).all()


def test_one_missing_value_is_no_alarm_and_a_dead_sensor_is() -> None:
    found = measure(profiled(100_000, 0, 5), profiled(1000, 1, 1000))
    assert found.p_value[0] > 0.01
    assert found.p_value[1] < 1e-100


def test_intervals_cover_and_alarms_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(0)
    before, after = profiled(2000, *rng.binomial(2000, 0.03, 1000)), profiled(500, *rng.binomial(500, 0.06, 1000))
    changed, unchanged = measure(before, after), measure(before, profiled(500, *rng.binomial(500, 0.03, 1000)))
    assert 0.93 <= np.mean((changed.low <= 0.03) & (changed.high >= 0.03)) <= 0.98
    assert 0.03 <= np.mean(unchanged.p_value < 0.05) <= 0.07


def test_a_side_without_rows_says_nothing() -> None:
    found = measure(profiled(0, 0), profiled(10, 1))
    assert np.isnan([found.value[0], found.p_value[0], found.effect[0], found.low[0], found.high[0]]).all()
