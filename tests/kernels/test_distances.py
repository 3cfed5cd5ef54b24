"""`kernels.distances`: the five statistics of all columns at once, in NumPy and by `distances.cu` executed on the CPU."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import CpuRawModule, Mode
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import kernels
from kernels import CountDistances, gpu, gpu_distances
from kernels.statistics.hellinger import hellinger
from kernels.statistics.jensen_shannon import jensen_shannon
from kernels.statistics.kl import kl
from kernels.statistics.psi import psi
from kernels.statistics.total_variation import total_variation

Counts = NDArray[np.int64]


@cache
def module(file: str, options: tuple[str, ...], mode: Mode, order: int) -> CpuRawModule:
    return CpuRawModule(gpu.source(file), options, mode, order)


def executed(a: Counts, b: Counts, smoothing: float = 0.5, mode: Mode = Mode.FAST, order: int = 0) -> CountDistances:
    return gpu_distances.distances(a, b, smoothing, lambda file, options: module(file, options, mode, order))


def assert_the_statistics(found: CountDistances, a: Counts, b: Counts, smoothing: float = 0.5) -> None:
    expected = CountDistances(
        psi=psi(a, b, smoothing),
        jensen_shannon=jensen_shannon(a, b),
        kl=kl(a, b, smoothing),
        hellinger=hellinger(a, b),
        total_variation=total_variation(a, b),
    )
    for field in fields(CountDistances):
        ours, theirs = getattr(found, field.name), getattr(expected, field.name)
        assert (ours.dtype, ours.shape) == (np.float64, (len(a),))
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12, err_msg=field.name)


def drawn(columns: int, bins: int) -> tuple[Counts, Counts]:
    """Counts of sides of different sizes, a third of the bins empty on each, and a column each that has lost a side."""
    rng = np.random.default_rng(columns * 1000 + bins)
    a, b = rng.integers(0, 10**6, (columns, bins)), rng.integers(0, 50, (columns, bins))
    a[rng.random(a.shape) < 1 / 3] = 0
    b[rng.random(b.shape) < 1 / 3] = 0
    a[3::7], b[5::11] = 0, 0
    return a, b


SHAPES = [(0, 33), (1, 1), (1, 33), (7, 31), (8, 32), (9, 65), (1000, 33), (3, 5000)]


@pytest.mark.parametrize(("columns", "bins"), SHAPES)
def test_numpy_and_the_kernel_give_the_five_statistics(columns: int, bins: int) -> None:
    a, b = drawn(columns, bins)
    assert_the_statistics(kernels.distances(a, b), a, b)
    assert_the_statistics(executed(a, b), a, b)


@pytest.mark.parametrize(("columns", "bins"), [(1, 1), (9, 65), (40, 33)])
def test_every_order_of_the_threads_gives_the_same_bits(columns: int, bins: int) -> None:
    a, b = drawn(columns, bins)
    runs = [(Mode.FAST, 0), (Mode.CHECK, 0), (Mode.CHECK, 1), (Mode.CHECK, 7)]
    found = [executed(a, b, 0.5, mode, order) for mode, order in runs]
    assert_the_statistics(found[1], a, b)
    assert len({b"".join(getattr(run, field.name).tobytes() for field in fields(run)) for run in found}) == 1


@settings(deadline=None, max_examples=100)
@given(st.data(), st.integers(1, 4), st.integers(1, 40), st.sampled_from([0.0, 0.5, 1.0]))
def test_any_counts_and_any_smoothing(data: st.DataObject, columns: int, bins: int, smoothing: float) -> None:
    sizes = st.one_of(st.integers(0, 3), st.integers(0, 2**40))
    a, b = (data.draw(hnp.arrays(np.int64, (columns, bins), elements=sizes)) for _ in range(2))
    assert_the_statistics(kernels.distances(a, b, smoothing), a, b, smoothing)
    assert_the_statistics(executed(a, b, smoothing), a, b, smoothing)


def test_zeros_behind_the_bins_change_nothing() -> None:
    a, b = drawn(20, 10)
    padded = [np.concatenate([counts, np.zeros((20, 90), np.int64)], axis=1) for counts in (a, b)]
    plain, wide = kernels.distances(a, b), kernels.distances(*padded)
    for field in fields(CountDistances):
        np.testing.assert_allclose(getattr(wide, field.name), getattr(plain, field.name), rtol=1e-12)


def test_no_bins_hold_no_counts() -> None:
    nothing = np.zeros((2, 0), np.int64)
    for found in (kernels.distances(nothing, nothing), executed(nothing, nothing)):
        assert all(np.isnan(getattr(found, field.name)).all() for field in fields(found))


def test_smaller_integers_are_counts_too() -> None:
    a, b = drawn(4, 33)
    narrow = kernels.distances(a.astype(np.int32), b.astype(np.uint8))
    assert_the_statistics(narrow, a, b)
    assert_the_statistics(executed(a.astype(np.int32), b.astype(np.uint8)), a, b)


@pytest.mark.parametrize(
    ("a", "b", "error", "says"),
    [
        (np.ones((2, 3), int), np.ones((2, 4), int), ValueError, r"counts are \(2, 3\) and \(2, 4\): pass two of one shape"),
        (np.ones(3, int), np.ones(3, int), ValueError, r"\[columns, bins\]"),
        (np.ones((2, 3)), np.ones((2, 3), int), TypeError, "counts are float64 and int64: pass integers"),
    ],
)
def test_what_are_no_counts_is_refused(a: NDArray[Any], b: NDArray[Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        kernels.distances(a, b)


@pytest.mark.gpu
def test_on_the_card_it_is_the_hosts() -> None:
    cupy = pytest.importorskip("cupy", reason="not run: CuPy is not installed; it is with: pip install 'warmstart[cuda]'")
    if not cupy.cuda.is_available():
        pytest.skip("not run: CuPy finds no NVIDIA GPU on this machine")
    a, b = drawn(1000, 33)
    found = kernels.distances(cupy.asarray(a), cupy.asarray(b))
    assert_the_statistics(CountDistances(*(getattr(found, field.name).get() for field in fields(found))), a, b)
