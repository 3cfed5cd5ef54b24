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
from kernels.statistics.variance_ratio import measure

NUMBERS = st.floats(-1e3, 1e3, width=32)


def profiled(x: NDArray[Any]) -> kernels.ColumnCounts:
    return kernels.profile(x, np.zeros((x.shape[1], 1), x.dtype))


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(float, (7, 3), elements=NUMBERS), hnp.arrays(float, (5, 3), elements=NUMBERS))
def test_its_chance_is_that_of_scipys_f(x: NDArray[Any], y: NDArray[Any]) -> None:
    spread = (np.ptp(x, axis=0) > 1e-3) & (np.ptp(y, axis=0) > 1e-3)
    found = measure(profiled(x), profiled(y))
    ratio = y[:, spread].var(axis=0, ddof=1) / x[:, spread].var(axis=0, ddof=1)
    np.testing.assert_allclose(found.value[spread], ratio, rtol=1e-9)
    expected = np.minimum(1, 2 * np.minimum(stats.f.cdf(ratio, 4, 6), stats.f.sf(ratio, 4, 6)))
    np.testing.assert_allclose(found.p_value[spread], expected, rtol=1e-9)


def test_of_normal_values_the_chance_is_uniform_the_interval_covers_and_the_effect_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    before = profiled(rng.standard_normal((30, 4000)))
    same, wider = (measure(before, profiled(s * rng.standard_normal((12, 4000)))) for s in (1, 2))
    assert 0.04 <= np.mean(same.p_value < 0.05) <= 0.06
    assert abs(wider.effect.mean() - np.log(4)) < 0.03
    assert 0.94 <= np.mean((wider.low <= np.log(4)) & (np.log(4) <= wider.high)) <= 0.96


def test_of_exponential_values_the_chance_is_worthless_as_said() -> None:
    rng = np.random.default_rng(0)
    found = measure(*(profiled(rng.standard_exponential((500, 2000))) for _ in range(2)))
    assert 0.25 < np.mean(found.p_value < 0.05) < 0.4


def test_a_column_that_became_constant_or_stopped_being_so_is_certain() -> None:
    constant, spread = profiled(np.ones((5, 1))), profiled(np.arange(5.0)[:, None])
    froze, woke, same = measure(spread, constant), measure(constant, spread), measure(constant, constant)
    assert (froze.value[0], froze.p_value[0], froze.effect[0]) == (0.0, 0.0, -np.inf)
    assert (woke.value[0], woke.p_value[0], woke.effect[0]) == (np.inf, 0.0, np.inf)
    assert (same.value[0], same.p_value[0], same.effect[0]) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_values_say_nothing(rows: int) -> None:
    found = measure(profiled(np.ones((rows, 1))), profiled(np.arange(9.0)[:, None]))
    assert np.isnan([found.value[0], found.p_value[0], found.effect[0], found.low[0], found.high[0]]).all()
