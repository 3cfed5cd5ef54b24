from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from kernels.statistics.chi_squared import chi_squared, measure, survival


@pytest.mark.parametrize("freedom", [1, 2, 3, 10, 31, 255, 1000, 5000])
def test_the_survival_function_is_scipys_into_the_tail(freedom: int) -> None:
    statistics = freedom * np.concatenate([[0.0, 1e-8], np.linspace(0.01, 4, 80)])
    expected = stats.chi2.sf(statistics, freedom)
    np.testing.assert_allclose([survival(s, freedom) for s in statistics.tolist()], expected, rtol=1e-10, atol=1e-290)


def test_unpooled_it_is_scipys_contingency_test() -> None:
    rng = np.random.default_rng(0)
    reference, current = rng.integers(1, 90, (20, 7)), rng.integers(1, 60, (20, 7))
    found = chi_squared(reference, current, least_expected=0)
    for i in range(20):
        expected = stats.chi2_contingency(np.stack([reference[i], current[i]]), correction=False)
        np.testing.assert_allclose(found.statistic[i], expected.statistic, rtol=1e-9)
        np.testing.assert_allclose(found.p_value[i], expected.pvalue, rtol=1e-9)
        assert found.freedom[i] == expected.dof


def test_categories_that_are_empty_in_both_rows_carry_no_degree_of_freedom() -> None:
    found = chi_squared(np.array([30, 0, 20, 0]), np.array([20, 0, 30, 0]), least_expected=0)
    assert (found.freedom, found.statistic) == (1, 4.0)


def test_rare_categories_are_tested_as_one() -> None:
    found = chi_squared(np.array([91, 3, 3, 3]), np.array([82, 6, 6, 6]))
    expected = stats.chi2_contingency([[91, 9], [82, 18]], correction=False)
    assert found.freedom == 1
    np.testing.assert_allclose(found.p_value, expected.pvalue, rtol=1e-9)


def test_one_category_cannot_have_shifted_and_no_rows_say_nothing() -> None:
    found = chi_squared(np.array([[40, 0], [0, 0]]), np.array([[90, 0], [5, 5]]))
    assert (found.statistic[0], found.p_value[0]) == (0.0, 1.0)
    assert np.isnan([found.statistic[1], found.p_value[1]]).all()


def test_an_overwhelming_shift_has_p_value_0() -> None:
    assert chi_squared(np.array([10**6, 0]), np.array([0, 10**6])).p_value == 0.0


def test_measured_it_is_scipys_where_no_category_is_rare() -> None:
    rng = np.random.default_rng(0)
    reference, current = rng.integers(40, 90, (20, 7)), rng.integers(20, 60, (20, 7))
    found = measure(reference, current)
    expected = [stats.chi2_contingency(np.stack(rows), correction=False) for rows in zip(reference, current, strict=True)]
    np.testing.assert_allclose(found.value, [test.statistic for test in expected], rtol=1e-9)
    np.testing.assert_allclose(found.p_value, [test.pvalue for test in expected], rtol=1e-9)
