"""What holds for every statistic of two rows of counts: uniform chances, intervals that cover, effects that do not grow."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import special, stats

from kernels.statistics import (
    chi_squared,
    cramers_v,
    divergence_interval,
    g_test,
    hellinger,
    jensen_shannon,
    kl,
    l_infinity,
    psi,
    total_variation,
)

Shares = NDArray[np.float64]

ROUNDS = 1500  # of a simulation
FAMILY = [psi, jensen_shannon, kl, hellinger, total_variation, l_infinity, chi_squared, g_test, cramers_v]
every_statistic = pytest.mark.parametrize("statistic", FAMILY, ids=lambda module: module.__name__.rsplit(".", 1)[-1])


def truth(statistic: ModuleType, p: Shares, q: Shares, n: int, m: int) -> float:
    """The quantity that the effect estimates, of two populations."""
    a = n / (n + m)
    mixture = a * p + (1 - a) * q
    w = np.sqrt(a * (1 - a) * np.sum((p - q) ** 2 / mixture))
    found: dict[ModuleType, float] = {
        psi: np.sum((q - p) * np.log(q / p)),
        kl: stats.entropy(q, p),
        jensen_shannon: np.sqrt((stats.entropy(p, (p + q) / 2, 2) + stats.entropy(q, (p + q) / 2, 2)) / 2),
        hellinger: np.sqrt(1 - np.sum(np.sqrt(p * q))),
        total_variation: np.sum(np.abs(p - q)) / 2,
        l_infinity: np.max(np.abs(p - q)),
        chi_squared: w,
        cramers_v: w,
        g_test: np.sqrt(2 * (a * stats.entropy(p, mixture) + (1 - a) * stats.entropy(q, mixture))),
    }
    return float(found[statistic])


def shifted(deviations: float, bins: int) -> tuple[Shares, Shares]:
    """A standard normal column in bins of equal weight, and the shares once it has moved."""
    edges = stats.norm.ppf(np.linspace(0, 1, bins + 1))
    return np.full(bins, 1 / bins), np.diff(stats.norm.cdf(edges - deviations))


@every_statistic
@pytest.mark.parametrize(("bins", "n", "m"), [(2, 1000, 500), (10, 2000, 2000), (32, 100_000, 1000)])
def test_where_nothing_changed_chances_are_uniform_and_intervals_hold_0(statistic: ModuleType, bins: int, n: int, m: int) -> None:
    rng = np.random.default_rng(bins)
    p = shifted(0, bins)[0]
    found = statistic.measure(rng.multinomial(n, p, ROUNDS), rng.multinomial(m, p, ROUNDS))
    for level in (0.01, 0.05, 0.25, 0.5):
        assert abs(np.mean(found.p_value <= level) - level) < 4 * np.sqrt(level * (1 - level) / ROUNDS) + 0.1 * level
    assert np.mean(found.low == 0) > 0.96


@every_statistic
@pytest.mark.parametrize(
    ("deviations", "bins", "n", "m"), [(0.1, 10, 2000, 2000), (0.3, 32, 100_000, 2000), (1.0, 10, 5000, 5000)]
)
def test_intervals_cover_near_and_far(statistic: ModuleType, deviations: float, bins: int, n: int, m: int) -> None:
    rng = np.random.default_rng(bins)
    p, q = shifted(deviations, bins)
    found = statistic.measure(rng.multinomial(n, p, ROUNDS), rng.multinomial(m, q, ROUNDS))
    true = truth(statistic, p, q, n, m)
    assert 0.93 <= np.mean((found.low <= true) & (true <= found.high)) <= 0.99
    assert abs(np.mean(found.effect) - true) < 0.15 * true  # the root of what was debiased is a little low


@every_statistic
def test_the_effect_does_not_grow_with_the_rows_and_the_interval_closes_in_on_it(statistic: ModuleType) -> None:
    p, q = (np.round(10_000 * shares).astype(np.int64) for shares in shifted(0.5, 10))
    few, many = statistic.measure(p, q), statistic.measure(1000 * p, 1000 * q)
    np.testing.assert_allclose(few.effect, many.effect, rtol=0.02)
    assert few.low < many.low < many.effect < many.high < few.high


@every_statistic
@settings(deadline=None, max_examples=25)
@given(st.data())
def test_any_counts_give_an_effect_inside_its_interval(statistic: ModuleType, data: st.DataObject) -> None:
    shape = (3, data.draw(st.integers(1, 12)))
    sizes = st.one_of(st.integers(0, 3), st.integers(0, 10**9))
    a, b = (data.draw(hnp.arrays(np.int64, shape, elements=sizes)) for _ in range(2))
    found = statistic.measure(a, b)
    known = (a.sum(axis=1) > 0) & (b.sum(axis=1) > 0)
    for values in (found.value, found.p_value, found.effect, found.low, found.high):
        assert (values.dtype, values.shape) == (np.float64, (3,))
        np.testing.assert_array_equal(np.isnan(values), ~known)
    assert np.all((found.p_value >= 0) & (found.p_value <= 1) | ~known)
    assert np.all((found.low >= 0) & (found.low <= found.effect) & (found.effect <= found.high) | ~known)


@every_statistic
def test_the_value_is_the_plain_functions(statistic: ModuleType) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 300, (50, 12)), rng.integers(0, 30, (50, 12))
    plain = getattr(statistic, statistic.__name__.rsplit(".", 1)[-1])(a, b)
    np.testing.assert_array_equal(statistic.measure(a, b).value, plain.statistic if statistic is chi_squared else plain)


@every_statistic
def test_one_bin_has_not_changed_and_more_categories_than_rows_do_not_cry_wolf(statistic: ModuleType) -> None:
    one = statistic.measure(np.array([[40, 0]]), np.array([[90, 0]]))
    assert (one.p_value[0], one.effect[0], one.low[0]) == (1.0, 0.0, 0.0)
    assert one.high[0] > 0  # another category may have been missed
    each_once = statistic.measure(np.eye(2, 60, dtype=int).repeat(30, 1)[:1], np.eye(2, 60, dtype=int).repeat(30, 1)[1:])
    assert each_once.p_value[0] == 1.0


@every_statistic
def test_a_single_row_of_a_new_category_is_no_drift(statistic: ModuleType) -> None:
    before, after = np.array([500_000, 500_000, 0]), np.array([500, 499, 1])
    assert statistic.measure(before, after).p_value > 0.001
    assert statistic.measure(before, np.array([475, 475, 50])).p_value < 0.01


@every_statistic
def test_bins_that_are_empty_on_both_sides_carry_nothing(statistic: ModuleType) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 300, (20, 9)), rng.integers(0, 30, (20, 9))
    wide_a, wide_b = (np.concatenate([counts, np.zeros((20, 40), np.int64)], axis=1) for counts in (a, b))
    plain, wide = statistic.measure(a, b), statistic.measure(wide_a, wide_b)
    for name in ("value", "p_value", "effect", "low", "high"):
        np.testing.assert_allclose(getattr(wide, name), getattr(plain, name), rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("freedom", [1.0, 9.0, 31.0, 999.0])
def test_limits_invert_the_noncentral_distribution_search_and_series_alike(freedom: float) -> None:
    statistics = freedom * np.array([1.5, 3.0]) + np.array([0.0, 900.0])
    statistics = np.concatenate([statistics, [2.0 * freedom + 1001.0, 50_000.0, 1e6]])
    excess, low, high = divergence_interval.noncentrality(statistics, np.full(5, freedom), np.ones(5), 0.95)
    np.testing.assert_allclose(excess, statistics - freedom)
    inside = low > 0
    np.testing.assert_allclose(special.chndtr(statistics, freedom, low)[inside], 0.975, atol=1e-3)
    np.testing.assert_allclose(special.chndtr(statistics, freedom, high), 0.025, atol=1e-3)
    assert np.all(special.chndtr(statistics, freedom, 0)[~inside] <= 0.975)


def test_a_wider_spread_stretches_an_interval_far_away_and_not_near() -> None:
    near, far = 12.0, 10_000.0
    _, low, high = divergence_interval.noncentrality(
        np.array([near, near, far, far]), np.full(4, 10.0), np.array([1.0, 4.0, 1.0, 4.0]), 0.95
    )
    widths = high - low
    assert widths[1] / widths[0] < 1.5
    np.testing.assert_allclose(widths[3] / widths[2], 2.0, rtol=0.01)
