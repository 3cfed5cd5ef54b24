from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from kernels.statistics import classifier_two_sample as c2st


def table(n: int, d: int, seed: int) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal((n, d))


def test_the_area_and_its_chance_are_mann_and_whitneys() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, 50).astype(float), rng.integers(1, 10, 70).astype(float)
    test = stats.mannwhitneyu(y, x, alternative="greater", method="asymptotic", use_continuity=False)
    area = c2st.classifier_two_sample(x, y)
    np.testing.assert_allclose(area, test.statistic / (50 * 70), rtol=1e-12)
    z = (area - 0.5) / c2st._variance_by_chance(x, y) ** 0.5
    np.testing.assert_allclose(stats.norm.sf(z), test.pvalue, rtol=1e-9)


def test_the_areas_variance_is_delongs() -> None:
    x, y = table(20, 1, 0)[:, 0], table(30, 1, 1)[:, 0] + 0.5
    wins = (y[:, None] > x).astype(float)
    by_hand = wins.mean(axis=1).var(ddof=1) / 30 + wins.mean(axis=0).var(ddof=1) / 20
    np.testing.assert_allclose(c2st._variance(x, y), by_hand, rtol=1e-12)


def test_without_a_change_alarms_are_as_rare_as_they_should_be() -> None:
    found = [c2st.measure(table(100, 3, s), table(130, 3, 1000 + s), seed=s) for s in range(120)]
    assert np.mean([f.p_value <= 0.05 for f in found]) < 0.1
    assert 0.3 < np.mean([f.p_value <= 0.5 for f in found]) < 0.7


def test_a_change_in_the_relation_of_two_columns_is_seen() -> None:
    x, y = table(1000, 3, 0), table(800, 3, 1)
    y[:, 2] = np.sign(y[:, 0] * y[:, 1]) * np.abs(y[:, 2])
    found = c2st.measure(x, y)
    assert found.p_value < 1e-6
    assert 0.1 < found.low < found.effect < found.high < 0.5
    again = c2st.measure(x, y)
    assert (again.value, again.low) == (found.value, found.low)


def test_values_that_go_missing_are_a_change() -> None:
    x, y = table(500, 2, 0), table(500, 2, 1)
    x[::20, 0], x[3, 1] = np.nan, np.inf
    y[::2, 0] = np.nan
    assert c2st.measure(x, y).p_value < 1e-6


@pytest.mark.parametrize("empty", [0, 3])
def test_what_cannot_be_seen_is_not_stable(empty: int) -> None:
    x = table(50, 2, 0)
    for found in (c2st.measure(x, x[:empty]), c2st.measure(x[:empty], x)):
        assert np.isnan([found.value, found.p_value, found.effect, found.low, found.high]).all()


def test_tables_without_any_difference_are_not_told_apart() -> None:
    constant = c2st.measure(np.full((50, 2), 7.0), np.full((40, 2), 7.0))
    assert (constant.value, constant.p_value, constant.effect) == (0.5, 1.0, 0.0)
    assert c2st.measure(table(30, 90, 0), table(30, 90, 1)).p_value > 0.01


def test_tables_without_any_overlap_are() -> None:
    apart = c2st.measure(table(60, 1, 0), table(60, 1, 1) + 20)
    assert (apart.value, apart.high) == (1.0, 0.5)
    assert apart.p_value < 1e-6
