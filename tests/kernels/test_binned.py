"""Kolmogorov-Smirnov and Wasserstein-1 from counts alone, beside the exact ones."""

from __future__ import annotations

import numpy as np
from scipy import stats

from kernels import profile
from kernels.statistics import binned_ks, binned_wasserstein

RNG = np.random.default_rng(0)
BEFORE, AFTER = RNG.normal(0, 1, (20_000, 2)), RNG.normal([0.0, 0.3], [1.0, 1.5], (15_000, 2))
EDGES = np.tile(np.linspace(-8, 8, 4001), (2, 1))


def test_over_many_bins_they_are_nearly_the_exact_ones() -> None:
    before, after = profile(BEFORE, EDGES), profile(AFTER, EDGES)
    for j in range(2):
        exact = stats.ks_2samp(BEFORE[:, j], AFTER[:, j]).statistic
        assert exact - 1 / 500 <= binned_ks.binned_ks(before, after)[j] <= exact
        distance = stats.wasserstein_distance(BEFORE[:, j], AFTER[:, j])
        assert abs(binned_wasserstein.binned_wasserstein(before, after, EDGES)[j] - distance) < 0.005


def test_an_interval_covers_the_distance_of_the_populations() -> None:
    covered, edges = 0, np.linspace(-2, 2, 31)[None]
    for seed in range(300):
        random = np.random.default_rng(seed)
        before, after = (profile(random.normal(shift, 1, (800, 1)), edges) for shift in (0.0, 0.5))
        found = binned_wasserstein.measure(before, after, edges)
        covered += bool(found.low[0] <= 0.5 <= found.high[0])
    assert 270 <= covered <= 297  # of 300, 95% asked for


def test_no_values_and_constants_are_borne() -> None:
    edges = np.array([[0.0, 1.0], [0.0, 1.0]])
    empty, still = profile(np.full((5, 2), np.nan), edges), profile(np.full((5, 2), 0.5), edges)
    assert np.isnan(binned_ks.measure(empty, still).value).all()
    assert np.isnan(binned_wasserstein.measure(still, empty, edges).value).all()
    assert binned_wasserstein.measure(still, still, edges).effect.tolist() == [0.0, 0.0]
