from __future__ import annotations

import numpy as np
from scipy.spatial.distance import jensenshannon

from kernels.statistics.jensen_shannon import jensen_shannon


def test_it_is_scipys_distance_in_base_2() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.integers(0, 4, (50, 12)), rng.integers(0, 400, (50, 12))
    p[:, 0] = q[:, 0] = 1
    np.testing.assert_allclose(jensen_shannon(p, q), jensenshannon(p, q, base=2, axis=1), rtol=1e-9)


def test_it_runs_from_0_to_1_and_both_ways_alike() -> None:
    p, q = np.array([[5, 0, 5], [1, 2, 3]]), np.array([[0, 7, 0], [10, 20, 30]])
    assert jensen_shannon(p, q)[0] == jensen_shannon(q, p)[0] == 1.0
    assert jensen_shannon(p, q)[1] < 1e-7


def test_a_side_without_counts_has_no_distance() -> None:
    assert np.isnan(jensen_shannon(np.array([0, 0]), np.array([1, 1])))


def test_shares_that_differ_in_the_ninth_digit_are_told_apart() -> None:
    p, q = np.array([10**9, 10**9]), np.array([10**9 + 1, 10**9 - 1])
    np.testing.assert_allclose(jensen_shannon(p, q), 1e-9 / np.sqrt(8 * np.log(2)), rtol=1e-6)
