"""The proof of mmd.cu."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
from cuda_on_cpu import Mode
from numpy.typing import NDArray

from kernels import RbfSums, gpu_mmd
from kernels.gpu import Compiler
from proofs.proof import DEADLOCK, DIVERGED, INDEX, OVERFLOW, RACE, WRONG, Bug, Case, Kind, Limits, Place, Proof

Data = tuple[NDArray[Any], NDArray[Any], float]


def drawn(n: int, d: int, p: int, dtype: str = "float32", offset: float = 0.0) -> Data:
    """Normal rows, weights of -1, 0 and 1, and a bandwidth at which most entries matter."""
    rng = np.random.default_rng(n + d)
    rows = (rng.standard_normal((n, d)) + offset).astype(dtype)
    return rows, rng.integers(-1, 2, (n, p)).astype(np.int8), max(d, 1) ** 0.5


def outlier() -> Data:
    rows, weights, bandwidth = drawn(50, 3, 2, "float64")
    rows[7] = 1e150
    return rows, weights, bandwidth


def constant(n: int) -> Data:
    rows, weights, bandwidth = drawn(n, 3, 2)
    return np.full_like(rows, 0.1), weights, bandwidth


def summed(data: Data, blocks: int = gpu_mmd.BLOCKS, chunks: int = gpu_mmd.CHUNKS) -> Case:
    rows, weights, bandwidth = data

    def launch(compiler: Compiler, place: Place) -> RbfSums:
        with patch.multiple(gpu_mmd, BLOCKS=blocks, CHUNKS=chunks):
            return gpu_mmd.rbf_sums(place(rows), place(weights), bandwidth, compiler)

    def check(found: RbfSums) -> None:
        """From the whole matrix, in float64 and from differences, its diagonal left out; the kernel's entries are float32."""
        exact = rows.astype(np.float64)
        k = np.exp([-((exact - row) ** 2).sum(axis=1) / (2 * bandwidth**2) for row in exact] or np.zeros((0, 0)))
        np.fill_diagonal(k, 0)
        w, error = weights.astype(np.float64), 3e-6 * max(k.sum(), 1e-30)
        np.testing.assert_allclose(found.quadratic, (w * (k @ w)).sum(axis=0), atol=error, rtol=0)
        np.testing.assert_allclose(found.linear, k.sum(axis=0) @ w, atol=error, rtol=0)
        np.testing.assert_allclose(found.total, k.sum(), atol=error, rtol=0)

    return Case(launch, check)


SMALL = "70 rows, 19 columns"
SHARES = "several shares of a row of tiles"

PROOF = Proof(
    file="mmd.cu",
    variants={f"{64 * chunks} weights": gpu_mmd.options(chunks) for chunks in range(1, gpu_mmd.CHUNKS + 1)},
    limits={"rbf_sums": Limits(registers=192), "sum_parts": Limits()},
    cases={
        SMALL: summed(drawn(70, 19, 3)),
        SHARES: summed(drawn(150, 19, 3), blocks=6),
        "one share a row of tiles, flushed in between": summed(drawn(1100, 3, 3), blocks=1),
        "more shares than tiles": summed(drawn(150, 19, 70)),
        "exactly one tile, float64, offset of a billion": summed(drawn(64, 16, 63, "float64", 1e9)),
        "offset of 10,000": summed(drawn(63, 17, 3, offset=1e4)),
        "weights for two launches": summed(drawn(90, 4, gpu_mmd.TILE + 5), chunks=1),
        "no rows": summed(drawn(0, 3, 2)),
        "one row": summed(drawn(1, 3, 2)),
        "two rows": summed(drawn(2, 1, 1)),
        "no columns": summed(drawn(100, 0, 3)),
        "no weights": summed(drawn(100, 5, 0)),
        "constant": summed(constant(100)),
        "an outlier beyond float32": summed(outlier()),
    },
    raced=(SHARES,),
    bugs=(
        Bug(
            Kind.MISSING_BARRIER,
            "before the next columns overwrite the last",
            "__syncthreads();                             // what is written next, here and below, has been read\n",
            "\n",
            SMALL,
            Mode.RACES,
            RACE,
        ),
        Bug(
            Kind.MISSING_BARRIER,
            "after columns are staged",
            "0.0f;\n            }\n            __syncthreads();\n            #pragma",
            "0.0f;\n            }\n            #pragma",
            SMALL,
            Mode.CHECK,
            WRONG,
        ),
        Bug(
            Kind.MISSING_BARRIER,
            "before the weights are read",
            "__syncthreads();                             // and s_k is whole\n",
            "\n",
            SMALL,
            Mode.CHECK,
            WRONG,
        ),
        Bug(
            Kind.MISSING_BARRIER,
            "between two threads' turns",
            "__syncthreads();\n            }\n        }\n        for (int i = 0; i < CELLS; ++i) row_sums",
            "}\n        }\n        for (int i = 0; i < CELLS; ++i) row_sums",
            SMALL,
            Mode.RACES,
            RACE,
        ),
        Bug(
            Kind.DIVERGENT_BARRIER,
            "in the turn of a row of threads",
            "if (ty == turn)",
            "if (ty == turn) __syncthreads();\n                if (ty == turn)",
            SMALL,
            Mode.CHECK,
            DIVERGED,
        ),
        Bug(
            Kind.DIVERGENT_BARRIER,
            "threads without rows leave early",
            "const long long first_row = (long long)blockIdx.x * TILE;",
            "const long long first_row = (long long)blockIdx.x * TILE;\n    if (first_row + ty * CELLS >= rows) return;",
            SMALL,
            Mode.CHECK,
            DEADLOCK,
        ),
        Bug(Kind.OUTSIDE_GLOBAL, "rows after the last", "inside && b < rows", "inside", SMALL, Mode.ADDRESS, OVERFLOW),
        Bug(
            Kind.OUTSIDE_GLOBAL,
            "weights of rows after the last",
            "row < rows ? double(weights",
            "true ? double(weights",
            SMALL,
            Mode.ADDRESS,
            OVERFLOW,
        ),
        Bug(
            Kind.OUTSIDE_SHARED,
            "rows and columns change places",
            "s_a[column][row]",
            "s_a[row][column]",
            SMALL,
            Mode.ADDRESS,
            INDEX,
        ),
        Bug(Kind.UNSYNCHRONISED, "no turns are taken", "if (ty == turn)", "if (turn == 0)", SMALL, Mode.RACES, RACE),
        Bug(
            Kind.UNINITIALISED,
            "sums not set to zero",
            "s_sums[i / WEIGHTS][i % WEIGHTS] = 0;",
            ";",
            SMALL,
            Mode.CHECK,
            WRONG,
        ),
        Bug(
            Kind.WRONG_ANSWER,
            "the diagonal is counted",
            "row < column && column < rows",
            "row <= column && column < rows",
            SMALL,
            Mode.CHECK,
            WRONG,
        ),
        Bug(
            Kind.WRONG_ANSWER,
            "the last tiles are not flushed",
            "&& tile + 1 < end) continue;",
            ") continue;",
            SMALL,
            Mode.CHECK,
            WRONG,
        ),
    ),
    absent={},
)
