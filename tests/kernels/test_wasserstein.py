from __future__ import annotations

import numpy as np
from scipy import stats

from kernels.statistics.wasserstein import normalised, wasserstein


def test_it_is_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = np.sort(rng.standard_normal(500)), np.sort(rng.exponential(size=700))
    np.testing.assert_allclose(wasserstein(a, b), stats.wasserstein_distance(a, b), rtol=1e-12)


def test_a_shift_by_two_deviations_is_2_in_any_unit() -> None:
    metres = np.sort(np.random.default_rng(0).standard_normal(1000))
    for unit in (1.0, 1000.0):
        distance = wasserstein(metres * unit, (metres + 2 * metres.std()) * unit)
        np.testing.assert_allclose(normalised(np.array([distance]), np.array([metres.std() * unit])), [2.0])


def test_leaving_a_constant_is_infinitely_far() -> None:
    assert normalised(np.array([0.1, 0.0]), np.zeros(2)).tolist() == [np.inf, 0.0]
