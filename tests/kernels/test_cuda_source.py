"""The `.cu` files, executed on the CPU through the same launch code that launches them on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import SANITIZER, CpuRawModule, Mode
from hypothesis import given, settings
from numpy.typing import NDArray
from reference_profile import assert_same, reference_profile, tables

import kernels
from kernels import ColumnCounts, gpu

HERE = Path(__file__).parent


@cache
def module(file: str, options: tuple[str, ...], mode: Mode = Mode.CHECK, order: int = 0) -> CpuRawModule:
    return CpuRawModule(gpu.source(file), options, mode, order)


def executed(x: NDArray[Any], edges: NDArray[Any], mode: Mode = Mode.FAST, order: int = 0) -> ColumnCounts:
    return gpu.profile(x, edges, lambda file, options: module(file, options, mode, order))


def drawn(rows: int, columns: int, edges: int, dtype: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Normal values around 10,000 with missing ones, infinities and values on edges."""
    rng = np.random.default_rng(rows)
    own = np.sort(rng.standard_normal((columns, edges)) + 10_000).astype(dtype)
    x = (rng.standard_normal((rows, columns)) + 10_000).astype(dtype)
    x[rng.random(x.shape) < 0.05] = np.nan
    x[rng.random(x.shape) < 0.01] = np.inf
    x[rng.random(x.shape) < 0.01] = -np.inf
    x[::17] = own[:, edges // 2]
    return x, own


@pytest.mark.parametrize(
    ("rows", "columns", "edges", "dtype"),
    [
        (5000, 40, 31, "float32"),  # several blocks both ways, and lanes beyond the last column
        (2048, 33, 31, "float32"),
        (300, 3, 400, "float64"),  # so many edges that fewer columns share a block
    ],
)
def test_every_order_of_the_threads_gives_the_same_and_right_answer(rows: int, columns: int, edges: int, dtype: str) -> None:
    x, own = drawn(rows, columns, edges, dtype)
    runs = [(Mode.FAST, 0), (Mode.CHECK, 0), (Mode.CHECK, 1), (Mode.CHECK, 7)]
    found = [executed(x, own, mode, order) for mode, order in runs]
    assert_same(found[0], reference_profile(x, own), x)
    np.testing.assert_allclose(found[0].variance, kernels.profile(x, own).variance, rtol=1e-12)
    assert len({(run.counts.tobytes(), run.mean.tobytes(), run.m2.tobytes()) for run in found}) == 1


def test_parts_are_merged_until_one_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "BLOCK_ROWS", 64)
    monkeypatch.setattr(gpu, "GROUP", 4)
    x, own = drawn(2100, 2, 5, "float32")  # 33 parts, 9, 3, 1
    assert_same(executed(x, own), reference_profile(x, own), x)


@settings(deadline=None, max_examples=60)
@given(tables(edges=5, dtype="float32"))
def test_a_profile_is_what_numpy_says(table: tuple[NDArray[Any], NDArray[Any]]) -> None:
    x, edges = table
    assert_same(executed(x, edges, Mode.CHECK), reference_profile(x, edges), x)


@pytest.mark.parametrize(("rows", "columns", "edges"), [(0, 2, 5), (1, 1, 5), (9, 0, 5), (9, 2, 0)])
def test_nothing_to_count_is_counted(rows: int, columns: int, edges: int) -> None:
    x, own = np.full((rows, columns), np.inf, np.float32), np.zeros((columns, edges), np.float32)
    found = executed(x, own)
    assert found.counts.tolist() == [[0] * edges + [rows]] * columns
    assert found.infinite.tolist() == [rows] * columns


def test_more_edges_than_fit_on_chip_are_refused() -> None:
    with pytest.raises(ValueError, match="100000 edges of float64 do not fit on the GPU's chip"):
        gpu.profile(np.ones((1, 1)), np.zeros((1, 100_000)))


@pytest.mark.parametrize(("dtype", "size"), [("int64", 50), ("int32", gpu.CATEGORY_CAPACITY + 5), ("int8", 7)])
def test_categories_are_counted_on_chip_and_off(dtype: str, size: int) -> None:
    codes = np.random.default_rng(0).integers(-1, min(size + 3, 100), 10_000).astype(dtype)
    found = gpu.category_counts(codes, size, lambda file, options: module(file, options, Mode.CHECK))
    known = np.minimum(codes[codes >= 0].astype(np.int64), size)
    np.testing.assert_array_equal(found, np.bincount(known, minlength=size + 1))


# ---- planted bugs: the checks above are worth what they catch ------------------------------------------------------------------

MISSING_BARRIER = ("half][lane]);\n        __syncthreads();", "half][lane]);")
DIVERGENT_BARRIER = ("if (team < half) s_moments", "if (team < half) __syncthreads();\n        if (team < half) s_moments")
UNSET_COUNTERS = ("s_counts[i / LANES][i % LANES] = 0u;", ";")
PAST_THE_LAST_ROW = ("r < end; r += TEAMS", "r <= end; r += TEAMS")
PAST_THE_COUNTERS = ("atomicAdd(&s_counts[MISSING][lane]", "atomicAdd(&s_counts[COUNTERS][lane]")
NOT_ATOMIC = (
    "atomicAdd(&s_counts[edges_at_or_below(s_edges, lane, value)][lane], 1u);",
    "++s_counts[edges_at_or_below(s_edges, lane, value)][lane];",
)


@pytest.mark.parametrize(
    ("bug", "mode", "says"),
    [
        (("", ""), Mode.ADDRESS, "right"),
        (("", ""), Mode.THREADS, "right"),
        (MISSING_BARRIER, Mode.CHECK, "wrong"),
        (UNSET_COUNTERS, Mode.CHECK, "wrong"),
        (DIVERGENT_BARRIER, Mode.CHECK, "deadlock: threads wait at a barrier that the others never reach"),
        (PAST_THE_LAST_ROW, Mode.ADDRESS, "AddressSanitizer: heap-buffer-overflow"),
        (PAST_THE_COUNTERS, Mode.ADDRESS, "index 34 out of bounds"),
        (NOT_ATOMIC, Mode.THREADS, "ThreadSanitizer: data race"),
    ],
    ids=[
        "none, addresses watched",
        "none, threads watched",
        "missing barrier",
        "unset counters",
        "divergent barrier",
        "reads past the last row",
        "writes past the counters",
        "histogram not atomic",
    ],
)
def test_a_planted_bug_is_caught(bug: tuple[str, str], mode: Mode, says: str, tmp_path: Path) -> None:
    text = gpu.source("profile.cu")
    assert bug[0] in text
    planted = tmp_path / "profile.cu"
    planted.write_text(text.replace(*bug) if bug[0] else text)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent.parent)]),
        "LD_PRELOAD": _library(SANITIZER[mode]) if mode in SANITIZER else "",
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "cuda_on_cpu.run_profile", str(planted), mode.name, "0"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert says in ended.stdout + ended.stderr
    assert (ended.returncode == 0) == (says == "right"), ended.stderr


def _library(name: str) -> str:
    return subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()


# ---- the compiler that a GPU would use -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100", "sm_120"])
def test_nvrtc_compiles_every_file(architecture: str) -> None:
    core = pytest.importorskip("cuda.core", reason="NVRTC is not installed; it is with: pip install 'cuda-core[cu13]'")
    float32, float64 = np.dtype("float32"), np.dtype("float64")
    units = [("profile.cu", gpu.profile_options(float32, 31)), ("profile.cu", gpu.profile_options(float64, 400))]
    units += [("category_counts.cu", gpu.category_options(np.dtype(name))) for name in ("int32", "int64")]
    for file, options in units:
        macros = [tuple(option.removeprefix("-D").split("=")) for option in options]
        settings = core.ProgramOptions(std="c++17", arch=architecture, define_macro=macros)
        assert core.Program(gpu.source(file), "c++", settings).compile("cubin").code
