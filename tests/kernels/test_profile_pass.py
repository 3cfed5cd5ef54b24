"""`kernels.profile` on the CPU, and the value that it returns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from reference_profile import assert_same, reference_profile, tables

import kernels
from kernels import ColumnCounts, cpu
from kernels.arrays import on_device


def noisy(rows: int, columns: int, dtype: str = "float32", seed: int = 0) -> NDArray[Any]:
    """Normal values around 10,000, a twentieth missing and a few infinite."""
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((rows, columns)) + 10_000).astype(dtype)
    x[rng.random(x.shape) < 0.05] = np.nan
    x[rng.random(x.shape) < 0.01] = np.inf
    x[rng.random(x.shape) < 0.01] = -np.inf
    return x


def quantile_edges(x: NDArray[Any], number: int) -> NDArray[Any]:
    finite = np.where(np.isfinite(x), x, 10_000)
    return np.quantile(finite, np.linspace(0, 1, number + 2)[1:-1], axis=0).T.astype(x.dtype)


@settings(deadline=None, max_examples=150)
@given(tables())
def test_a_profile_is_what_numpy_says(table: tuple[NDArray[Any], NDArray[Any]]) -> None:
    x, edges = table
    assert_same(kernels.profile(x, edges), reference_profile(x, edges), x)


@settings(deadline=None, max_examples=150)
@given(tables(), st.integers(0, 40))
def test_merging_the_profiles_of_parts_is_profiling_the_whole(table: tuple[NDArray[Any], NDArray[Any]], at: int) -> None:
    x, edges = table
    merged = kernels.profile(x[:at], edges).merge(kernels.profile(x[at:], edges))
    assert_same(merged, kernels.profile(x, edges), x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("edges", [0, 1, 4, 18, 19, 31, 36, 37, 1000])
def test_any_number_of_edges_counts_alike(edges: int, dtype: str) -> None:
    x = noisy(3000, 5, dtype)
    own = quantile_edges(x, edges)
    assert_same(kernels.profile(x, own), reference_profile(x, own), x)


@pytest.mark.parametrize(
    "edges",
    [
        np.zeros(400),
        np.concatenate([np.full(200, -np.inf), np.full(200, np.inf)]),
        np.concatenate([np.linspace(0, 1e-9, 399), [1e9]]),
        np.concatenate([[-1.7e308], np.linspace(-1, 1, 398), [1.7e308]]),
    ],
    ids=["all equal", "infinite", "crowded", "span overflows"],
)
def test_edges_that_make_a_bad_guide_are_still_counted_exactly(edges: NDArray[Any]) -> None:
    x = np.array([-np.inf, -1e9, -0.5, -0.0, 0.0, 5e-10, 0.5, 2e9, np.inf, np.nan])[:, None]
    found = kernels.profile(x, edges[None, :])
    assert_same(found, reference_profile(x, edges[None, :]), x)


def test_float32_at_mean_10_000_keeps_its_variance() -> None:
    """A sum of squares less a squared sum gives 8.0 here in float32."""
    x = (np.random.default_rng(0).standard_normal((1_000_000, 1)) + 10_000).astype(np.float32)
    found = kernels.profile(x, np.array([[10_000]], np.float32))
    assert round(float(found.variance[0]), 3) == 1.001
    np.testing.assert_allclose(found.variance, x.astype(np.float64).var(axis=0), rtol=1e-12)


def test_merging_many_parts_loses_no_digits_at_mean_10_000() -> None:
    x = (np.random.default_rng(3).standard_normal((50_000, 2)) + 1e4).astype(np.float32)
    edges = np.full((2, 1), 1e4, np.float32)
    whole, merged = kernels.profile(x, edges), kernels.profile(x[:0], edges)
    for part in np.array_split(x, 97):
        merged = merged.merge(kernels.profile(part, edges))
    np.testing.assert_array_equal(merged.counts, whole.counts)
    np.testing.assert_allclose(merged.m2, whole.m2, rtol=1e-12)
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)


def test_a_constant_column_has_no_variance_at_all() -> None:
    x = np.full((200_001, 1), 0.1, np.float32)
    found = kernels.profile(x, np.array([[0.1]], np.float32))
    assert (found.m2[0], found.mean[0], found.minimum[0]) == (0.0, np.float32(0.1), np.float32(0.1))
    assert found.counts.tolist() == [[0, 200_001]]


def test_a_column_without_finite_values_has_no_moments() -> None:
    x = np.array([[np.nan, np.inf], [np.nan, np.nan]])
    found = kernels.profile(x, np.zeros((2, 1)))
    assert found.finite.tolist() == [0, 0]
    for value in (found.mean, found.variance, found.minimum, found.maximum):
        assert np.isnan(value).all()
    assert found.m2.tolist() == [0.0, 0.0]
    assert found.counts_and_missing.tolist() == [[0, 0, 2], [0, 1, 1]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_extremes_are_finite_and_of_either_sign(dtype: str) -> None:
    largest, least = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    x = np.array([[-largest, -largest, least], [-1, -least, 1], [1, -1, largest], [largest, -1, 1]], dtype)
    beyond = np.array([[np.inf] * 3, [-np.inf] * 3, [np.nan] * 3, [-np.nan] * 3], dtype)
    found = kernels.profile(np.concatenate([beyond, x, beyond]), np.zeros((3, 1), dtype))
    assert found.minimum.tolist() == [-largest, -largest, least]
    assert found.maximum.tolist() == [largest, -least, largest]


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (1, 3), (5, 0), (0, 0)])
def test_a_table_may_be_empty(rows: int, columns: int) -> None:
    found = kernels.profile(np.ones((rows, columns)), np.zeros((columns, 2)))
    assert found.counts.tolist() == [[0, 0, rows]] * columns
    assert found.merge(found).rows == 2 * rows


def test_the_number_of_cores_does_not_change_a_bit() -> None:
    x = noisy(3 * cpu.CHUNK + 17, 2)
    edges = quantile_edges(x[:1000], 7)
    allowed = numba.get_num_threads()
    every = kernels.profile(x, edges)
    try:
        numba.set_num_threads(1)
        alone = kernels.profile(x, edges)
    finally:
        numba.set_num_threads(allowed)
    assert (every.mean.tobytes(), every.m2.tobytes()) == (alone.mean.tobytes(), alone.m2.tobytes())
    assert_same(every, reference_profile(x, edges), x)


def test_compiling_and_loading_what_was_compiled_give_the_same_bits(tmp_path: Path) -> None:
    """LLVM sees a function once more when it goes into its caller, and only a process that finds the cache runs that version."""
    script = (
        "import numpy as np, kernels\n"
        "x = np.random.default_rng(0).standard_cauchy((3001, 20))\n"
        "found = kernels.profile(x, np.zeros((20, 1)))\n"
        "print(found.mean.tobytes().hex(), found.m2.tobytes().hex())"
    )
    command, environment = [sys.executable, "-c", script], {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    compiled, loaded = (subprocess.run(command, env=environment, check=True, capture_output=True).stdout for _ in range(2))
    assert compiled == loaded


def test_the_layout_of_a_table_does_not_matter() -> None:
    x = noisy(999, 6)
    edges = quantile_edges(x, 31)
    expected = kernels.profile(x, edges)
    columns_first, read_only = np.asfortranarray(x), x.copy()
    read_only.flags.writeable = False
    for same in (columns_first, read_only, np.repeat(x, 2, axis=1)[:, ::2]):
        assert_same(kernels.profile(same, edges), expected, x)


@pytest.mark.parametrize(
    ("x", "edges", "error"),
    [
        (np.ones(3), np.ones((1, 1)), r"x is \(3,\) .*\[rows, columns\]"),
        (np.ones((3, 2)), np.ones((1, 4)), r"edges \(1, 4\).*one row of edges per column"),
        (np.ones((3, 1)), np.ones((1, 1), np.float32), "cast both to float32 or both to float64"),
        (np.ones((3, 1), int), np.ones((1, 1), int), "x is int64"),
        (np.ones((3, 1)), np.array([[2.0, 1.0]]), "edges must ascend"),
        (np.ones((3, 1)), np.array([[np.nan]]), "edges must ascend in every row and hold no NaN"),
    ],
)
def test_a_wrong_argument_is_named_with_its_remedy(x: NDArray[Any], edges: NDArray[Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        kernels.profile(x, edges)


def test_profiles_over_different_edges_do_not_merge() -> None:
    x = np.ones((1, 1))
    with pytest.raises(ValueError, match=r"\(1, 2\) with \(1, 3\): profile both over the same edges"):
        kernels.profile(x, np.zeros((1, 1))).merge(kernels.profile(x, np.zeros((1, 2))))


def test_a_profile_on_the_host_is_its_own_host_copy() -> None:
    found = kernels.profile(np.ones((1, 1)), np.zeros((1, 1)))
    assert isinstance(found, ColumnCounts)
    assert found.to_numpy() is found


def test_importing_kernels_imports_no_compiler() -> None:
    script = "import sys, kernels; sys.exit(any(name in sys.modules for name in ('numba', 'cupy', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_cupy_array_is_known_by_its_type_alone() -> None:
    ndarray = type("ndarray", (), {"__module__": "cupy._core.core"})
    assert on_device(ndarray())
    assert not on_device(np.ones(1))
