from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from kernels.statistics import total_variation
from kernels.statistics.total_variation import measure


def test_it_is_the_share_of_rows_that_have_to_move() -> None:
    p, q = np.array([[10, 40, 50], [1, 0, 0]]), np.array([[30, 30, 40], [0, 5, 5]])
    np.testing.assert_allclose(total_variation.total_variation(p, q), [0.2, 1.0])


@pytest.mark.parametrize("p", [[0.3, 0.7], [0.01, 0.01, 0.98], [0.1] * 10], ids=["two", "one that holds nearly all", "ten"])
def test_mean_and_mean_square_under_no_change_are_those_of_normal_bins(p: list[float]) -> None:
    shares = np.array(p)
    covariance = np.diag(shares) - np.outer(shares, shares)
    bins = np.random.default_rng(0).multivariate_normal(np.zeros(len(p)), covariance, 200_000)
    distances = np.abs(bins).sum(axis=1) / 2
    mean, square = total_variation._by_chance(shares)
    np.testing.assert_allclose([mean, square], [distances.mean(), np.mean(distances**2)], rtol=0.01)


@pytest.mark.parametrize("freedom", [1.0, 2.5, 30.0, 5000.0])
def test_the_freedom_is_that_of_the_chi_variable_with_the_ratio(freedom: float) -> None:
    ratio = stats.chi.mean(freedom) ** 2 / freedom
    np.testing.assert_allclose(total_variation._freedom(np.array(ratio)), freedom, rtol=1e-6)


def test_two_bins_have_the_chance_that_chi_squared_gives_them() -> None:
    p, q = np.array([500, 500]), np.array([470, 530])
    expected: NDArray[np.float64] = stats.chi2_contingency([p, q], correction=False).pvalue
    np.testing.assert_allclose(measure(p, q).p_value, expected, rtol=0.02)
