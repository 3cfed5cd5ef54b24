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
from kernels import cpu, gpu

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
    np.testing.assert_allclose(ks, stats.ks_2samp(a, b, method="asymp").statistic, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(distance, stats.wasserstein_distance(a.astype(float), b.astype(float)), rtol=1e-9, atol=1e-9)


def test_large_samples_of_different_sizes() -> None:
    rng = np.random.default_rng(0)
    a, b = np.sort(rng.standard_normal(40_000)), np.sort(rng.standard_normal(30_000).round(2) + 0.1)
    ks, distance = kernels.ks_wasserstein(a, b)
    np.testing.assert_allclose(ks, stats.ks_2samp(a, b, method="asymp").statistic, rtol=1e-12)
    np.testing.assert_allclose(distance, stats.wasserstein_distance(a, b), rtol=1e-12)


def test_equal_samples_are_at_no_distance_even_with_infinities() -> None:
    values = np.array([-np.inf, 1.0, 1.0, np.inf])
    assert kernels.ks_wasserstein(values, values) == (0.0, 0.0)


def test_a_different_share_of_infinity_is_infinitely_far() -> None:
    assert kernels.ks_wasserstein(np.array([1.0, 2.0]), np.array([1.0, np.inf])) == (0.5, np.inf)


def test_an_empty_sample_has_no_distance() -> None:
    assert np.isnan(kernels.ks_wasserstein(np.array([]), np.array([1.0]))).all()


@BACKENDS
def test_columns_are_sorted_without_their_missing_values(backend: Any) -> None:
    x = np.random.default_rng(0).standard_normal((50_000, 3)).astype(np.float32)
    x[::7, 1], x[:, 2] = np.nan, np.nan
    x[0, 0] = np.inf
    for found, column in zip(backend.sort_columns(x), x.T, strict=True):
        np.testing.assert_array_equal(found, np.sort(column[~np.isnan(column)]))


def test_sorted_columns_of_no_rows() -> None:
    assert [len(column) for column in kernels.sort_columns(np.ones((0, 2)))] == [0, 0]
