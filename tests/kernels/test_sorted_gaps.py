"""`kernels.sorted_gaps` on the CPU, and as the `.cu` file computes it, against the obvious NumPy."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import CpuRawModule, Mode
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from reference_gaps import assert_same, reference_gaps, samples

import kernels
from kernels import SortedGaps, gpu, gpu_sorted
from kernels.cpu_sorted import TILE


def bits(gaps: SortedGaps) -> bytes:
    return b"".join(getattr(gaps, field.name).tobytes() for field in fields(gaps))


def drawn(n: int, m: int, seed: int = 0, dtype: str = "float32") -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Columns of every sort, of n and m rows: spread, tied, constant, on a huge offset, apart, with infinities, and shifted."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((7, n)), rng.standard_normal((7, m))
    x[1], y[1] = x[1].round(1), y[1].round(1)
    x[2], y[2] = 3.0, 3.0
    x[3], y[3] = x[3] * 1000 + 1e9, y[3] * 1000 + 1e9
    x[4] += 20
    x[5, : n // 8], x[5, n // 8 : n // 4], y[5, : m // 8], y[5, m // 8 : m // 4] = np.inf, -np.inf, np.inf, -np.inf
    x[6] += 0.1
    return list(np.sort(x).astype(dtype)), list(np.sort(y).astype(dtype))


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 5000), (4096, 3), (TILE, TILE), (2 * TILE + 1, 3 * TILE - 1), (4000, 4000)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_sums_are_numpys_whatever_the_sizes(n: int, m: int, dtype: str) -> None:
    reference, current = drawn(n, m, dtype=dtype)
    assert_same(kernels.sorted_gaps(reference, current), reference_gaps(reference, current))


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from(["float32", "float64"]), st.sampled_from(["float32", "float64"]))
def test_ties_constants_infinities_and_offsets_are_numpys(data: st.DataObject, one: str, other: str) -> None:
    reference, current = [data.draw(samples(one))], [data.draw(samples(other))]
    assert_same(kernels.sorted_gaps(reference, current), reference_gaps(reference, current))


@pytest.mark.parametrize("n", [1, 2, 9, 17, 1000])
@pytest.mark.parametrize("m", [1, 3, 17, 999])
def test_two_constants_have_no_variance_but_what_rounding_leaves(n: int, m: int) -> None:
    reference, current = [np.zeros(n, np.float32)], [np.ones(m, np.float32)]
    found = kernels.sorted_gaps(reference, current)
    assert_same(found, reference_gaps(reference, current))
    if min(n, m) > 1:
        np.testing.assert_allclose(
            [found.area_variance, found.squared_area_variance, found.mean_distance_variance], 0, atol=1e-15
        )


def test_threads_give_the_bits_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, current = drawn(20_000, 9_000)
    alone = [kernels.sorted_gaps([a], [b]) for a, b in zip(reference, current, strict=True)]
    together = kernels.sorted_gaps(reference, current)
    assert together.area.tobytes() == b"".join(gaps.area.tobytes() for gaps in alone)
    assert bits(together) == bits(kernels.sorted_gaps(reference, current))


def test_a_side_without_rows_has_no_gaps() -> None:
    some, none = np.array([1.0, 2.0]), np.array([])
    gaps = kernels.sorted_gaps([some, none, none], [none, some, none])
    assert (gaps.reference_rows.tolist(), gaps.current_rows.tolist()) == ([2, 0, 0], [0, 2, 0])
    assert all(np.isnan(getattr(gaps, field.name)).all() for field in fields(gaps)[2:])


def test_no_columns_have_no_gaps() -> None:
    assert kernels.sorted_gaps([], []).area.shape == (0,)


def test_equal_shares_of_infinity_leave_the_area_finite_and_others_do_not() -> None:
    same, other = np.array([-np.inf, 1.0, 2.0, np.inf]), np.array([1.0, 2.0, 3.0, np.inf])
    gaps = kernels.sorted_gaps([same, same], [same + 0.0, other])
    assert gaps.area.tolist() == [0.0, np.inf]
    assert gaps.mean_distance.tolist() == [np.inf, np.inf]


def test_what_was_found_at_zero_is_found_at_a_billion() -> None:
    rng = np.random.default_rng(0)
    a, b = np.sort(rng.integers(0, 5000, 3000)).astype(float), np.sort(rng.integers(0, 4000, 2000)).astype(float)
    near, far = kernels.sorted_gaps([a], [b]), kernels.sorted_gaps([a + 2.0**30], [b + 2.0**30])
    assert bits(near) == bits(far)


def test_different_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="1 columns of reference and 2 of current"):
        kernels.sorted_gaps([np.ones(2)], [np.ones(2), np.ones(2)])


# ---- the `.cu` file, executed on the CPU through the launch code of the GPU ----------------------------------------------------


@cache
def module(file: str, options: tuple[str, ...], mode: Mode, order: int) -> CpuRawModule:
    return CpuRawModule(gpu.source(file), options, mode, order)


def executed(reference: list[NDArray[Any]], current: list[NDArray[Any]], mode: Mode = Mode.FAST, order: int = 0) -> SortedGaps:
    return gpu_sorted.sorted_gaps(reference, current, lambda file, options: module(file, options, mode, order))


@pytest.mark.parametrize(
    ("n", "m", "dtype"), [(5000, 3001, "float32"), (2048, 2048, "float64"), (1, 4096, "float32"), (1, 1, "float32")]
)
def test_every_order_of_the_threads_gives_the_same_and_right_sums(n: int, m: int, dtype: str) -> None:
    reference, current = drawn(n, m, dtype=dtype)
    runs = [(Mode.FAST, 0), (Mode.CHECK, 0), (Mode.CHECK, 1), (Mode.CHECK, 7)]
    found = [executed(reference, current, mode, order) for mode, order in runs]
    assert_same(found[0], reference_gaps(reference, current))
    assert len({bits(gaps) for gaps in found}) == 1


def test_parts_are_appended_until_one_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_sorted, "GROUP", 3)
    reference, current = drawn(10_000, 15_000)  # 13 parts, 5, 2, 1
    assert_same(executed(reference, current), reference_gaps(reference, current))


def test_columns_of_different_lengths_share_a_launch() -> None:
    long, short, none = np.arange(5000.0), np.array([2.5]), np.array([])
    reference, current = [long, short, none, long, short], [short, long, long, none, short]
    assert_same(executed(reference, current, Mode.CHECK), reference_gaps(reference, current))


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(["float32", "float64"]))
def test_the_cuda_source_takes_ties_constants_infinities_and_offsets(data: st.DataObject, kind: str) -> None:
    reference, current = [data.draw(samples(kind))], [data.draw(samples(kind))]
    assert_same(executed(reference, current, Mode.CHECK), reference_gaps(reference, current))


def test_a_run_of_ties_across_blocks_belongs_to_the_last() -> None:
    reference = [np.sort(np.concatenate([np.zeros(7000), np.arange(10.0)])).astype(np.float32)]
    current = [np.sort(np.concatenate([np.zeros(2047), np.arange(-1.0, 9.0)])).astype(np.float32)]
    assert_same(executed(reference, current, Mode.CHECK), reference_gaps(reference, current))
