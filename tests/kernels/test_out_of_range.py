from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kernels.statistics.out_of_range import measure


def whole(*numbers: int) -> list[np.ndarray]:
    return [np.array([number]) for number in numbers]


@settings(deadline=None, max_examples=200)
@given(st.integers(2, 2000), st.integers(1, 500), st.data())
def test_its_chance_is_the_beta_binomials(reference_rows: int, current_rows: int, data: st.DataObject) -> None:
    outside = data.draw(st.integers(0, current_rows))
    found = measure(*whole(outside, current_rows, reference_rows))
    expected = stats.betabinom(current_rows, 2, reference_rows - 1).pmf(np.arange(outside, current_rows + 1)).sum()
    np.testing.assert_allclose(found.p_value[0], expected, rtol=1e-8, atol=1e-300)
    np.testing.assert_allclose(found.value[0], outside / current_rows)


def test_whatever_the_distribution_no_more_alarms_than_promised() -> None:
    rng = np.random.default_rng(0)
    for draw in (rng.standard_normal, rng.standard_cauchy, rng.standard_exponential):
        reference, current = draw((300, 2000)), draw((200, 2000))
        outside = ((current < reference.min(axis=0)) | (current > reference.max(axis=0))).sum(axis=0)
        chances = measure(outside, np.full(2000, 200), np.full(2000, 300)).p_value
        for level in (0.01, 0.05, 0.2):
            assert np.mean(chances <= level) <= level + 3 * np.sqrt(level / 2000)
        assert np.mean(chances <= 0.2) > 0.08


def test_millions_of_rows_lose_no_digits() -> None:
    found = measure(*whole(30, 10**7, 10**7))
    # Far from the ends the values between two reference values are geometric, one in two.
    np.testing.assert_allclose(found.p_value[0], stats.nbinom(2, 0.5).sf(29), rtol=1e-4)


def test_one_reference_value_has_no_range_and_none_says_nothing() -> None:
    np.testing.assert_allclose(measure(*whole(50, 50, 1)).p_value, [1.0], rtol=1e-12)
    for nothing in (measure(*whole(0, 0, 9)), measure(*whole(3, 3, 0))):
        assert np.isnan([nothing.value[0], nothing.p_value[0], nothing.low[0], nothing.high[0]]).all()


def test_the_interval_is_clopper_and_pearsons() -> None:
    found = measure(*whole(7, 300, 1000), confidence=0.9)
    expected = stats.binomtest(7, 300).proportion_ci(0.9, "exact")
    np.testing.assert_allclose([found.low[0], found.high[0]], [expected.low, expected.high], rtol=1e-9)
