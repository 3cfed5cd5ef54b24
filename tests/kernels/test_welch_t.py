from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import stats

import kernels
from kernels.statistics.cohens_d import cohens_d
from kernels.statistics.welch_t import measure, welch_t

NUMBERS = st.floats(-1e3, 1e3, width=32)


def profiled(x: NDArray[Any]) -> kernels.ColumnCounts:
    return kernels.profile(x, np.zeros((x.shape[1], 1), x.dtype))


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(float, (7, 3), elements=NUMBERS), hnp.arrays(float, (5, 3), elements=NUMBERS))
def test_it_is_scipys_with_unequal_variances(x: NDArray[Any], y: NDArray[Any]) -> None:
    spread = (np.ptp(x, axis=0) > 1e-3) & (np.ptp(y, axis=0) > 1e-3)
    found = measure(profiled(x), profiled(y))
    expected = stats.ttest_ind(y[:, spread], x[:, spread], equal_var=False)
    np.testing.assert_allclose(found.value[spread], expected.statistic, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.p_value[spread], expected.pvalue, rtol=1e-9)


def test_against_a_constant_it_is_the_one_sample_test() -> None:
    y = np.arange(9.0)[:, None]
    found, expected = measure(profiled(np.full((5, 1), 3.0)), profiled(y)), stats.ttest_1samp(y, 3.0)
    np.testing.assert_allclose([found.value, found.p_value], [expected.statistic, expected.pvalue], rtol=1e-9)


def test_missing_values_have_no_part() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 1)), rng.standard_normal((40, 1))
    x[::7], y[::9] = np.nan, np.inf
    expected = stats.ttest_ind(y[np.isfinite(y)], x[np.isfinite(x)], equal_var=False)
    np.testing.assert_allclose(measure(profiled(x), profiled(y)).p_value, expected.pvalue, rtol=1e-9)


def test_the_effect_is_cohens_d_less_its_bias() -> None:
    rng = np.random.default_rng(0)
    before, after = profiled(rng.standard_normal((12, 4000))), profiled(rng.standard_normal((8, 4000)) + 0.8)
    found = measure(before, after)
    np.testing.assert_allclose(found.effect, cohens_d(before, after) * (1 - 3 / (4 * 18 - 1)), rtol=1e-3)
    assert abs(found.effect.mean() - 0.8) < 0.02 < cohens_d(before, after).mean() - 0.8


@pytest.mark.parametrize(("shift", "deviation"), [(0.0, 1.0), (0.3, 1.0), (1.0, 2.0)])
def test_the_interval_covers_whether_or_not_the_variances_are_equal(shift: float, deviation: float) -> None:
    rng = np.random.default_rng(0)
    n, m = 200, 100
    found = measure(profiled(rng.standard_normal((n, 2000))), profiled(deviation * rng.standard_normal((m, 2000)) + shift))
    true = shift / np.sqrt((n - 1 + (m - 1) * deviation**2) / (n + m - 2))
    assert 0.935 <= np.mean((found.low <= true) & (true <= found.high)) <= 0.965
    if shift == 0:
        assert 0.04 <= np.mean(found.p_value < 0.05) <= 0.06


def test_constants_that_differ_are_certain_and_those_that_do_not_are_the_same() -> None:
    one, two = profiled(np.ones((4, 1))), profiled(np.full((3, 1), 2.0))
    found = measure(one, two)
    assert (found.value[0], found.p_value[0], found.effect[0], found.low[0]) == (np.inf, 0.0, np.inf, np.inf)
    same = measure(one, one)
    assert (same.value[0], same.p_value[0], same.effect[0], same.low[0], same.high[0]) == (0.0, 1.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_values_say_nothing(rows: int) -> None:
    found = measure(profiled(np.ones((rows, 1))), profiled(np.arange(9.0)[:, None]))
    assert np.isnan([found.value[0], found.p_value[0], found.effect[0], found.low[0], found.high[0]]).all()
    nothing = measure(profiled(np.ones((rows, 1))), profiled(np.ones((0, 1))))
    assert np.isnan([nothing.value[0], nothing.p_value[0], nothing.effect[0], nothing.low[0]]).all()
    assert welch_t(profiled(np.ones((5, 0))), profiled(np.ones((5, 0)))).shape == (0,)
