from __future__ import annotations

import numpy as np
from scipy import stats

from kernels.statistics.kl import kl


def test_it_is_scipys_entropy_of_the_current_against_the_reference() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.integers(1, 400, (50, 12)), rng.integers(0, 40, (50, 12))
    q[:, 0] += 1
    np.testing.assert_allclose(kl(p, q, smoothing=0), stats.entropy(q, p, axis=1), rtol=1e-9)
    np.testing.assert_allclose(kl(p, q), stats.entropy(q + 0.5, p + 0.5, axis=1), rtol=1e-9)


def test_a_new_bin_is_infinite_without_smoothing_and_a_lost_one_is_not() -> None:
    assert kl(np.array([5, 0]), np.array([3, 2]), smoothing=0) == np.inf
    assert kl(np.array([3, 2]), np.array([5, 0]), smoothing=0) == np.log(5 / 3)
    assert kl(np.array([5, 0]), np.array([3, 2])) < 1


def test_a_side_without_counts_says_nothing() -> None:
    assert np.isnan(kl(np.array([[0, 0], [1, 1]]), np.array([[1, 1], [0, 0]]))).all()
