from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import stats

from kernels.statistics.quantile_shift import LEVELS, measure, quantile_shift

SAMPLES = hnp.arrays(
    np.float64, st.integers(1, 80), elements=st.one_of(st.floats(-(2**20), 2**20), st.integers(-3, 3).map(float))
).map(np.sort)


@settings(deadline=None, max_examples=150)
@given(SAMPLES, SAMPLES)
def test_it_is_numpys_quantiles(a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
    before, after = (np.quantile(x, LEVELS, method="inverted_cdf") for x in (a, b))
    shifts, width = after - before, before[3] - before[1]
    found = measure([a], [b])
    assert found.low[0] <= found.effect[0] <= found.high[0]
    if width == 0:
        assert found.effect[0] == (np.inf if shifts.any() else 0.0)
    else:
        np.testing.assert_allclose(abs(found.value[0]), np.abs(shifts / width).max(), rtol=1e-9)
        assert found.effect[0] == abs(found.value[0])


def test_a_fall_is_negative() -> None:
    column = np.arange(100.0)
    assert quantile_shift([column], [column - 25])[0] == -0.5


def test_infinities_shift_infinitely_far_or_not_at_all() -> None:
    rows = np.arange(100.0)
    one, two = np.concatenate([rows, [np.inf] * 10]), np.concatenate([rows, [np.inf] * 11])
    assert quantile_shift([one, rows], [two, one]).tolist()[1] == np.inf
    assert np.isfinite(quantile_shift([one], [two])[0])


def test_no_rows_have_no_quantiles_and_few_have_no_bounds() -> None:
    none, few = np.array([]), np.array([1.0, 2.0, 3.0])
    found = measure([none, few, few], [few, none, few])
    assert np.isnan(found.effect[:2]).all()
    assert np.isnan(found.low[:2]).all()
    assert (found.effect[2], found.low[2], found.high[2]) == (0.0, 0.0, np.inf)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.3, 1.0), (0.0, 1.3)])
def test_intervals_hold_the_populations_shift(mean: float, deviation: float) -> None:
    rng = np.random.default_rng(0)
    quantiles = stats.norm.ppf(LEVELS)
    truth = np.abs(quantiles * deviation + mean - quantiles).max() / (quantiles[3] - quantiles[1])
    a, b = np.sort(rng.standard_normal((300, 2000))), np.sort(rng.standard_normal((300, 2000)) * deviation + mean)
    found = measure(list(a), list(b))
    assert np.mean((found.low <= truth) & (truth <= found.high)) >= 0.93
