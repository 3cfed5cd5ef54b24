from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kernels.statistics import two_proportions


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_where_cells_are_small_it_is_fishers_with_the_smaller_tail_doubled(n: int, m: int, data: st.DataObject) -> None:
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    found = two_proportions.p_value(np.array([a]), np.array([n]), np.array([b]), np.array([m]))[0]
    if min(a + b, n + m - a - b) * min(n, m) / (n + m) >= two_proportions.FEW:
        expected = stats.chi2_contingency([[a, n - a], [b, m - b]], correction=False).pvalue
    else:
        count = stats.hypergeom(n + m, a + b, m)
        expected = min(1.0, 2 * min(count.cdf(b), count.sf(b - 1)))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("b", [0, 1, 3, 40, 900])
def test_a_rare_thing_in_a_small_window_has_its_exact_chance(b: int) -> None:
    n, m, a = 10**6, 1000, 2
    count = stats.hypergeom(n + m, a + b, m)
    found = two_proportions.p_value(*(np.array([x]) for x in (a, n, b, m)))
    np.testing.assert_allclose(found, min(1.0, 2 * min(count.cdf(b), count.sf(b - 1))), rtol=1e-6)
    mirrored = two_proportions.p_value(*(np.array([x]) for x in (m - b, m, n - a, n)))
    np.testing.assert_allclose(mirrored, found, rtol=1e-9)


def test_nothing_anywhere_has_not_changed_and_no_rows_say_nothing() -> None:
    found = two_proportions.p_value(np.array([0, 5, 0]), np.array([9, 5, 0]), np.array([0, 7, 1]), np.array([9, 7, 3]))
    assert found[:2].tolist() == [1.0, 1.0]
    assert np.isnan(found[2])


@settings(deadline=None)
@given(st.integers(1, 10**6), st.floats(0, 1))
def test_single_intervals_are_scipys(rows: int, share: float) -> None:
    successes = round(rows * share)
    test = stats.binomtest(successes, rows)
    for method, found in (("wilson", two_proportions.wilson), ("exact", two_proportions.clopper_pearson)):
        expected = test.proportion_ci(0.9, method)
        np.testing.assert_allclose(found(np.array(successes), np.array(rows), 0.9), [*expected], rtol=1e-7, atol=1e-12)
