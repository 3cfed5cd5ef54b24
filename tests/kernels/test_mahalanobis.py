from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import distance

from kernels.statistics.mahalanobis import mahalanobis, measure


def table(n: int, d: int, seed: int) -> NDArray[Any]:
    """Correlated normal columns."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) @ (np.eye(d) + np.triu(np.full((d, d), 0.5), 1))


def test_it_is_scipys_with_the_pooled_covariance() -> None:
    x, y = table(50, 4, 0), table(80, 4, 1) + 0.3
    pooled = (49 * np.cov(x.T) + 79 * np.cov(y.T)) / 128
    expected = distance.mahalanobis(x.mean(axis=0), y.mean(axis=0), np.linalg.inv(pooled))
    np.testing.assert_allclose(mahalanobis(x, y), expected, rtol=1e-10)
    scaled = mahalanobis(x * [1e-6, 1, 1e6, 1] + 1e7, y * [1e-6, 1, 1e6, 1] + 1e7)
    assert abs(scaled - expected) < 0.01


def test_in_one_column_it_is_the_t_test_squared() -> None:
    x, y = table(30, 1, 0), table(40, 1, 1) + 0.4
    test, found = stats.ttest_ind(x[:, 0], y[:, 0]), measure(x, y)
    np.testing.assert_allclose([found.value, found.p_value], [test.statistic**2, test.pvalue], rtol=1e-9)


@pytest.mark.parametrize(("n", "d"), [(30, 3), (20, 60)])
def test_without_a_change_p_values_are_uniform_and_the_effect_is_mostly_nothing(n: int, d: int) -> None:
    found = [measure(table(n, d, s), table(n + 7, d, 1000 + s), seed=s) for s in range(400)]
    p = np.sort([float(f.p_value) for f in found])
    assert np.abs(p - np.arange(1, 401) / 400).max() < 0.0815  # Kolmogorov's 1% point
    assert np.mean([f.low == 0 for f in found]) > 0.95


@pytest.mark.parametrize(("n", "m"), [(60, 45), (8000, 9000)])
def test_the_interval_covers_the_true_distance(n: int, m: int) -> None:
    delta = np.array([0.5, 0.0, -0.3])
    found = [measure(table(n, 3, s), table(m, 3, 5000 + s) + delta * (0.1 if n > 1000 else 1)) for s in range(150)]
    mixing = np.eye(3) + np.triu(np.full((3, 3), 0.5), 1)
    true = float(np.linalg.norm(np.linalg.solve(mixing.T, delta))) * (0.1 if n > 1000 else 1)
    assert 0.9 <= np.mean([f.low <= true <= f.high for f in found]) <= 0.99
    assert abs(np.mean([float(f.effect) ** 2 for f in found]) / true**2 - 1) < 0.15


def test_a_shift_against_the_correlation_is_far_though_no_column_moved_much() -> None:
    rng = np.random.default_rng(0)
    both = rng.standard_normal((2000, 1)) + 0.05 * rng.standard_normal((2000, 2))
    found = measure(both[:1000], both[1000:] + np.array([0.1, -0.1]))
    assert found.p_value < 1e-9
    assert found.effect > 2.0


def test_columns_that_do_not_vary_or_repeat_others_are_left_out() -> None:
    x, y = table(50, 3, 0), table(60, 3, 1)
    plain = measure(x, y)

    def more(t: NDArray[Any]) -> NDArray[Any]:
        return np.column_stack([t, t[:, 0] + t[:, 1], np.full(len(t), 7.0)])

    found = measure(more(x), more(y))
    np.testing.assert_allclose([found.value, found.p_value], [plain.value, plain.p_value], rtol=1e-6)


def test_a_constant_that_moved_is_infinitely_far() -> None:
    x, y = np.full((20, 2), 7.0), np.full((30, 2), 7.0)
    same = measure(x, y)
    assert (same.value, same.p_value, same.effect) == (0.0, 1.0, 0.0)
    y[:, 1] = 8.0
    moved = measure(x, y)
    assert (moved.value, moved.p_value, moved.effect, moved.low) == (np.inf, 0.0, np.inf, np.inf)


def test_what_cannot_be_seen_is_not_stable() -> None:
    x = table(20, 3, 0)
    for one, other in ((x, x[:0]), (x[:0], x), (x, np.full((20, 3), np.nan)), (x[:1], x[:2])):
        found = measure(one, other)
        assert np.isnan([found.value, found.p_value, found.effect, found.low, found.high]).all()
    assert 0 < measure(x, x[:1] + 10).p_value < 0.01
