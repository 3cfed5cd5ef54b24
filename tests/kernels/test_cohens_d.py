from __future__ import annotations

import numpy as np

import kernels
from kernels.statistics.cohens_d import cohens_d


def moments(*columns: list[float]) -> kernels.ColumnCounts:
    return kernels.profile(np.array(columns, float).T.reshape(-1, len(columns)), np.zeros((len(columns), 1)))


def test_it_is_the_difference_in_pooled_deviations() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((400, 1)), rng.standard_normal((300, 1)) * 2 + 1
    pooled = np.sqrt((399 * a.var(ddof=1) + 299 * b.var(ddof=1)) / 698)
    edges = np.zeros((1, 1))
    np.testing.assert_allclose(cohens_d(kernels.profile(a, edges), kernels.profile(b, edges)), (b.mean() - a.mean()) / pooled)


def test_constants_that_differ_are_infinitely_far_in_their_direction() -> None:
    assert cohens_d(moments([1, 1], [1, 1], [1, 1]), moments([2, 2], [0, 0], [1, 1])).tolist() == [np.inf, -np.inf, 0.0]


def test_too_few_values_have_no_effect_size() -> None:
    nan = np.nan
    assert np.isnan(cohens_d(moments([1.0, nan], [nan, nan]), moments([2.0, nan], [1.0, 2.0]))).all()
