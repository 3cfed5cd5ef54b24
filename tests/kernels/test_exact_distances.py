"""`kernels.ks_wasserstein` against SciPy, and `kernels.sort_columns` on the CPU and as the GPU computes it."""

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
from kernels import cpu, cpu_ks_wasserstein, gpu

BACKENDS = pytest.mark.parametrize("backend", [cpu, gpu], ids=["cpu", "gpu's formula on NumPy"])
SAMPLES = hnp.arrays(
    st.sampled_from([np.float32, np.float64]),
    st.integers(2, 60),  # of a single value SciPy makes a sample of zero rows
    elements=st.one_of(st.floats(-(2**20), 2**20, width=32), st.integers(-3, 3).map(float)),
)


@settings(deadline=None, max_examples=60)
@given(a=SAMPLES, b=SAMPLES)
def test_both_are_scipys(a: NDArray[Any], b: NDArray[Any]) -> None:
    ks, distance = kernels.ks_wasserstein(np.sort(a), np.sort(b))
    np.testing.assert_allclose(
        ks, stats.ks_2samp(a.astype(float), b.astype(float), method="asymp").statistic, rtol=1e-9, atol=1e-15
    )
    np.testing.assert_allclose(distance, stats.wasserstein_distance(a.astype(float), b.astype(float)), rtol=1e-9, atol=1e-9)


def test_large_samples_of_different_sizes() -> None:
    rng = np.random.default_rng(0)
    a, b = np.sort(rng.standard_normal(40_000)), np.sort(rng.standard_normal(30_000).round(2) + 0.1)
    ks, distance = kernels.ks_wasserstein(a, b)
    np.testing.assert_allclose(ks, stats.ks_2samp(a.astype(float), b.astype(float), method="asymp").statistic, rtol=1e-12)
    np.testing.assert_allclose(distance, stats.wasserstein_distance(a, b), rtol=1e-12)


@st.composite
def pairs_of_thousands(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two samples of thousands of rows, as different in size and shape as in place."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from([np.float32, np.float64]))
    offset, ties = draw(st.sampled_from([0.0, -3.0, 1e6, 1e12])), draw(st.sampled_from([None, 0, 1, 2]))

    def sample() -> NDArray[Any]:
        rows = draw(st.sampled_from([1, 40, 700, 6000]))
        values = draw(st.sampled_from([rng.standard_normal, rng.standard_exponential, rng.standard_cauchy]))(rows)
        values[: int(rows * draw(st.sampled_from([0.0, 0.1, 0.9])))] = draw(st.sampled_from([0.0, 1.0, -1e5]))
        values *= draw(st.sampled_from([1.0, 1.0, 1.1]))
        return np.sort((values if ties is None else values.round(ties)).astype(kind) + kind(offset))

    a = sample()
    return a, np.sort(a + kind(rng.normal(size=len(a)) * 1e-3)) if draw(st.booleans()) else sample()


@settings(deadline=None, max_examples=80)
@given(pair=pairs_of_thousands())
def test_both_are_what_the_merge_of_all_rows_gives(pair: tuple[NDArray[Any], NDArray[Any]]) -> None:
    ks, distance = kernels.ks_wasserstein(*pair)
    gaps = kernels.sorted_gaps([pair[0]], [pair[1]])
    assert ks == gaps.widest[0]
    np.testing.assert_allclose(distance, gaps.area[0], rtol=1e-11)
    assert kernels.ks_wasserstein(pair[1], pair[0])[0] == ks


def test_few_rows_are_merged_where_two_samples_differ_by_chance() -> None:
    rng = np.random.default_rng(0)
    a, b = np.sort(rng.standard_normal((2, 200_000)))
    widest, _, merged = cpu_ks_wasserstein.measure(a, b)
    assert merged < 0.15 * 400_000
    assert widest / 200_000**2 == kernels.sorted_gaps([a], [b]).widest[0]


@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-6])
def test_all_rows_are_merged_where_one_sample_is_the_other_with_little_noise(noise: float) -> None:
    rng = np.random.default_rng(0)
    a = np.sort(rng.random(200_000))
    b = np.sort(a + noise * rng.standard_normal(200_000))
    widest, area, merged = cpu_ks_wasserstein.measure(a, b)
    gaps = kernels.sorted_gaps([a], [b])
    assert merged > 0.9 * 400_000
    assert widest / 200_000**2 == gaps.widest[0]
    np.testing.assert_allclose(area, gaps.area[0], rtol=1e-12)


def test_ties_are_passed_without_a_merge() -> None:
    rng = np.random.default_rng(0)
    a, b = np.sort(rng.integers(0, 5, (2, 100_000)).astype(np.float32))
    ks, distance = kernels.ks_wasserstein(a, b)
    assert cpu_ks_wasserstein.measure(a, b)[2] == 0
    np.testing.assert_allclose(ks, stats.ks_2samp(a.astype(float), b.astype(float), method="asymp").statistic, rtol=1e-12)
    np.testing.assert_allclose(distance, stats.wasserstein_distance(a, b), rtol=1e-12)


def test_values_at_the_ends_of_float64_overflow_into_an_infinite_distance_or_none() -> None:
    top = np.finfo(float).max
    a, b = np.full(5000, -top), np.full(5000, top)
    assert kernels.ks_wasserstein(a, b) == (1.0, np.inf)
    assert kernels.ks_wasserstein(a / 4, b / 4) == (1.0, top / 2)
    low, high = np.linspace(1e300, 2e300, 5000), np.linspace(1.5e300, 2.5e300, 5000)
    np.testing.assert_allclose(kernels.ks_wasserstein(low, high)[1], 5e299, rtol=1e-12)


def test_equal_samples_are_at_no_distance_even_with_infinities() -> None:
    values = np.array([-np.inf, 1.0, 1.0, np.inf])
    assert kernels.ks_wasserstein(values, values) == (0.0, 0.0)


def test_a_different_share_of_infinity_is_infinitely_far() -> None:
    assert kernels.ks_wasserstein(np.array([1.0, 2.0]), np.array([1.0, np.inf])) == (0.5, np.inf)
    many, infinite = np.arange(2000.0), np.concatenate([np.full(500, -np.inf), np.arange(500.0, 2000.0)])
    assert kernels.ks_wasserstein(many, infinite) == (0.25, np.inf)
    assert kernels.ks_wasserstein(infinite, infinite[::-1][::-1]) == (0.0, 0.0)


def test_an_empty_sample_has_no_distance() -> None:
    assert np.isnan(kernels.ks_wasserstein(np.array([]), np.array([1.0]))).all()


@BACKENDS
def test_columns_are_sorted_without_their_missing_values(backend: Any) -> None:
    x = np.random.default_rng(0).standard_normal((5_000, 37)).astype(np.float32)
    x[::7, 1], x[:, 2] = np.nan, np.nan
    x[0, 0] = np.inf
    for found, column in zip(backend.sort_columns(x), x.T, strict=True):
        np.testing.assert_array_equal(found, np.sort(column[~np.isnan(column)]))


def test_sorted_columns_of_no_rows() -> None:
    assert [len(column) for column in kernels.sort_columns(np.ones((0, 2)))] == [0, 0]
