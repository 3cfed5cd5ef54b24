"""The executor itself: what CUDA promises, on kernels of a few lines, however the threads take turns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cuda_on_cpu import SANITIZER, CpuRawModule, Mode

RUNS = [(Mode.FAST, 0), (Mode.CHECK, 0), (Mode.CHECK, 1), (Mode.CHECK, 7)]
runs = pytest.mark.parametrize(("mode", "order"), RUNS, ids=lambda value: getattr(value, "name", value))

SHUFFLES = """
extern "C" __global__ void shuffles(const double* in, double* out) {
    const double value = in[threadIdx.x];
    out[threadIdx.x] = __shfl_sync(~0u, value, 3);
    out[64 + threadIdx.x] = __shfl_up_sync(~0u, value, 2);
    out[128 + threadIdx.x] = __shfl_down_sync(~0u, value, 5);
    out[192 + threadIdx.x] = __shfl_xor_sync(~0u, value, 16);
    out[256 + threadIdx.x] = __shfl_down_sync(~0u, value, 1, 8);
    if (threadIdx.x % 2) out[320 + threadIdx.x] = __shfl_sync(0xaaaaaaaau, value, 1);
}"""

ATOMICS = """
extern "C" __global__ void atomics(int* ints, double* doubles, float* floats) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(&ints[0], i);
    atomicMin(&ints[1], 50 - i);
    atomicMax(&ints[2], i);
    atomicCAS(&ints[3], 7, 8);
    atomicExch(&ints[4], 9);
    atomicAdd(&doubles[0], 0.5);
    atomicAdd(&floats[0], 1.0f);
}"""

# Writes through a pointer, whose array only AddressSanitizer can know, and in the second array only where it has room.
BEYOND = """
__device__ __noinline__ void write(float* p, int i) { p[i] = 1; }
extern "C" __global__ void beyond(int by, float* out) {
    __shared__ float s_first[50], s_second[50];
    s_second[threadIdx.x] = 0;
    write(s_first, threadIdx.x + by);
    __syncthreads();
    out[threadIdx.x] = s_first[threadIdx.x] + s_second[threadIdx.x];
}"""

# In two blocks each thread adds to the same sum; in `between`, a barrier lies between those of a block only.
RACES = """
extern "C" __global__ void within(int* sum) { *sum += 1; }
extern "C" __global__ void between(int* sum) {
    for (int turn = 0; turn < blockDim.x; ++turn) {
        if (turn == threadIdx.x) *sum += 1;
        __syncthreads();
    }
}
extern "C" __global__ void neither(int* sum) { atomicAdd(sum, 1); }
extern "C" __global__ void shared(int* sum) {
    __shared__ int s_sum[64];
    s_sum[threadIdx.x] = 1;
    __syncthreads();
    if (threadIdx.x == 0) for (int i = 1; i < blockDim.x; ++i) s_sum[0] += s_sum[i];
    __syncthreads();
    if (threadIdx.x == 1) atomicAdd(sum, s_sum[0]);
}"""

CALL = """
import sys, numpy as np
from cuda_on_cpu import CpuRawModule, Mode
source, mode, name, grid, *numbers = sys.argv[1:]
out = np.zeros(64, np.int32)
module = CpuRawModule(source, (), Mode[mode])
for _ in range(2):
    module.get_function(name)((int(grid),), (40,), (*map(np.int32, numbers), out))
print("sum", out[0])
"""


def called(source: str, mode: Mode, name: str, grid: int, *numbers: int) -> str:
    """What is said by a process of its own that launches the kernel twice."""
    library = subprocess.run(["g++", f"-print-file-name={SANITIZER[mode]}"], capture_output=True, text=True, check=True)
    options = {
        "ASAN_OPTIONS": "detect_leaks=0",
        "TSAN_OPTIONS": "halt_on_error=1:history_size=0",
        "LD_PRELOAD": library.stdout.strip(),
    }
    environment = {**os.environ, **options, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", CALL, source, mode.name, name, str(grid), *map(str, numbers)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    return ended.stdout + ended.stderr


@runs
def test_shuffles_take_the_lane_that_cuda_says(mode: Mode, order: int) -> None:
    value, lane = np.arange(64.0), np.arange(64) % 32
    out = np.zeros((6, 64))
    CpuRawModule(SHUFFLES, (), mode, order).get_function("shuffles")((1,), (64,), (value, out))
    np.testing.assert_array_equal(out[0], value - lane + 3)
    np.testing.assert_array_equal(out[1], np.where(lane >= 2, value - 2, value))
    np.testing.assert_array_equal(out[2], np.where(lane < 27, value + 5, value))
    np.testing.assert_array_equal(out[3], value - lane + (lane ^ 16))
    np.testing.assert_array_equal(out[4], np.where(lane % 8 < 7, value + 1, value))
    np.testing.assert_array_equal(out[5], np.where(lane % 2, value - lane + 1, 0))


@runs
def test_atomics_lose_nothing_between_blocks(mode: Mode, order: int) -> None:
    ints, doubles, floats = np.array([0, 0, 0, 7, 0], np.int32), np.zeros(1), np.zeros(1, np.float32)
    CpuRawModule(ATOMICS, (), mode, order).get_function("atomics")((50,), (40,), (ints, doubles, floats))
    assert ints.tolist() == [sum(range(2000)), 50 - 1999, 1999, 8, 9]
    assert (doubles[0], floats[0]) == (1000.0, 2000.0)


def test_a_pointer_that_leaves_its_shared_array_is_caught() -> None:
    assert "global-buffer-overflow" in called(BEYOND, Mode.ADDRESS, "beyond", 1, 15)
    assert "sum" in called(BEYOND, Mode.ADDRESS, "beyond", 1, 10)


@pytest.mark.parametrize(
    ("kernel", "grid", "says"),
    [
        ("within", 1, "data race"),
        ("between", 1, "sum 80"),
        ("between", 2, "data race"),
        ("neither", 60, "sum 4800"),
        ("shared", 60, "sum 4800"),
    ],
)
def test_threads_race_unless_a_barrier_an_atomic_or_the_launch_is_between_them(kernel: str, grid: int, says: str) -> None:
    assert says in called(RACES, Mode.RACES, kernel, grid)
