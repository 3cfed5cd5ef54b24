"""`kernels.rbf_sums` on the CPU and, executed on the CPU, mmd.cu; then the statistics that are made of them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import CpuRawModule, Mode
from numpy.typing import NDArray

import kernels
from kernels import RbfSums, cpu_mmd, gpu, gpu_mmd


@cache
def module(file: str, options: tuple[str, ...], mode: Mode = Mode.CHECK, order: int = 0) -> CpuRawModule:
    return CpuRawModule(gpu.source(file), options, mode, order)


def executed(rows: NDArray[Any], weights: NDArray[Any], bandwidth: float, mode: Mode = Mode.FAST, order: int = 0) -> RbfSums:
    return gpu_mmd.rbf_sums(rows, weights, bandwidth, lambda file, options: module(file, options, mode, order))


def kernel_matrix(rows: NDArray[Any], bandwidth: float) -> NDArray[Any]:
    """In float64, from differences, zeros on the diagonal."""
    rows = rows.astype(np.float64)
    squares = np.stack([((rows - row) ** 2).sum(axis=1) for row in rows]) if len(rows) else np.zeros((0, 0))
    k = np.exp(-squares / (2 * bandwidth**2))
    np.fill_diagonal(k, 0)
    return k


def assert_right(found: RbfSums, rows: NDArray[Any], weights: NDArray[Any], bandwidth: float, error: float = 3e-6) -> None:
    k, w = kernel_matrix(rows, bandwidth), weights.astype(np.float64)
    scale = error * max(k.sum(), 1e-30)
    np.testing.assert_allclose(found.quadratic, np.einsum("np,nm,mp->p", w, k, w, optimize=True), atol=scale, rtol=0)
    np.testing.assert_allclose(found.linear, k.sum(axis=0) @ w, atol=scale, rtol=0)
    np.testing.assert_allclose(found.total, k.sum(), atol=scale, rtol=0)


def drawn(n: int, d: int, p: int, dtype: str = "float32", offset: float = 0.0) -> tuple[NDArray[Any], NDArray[Any], float]:
    """Normal rows, weights of -1, 0 and 1, and a bandwidth at which most entries matter."""
    rng = np.random.default_rng(n + d)
    rows = (rng.standard_normal((n, d)) + offset).astype(dtype)
    return rows, rng.integers(-1, 2, (n, p)).astype(np.int8), max(d, 1) ** 0.5


SHAPES = [
    (0, 3, 2, "float32", 0.0),
    (1, 3, 2, "float32", 0.0),
    (2, 1, 1, "float64", 0.0),
    (63, 17, 3, "float32", 1e4),
    (64, 16, 64, "float64", 1e9),
    (130, 33, 65, "float32", -1e4),
    (700, 5, 0, "float32", 0.0),
    (300, 0, 3, "float32", 0.0),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_sums_are_those_of_the_whole_matrix_in_float64(shape: tuple[int, int, int, str, float]) -> None:
    rows, weights, bandwidth = drawn(*shape)
    assert_right(kernels.rbf_sums(rows, weights, bandwidth), rows, weights, bandwidth)
    assert_right(executed(rows, weights, bandwidth, Mode.CHECK), rows, weights, bandwidth)


def test_many_tiles_are_the_whole_matrix_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, weights, bandwidth = drawn(2500, 9, 7)
    assert_right(kernels.rbf_sums(rows, weights, bandwidth), rows, weights, bandwidth)
    whole = kernels.rbf_sums(rows, weights, bandwidth)
    monkeypatch.setattr(cpu_mmd, "TILE_ROWS", 100)
    monkeypatch.setattr(cpu_mmd, "TILE_COLUMNS", 300)
    np.testing.assert_allclose(kernels.rbf_sums(rows, weights, bandwidth).quadratic, whole.quadratic, atol=0.01)


@pytest.mark.parametrize("blocks", [1, 40, gpu_mmd.BLOCKS])
def test_every_order_of_the_threads_gives_the_same_and_right_answer(blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_mmd, "BLOCKS", blocks)  # one share of the tiles a row of them, several, or more shares than tiles
    rows, weights, bandwidth = drawn(1100 if blocks == 1 else 150, 19, 70)
    runs = [(Mode.FAST, 0), (Mode.CHECK, 0), (Mode.CHECK, 1), (Mode.CHECK, 7)]
    found = [executed(rows, weights, bandwidth, mode, order) for mode, order in runs]
    assert_right(found[0], rows, weights, bandwidth)
    assert len({(run.quadratic.tobytes(), run.linear.tobytes(), run.total.tobytes()) for run in found}) == 1


def test_more_weights_than_one_launch_takes_are_taken_by_several() -> None:
    rows, weights, bandwidth = drawn(90, 4, gpu_mmd.CHUNKS * gpu_mmd.TILE + 5)
    assert_right(executed(rows, weights, bandwidth), rows, weights, bandwidth)


def test_an_outlier_beyond_float32_is_near_nobody() -> None:
    rows, weights, bandwidth = drawn(50, 3, 2, "float64")
    rows[7] = 1e150
    for found in (kernels.rbf_sums(rows, weights, bandwidth), executed(rows, weights, bandwidth)):
        assert_right(found, rows, weights, bandwidth)


@pytest.mark.parametrize(
    ("rows", "weights", "bandwidth", "error"),
    [
        (np.ones(3), np.ones((3, 1), np.int8), 1.0, r"rows are \(3,\)"),
        (np.ones((3, 1)), np.ones((2, 1), np.int8), 1.0, "one weight a row"),
        (np.ones((3, 1), int), np.ones((3, 1), np.int8), 1.0, "rows are int64"),
        (np.ones((3, 1)), np.ones((3, 1)), 1.0, "weights float64: cast them"),
        (np.ones((3, 1)), np.ones((3, 1), np.int8), 0.0, "the bandwidth is 0.0: pass a positive one"),
    ],
)
def test_a_wrong_argument_is_named_with_its_remedy(
    rows: NDArray[Any], weights: NDArray[Any], bandwidth: float, error: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        kernels.rbf_sums(rows, weights, bandwidth)
