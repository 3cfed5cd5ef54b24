from __future__ import annotations

import numpy as np
from scipy import stats

from kernels.statistics import g_test


def test_it_is_scipys_likelihood_ratio_and_its_chance() -> None:
    rng = np.random.default_rng(0)
    reference, current = rng.integers(40, 90, (20, 7)), rng.integers(20, 60, (20, 7))
    found = g_test.measure(reference, current)
    for i in range(20):
        table = np.stack([reference[i], current[i]])
        expected = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
        np.testing.assert_allclose([found.value[i], found.p_value[i]], [expected.statistic, expected.pvalue], rtol=1e-9)


def test_close_shares_of_many_rows_lose_no_digits() -> None:
    reference = np.array([10**12, 2 * 10**12])
    current = reference + np.array([10**4, -(10**4)])
    chi_squared = stats.chi2_contingency([reference, current], correction=False).statistic
    np.testing.assert_allclose(g_test.g_test(reference, current), chi_squared, rtol=1e-6)


def test_a_category_that_is_on_one_side_only_adds_a_finite_term() -> None:
    np.testing.assert_allclose(g_test.g_test(np.array([10, 0]), np.array([0, 10])), 2 * 20 * np.log(2))
    assert np.isnan(g_test.g_test(np.array([0, 0]), np.array([1, 1])))
