"""`kernels.rbf_sums` on the CPU and, executed on the CPU, mmd.cu; then the statistics that are made of them."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import CpuRawModule, Mode
from numpy.typing import NDArray

import kernels
from kernels import RbfSums, cpu_mmd, gpu, gpu_mmd
from kernels.statistics import linear_time_mmd, mmd


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


# ---- the statistics ------------------------------------------------------------------------------------------------------------


def direct(x: NDArray[Any], y: NDArray[Any], bandwidth: float) -> float:
    """The unbiased squared discrepancy by the textbook, from three whole matrices."""
    n, m = len(x), len(y)
    k = kernel_matrix(np.concatenate([x, y]), bandwidth)
    return float(k[:n, :n].sum() / (n * (n - 1)) + k[n:, n:].sum() / (m * (m - 1)) - 2 * k[:n, n:].mean())


def table(n: int, d: int, seed: int, shift: float = 0.0) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal((n, d)) + shift


@pytest.mark.parametrize(("n", "m", "d"), [(2, 2, 1), (40, 71, 3), (500, 300, 20), (50, 30, 200)])
def test_the_squared_discrepancy_is_the_textbooks(n: int, m: int, d: int) -> None:
    x, y = table(n, d, 0) + 1e5, table(m, d, 1, 0.3) + 1e5
    np.testing.assert_allclose(mmd.mmd(x, y, d**0.5), direct(x, y, d**0.5), atol=1e-6)


def test_every_permutation_is_the_statistic_of_its_labels() -> None:
    x, y = table(30, 2, 0), table(20, 2, 1)
    both, rng = np.concatenate([x, y]), np.random.default_rng(5)
    signs = np.stack([rng.permutation(np.repeat([1, -1], [30, 20])) for _ in range(6)], axis=1).astype(np.int8)
    found = mmd._squared(both, signs, 30, 20, 1.0)
    np.testing.assert_allclose(found, [direct(both[s > 0], both[s < 0], 1.0) for s in signs.T], atol=1e-6)


def test_without_a_change_p_values_are_uniform_and_with_one_they_are_small() -> None:
    null = [mmd.measure(table(40, 3, s), table(60, 3, 1000 + s), permutations=99, seed=s) for s in range(200)]
    p = np.sort([float(found.p_value) for found in null])
    assert np.abs(p - np.arange(1, 201) / 200).max() < 0.115  # Kolmogorov's 1% point
    assert np.mean([found.low <= 0 for found in null]) > 0.93
    changed = [mmd.measure(table(100, 3, s), table(100, 3, 500 + s, 0.6), permutations=99, seed=s) for s in range(20)]
    assert max(float(found.p_value) for found in changed) == 0.01


def test_the_interval_covers_the_discrepancy_of_the_populations() -> None:
    """Of N(0, I) and N(δ, I) in d dimensions at bandwidth σ it has a closed form, the bandwidth aside."""
    d, delta = 2, 0.8
    covered = 0
    for seed in range(100):
        x, y = table(150, d, seed), table(150, d, 900 + seed) + np.array([delta, 0])
        found = mmd.measure(x, y, permutations=30, seed=seed, scaled=False)
        squared_width = mmd.bandwidth(x, y, np.random.default_rng(seed)) ** 2
        peak = (squared_width / (squared_width + 2)) ** (d / 2)
        true = math.sqrt(2 * peak * (1 - math.exp(-(delta**2) / (2 * (squared_width + 2)))))
        covered += bool(found.low <= true <= found.high)
    assert covered >= 90


def test_a_change_that_no_column_shows_is_seen() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 2))
    y = np.repeat(rng.standard_normal((600, 1)), 2, axis=1) * [1, -1]
    assert mmd.measure(x, y).p_value < 0.01


def test_more_rows_than_wanted_are_a_seeded_choice_of_them() -> None:
    x, y = table(3000, 2, 0), table(2000, 2, 1)
    first, again, other = (mmd.measure(x, y, rows=200, permutations=10, seed=s).value for s in (0, 0, 1))
    assert first == again != other
    assert mmd.measure(x[:200], y[:200], rows=None, permutations=10).value == mmd.measure(x[:200], y[:200], permutations=10).value


def test_linear_time_is_the_textbooks_and_its_p_values_are_uniform() -> None:
    x, y = table(6, 2, 0), table(7, 2, 1)
    h = []
    for i in range(0, 6, 2):
        k = np.exp(-((np.stack([x[i] - x[i + 1], y[i] - y[i + 1], x[i] - y[i + 1], x[i + 1] - y[i]]) ** 2).sum(axis=1)) / 2)
        h.append(k @ [1, 1, -1, -1])
    np.testing.assert_allclose(linear_time_mmd.linear_time_mmd(x, y, 1.0), [np.mean(h), np.var(h, ddof=1) / 3], rtol=1e-9)
    p = np.sort([float(linear_time_mmd.measure(table(400, 3, s), table(300, 3, 1000 + s), seed=s).p_value) for s in range(200)])
    assert np.abs(p - np.arange(1, 201) / 200).max() < 0.115


@pytest.mark.parametrize("measure", [mmd.measure, linear_time_mmd.measure])
def test_what_cannot_be_seen_is_not_stable(measure: Any) -> None:
    x = table(20, 3, 0)
    for nothing in (x[:0], x[:1], np.full((20, 3), np.nan)):
        for found in (measure(x, nothing), measure(nothing, x)):
            assert np.isnan([found.value, found.p_value, found.effect, found.low, found.high]).all()
    constant = measure(np.full((20, 2), 7.0), np.full((30, 2), 7.0))
    assert (constant.effect, constant.p_value) == (0.0, 1.0)
    assert measure(np.full((20, 2), 7.0), np.full((30, 2), 8.0)).effect > 1.0


def test_a_gap_is_filled_and_a_table_that_loses_its_values_has_changed() -> None:
    x, y = table(400, 4, 0), table(400, 4, 1)
    x[::7, 1], y[::7, 1], x[3], y[5, 0] = np.nan, np.nan, np.nan, np.inf
    assert mmd.measure(x, y).p_value > 0.05
    y[::2, :] = [[np.nan, np.nan, np.nan, 0.1]]
    assert mmd.measure(x, y).p_value < 0.01
