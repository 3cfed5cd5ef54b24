"""The proof of sorted_gaps.cu."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
from cuda_on_cpu import Mode
from numpy.typing import NDArray
from reference_gaps import assert_same, reference_gaps

from kernels import SortedGaps, gpu_sorted
from kernels.gpu import Compiler
from proofs.proof import DEADLOCK, OVERFLOW, RACE, SHARED_OVERFLOW, WRONG, Bug, Case, Kind, Limits, Place, Proof

Columns = list[NDArray[Any]]


def drawn(n: int, m: int, dtype: str = "float32") -> tuple[Columns, Columns]:
    """Columns of every sort, of n and m rows: spread, tied, constant, on a huge offset, apart, with infinities, and shifted."""
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((7, n)), rng.standard_normal((7, m))
    x[1], y[1] = x[1].round(1), y[1].round(1)
    x[2], y[2] = 3.0, 3.0
    x[3], y[3] = x[3] * 1000 + 1e9, y[3] * 1000 + 1e9
    x[4] += 20
    x[5, : n // 8], x[5, n // 8 : n // 4], y[5, : m // 8], y[5, m // 8 : m // 4] = np.inf, -np.inf, np.inf, -np.inf
    x[6] += 0.1
    return list(np.sort(x).astype(dtype)), list(np.sort(y).astype(dtype))


def merged(data: tuple[Columns, Columns], threads: int = 64, items: int = 4, group: int = gpu_sorted.GROUP) -> Case:
    """In blocks of 256 rows instead of 2,048, so that little data takes several of them; or as many as said."""
    reference, current = data

    def launch(compiler: Compiler, place: Place) -> SortedGaps:
        with patch.multiple(gpu_sorted, THREADS=threads, ITEMS=items, GROUP=group):
            return gpu_sorted.sorted_gaps([place(x) for x in reference], [place(y) for y in current], compiler)

    return Case(launch, lambda found: assert_same(found, reference_gaps(reference, current)))


def tied(zeros: int, others: NDArray[Any]) -> Columns:
    return [np.sort(np.concatenate([np.zeros(zeros), others])).astype(np.float32)]


LONG, SHORT, NONE = np.arange(700.0), np.array([2.5]), np.array([])
INFINITE = np.array([-np.inf, -np.inf, 1.0, 2.0, np.inf])
SMALL = "90 against 71 rows"
SEVERAL = "400 against 300 rows"
APPENDED = "parts appended until one is left"

PROOF = Proof(
    file="sorted_gaps.cu",
    variants={name: gpu_sorted.options(np.dtype(name)) for name in ("float32", "float64")},
    limits={"sorted_gaps": Limits(registers=160), "append_parts": Limits(registers=96)},
    cases={
        SMALL: merged(drawn(90, 71)),
        SEVERAL: merged(drawn(400, 300)),
        "the block of a GPU": merged(drawn(1300, 900), gpu_sorted.THREADS, gpu_sorted.ITEMS),
        "exactly two blocks, float64": merged(drawn(256, 256, "float64")),
        "one row against two blocks": merged(drawn(1, 512)),
        "one row against one": merged(drawn(1, 1)),
        APPENDED: merged(drawn(750, 1100), group=3),  # 8 parts, 3, 1
        "columns of different lengths, some empty": merged(([LONG, SHORT, NONE, LONG, SHORT], [SHORT, LONG, LONG, NONE, SHORT])),
        "ties across blocks": merged((tied(600, np.arange(10.0)), tied(255, np.arange(-1.0, 9.0)))),
        "nothing in common": merged(([np.arange(400.0)], [np.arange(400.0) + 1e3])),
        "equal and unequal shares of infinity": merged(([INFINITE, INFINITE], [INFINITE, INFINITE[1:]])),
        "nothing but infinity": merged(([np.full(9, np.inf)], [np.full(5, np.inf)])),
        "negative zero is zero": merged(([np.array([-0.0, 0.0, 1.0])], [np.array([0.0, -0.0, 2.0])])),
        "float32 against float64": merged(([np.float32([1, 2, 3])], [np.array([1.5, 2.0])])),
    },
    raced=(SEVERAL,),
    bugs=(
        Bug(
            Kind.MISSING_BARRIER,
            "after rows are staged",
            "s_b[k] = column.b[from_b + k];\n    __syncthreads();",
            "s_b[k] = column.b[from_b + k];",
            SMALL,
            Mode.RACES,
            RACE,
        ),
        Bug(
            Kind.MISSING_BARRIER,
            "before the steps of other warps are read",
            "if (lane == 0) start[k] = 0;\n    }\n    __syncthreads();",
            "if (lane == 0) start[k] = 0;\n    }",
            SMALL,
            Mode.RACES,
            RACE,
        ),
        Bug(
            Kind.MISSING_BARRIER,
            "before the warps' sums are added up",
            "s_sums[k][warp] = all;\n    }\n    __syncthreads();",
            "s_sums[k][warp] = all;\n    }",
            SMALL,
            Mode.RACES,
            RACE,
        ),
        Bug(
            Kind.DIVERGENT_BARRIER,
            "threads without rows leave before the shuffles",
            "double start[3] = { 0, 0, 0 };",
            "if (rows == 0) return;\n    double start[3] = { 0, 0, 0 };",
            SMALL,
            Mode.CHECK,
            DEADLOCK,
        ),
        Bug(
            Kind.DIVERGENT_BARRIER,
            "among the threads that write",
            "if (thread < SUMS + 2) {",
            "if (thread < SUMS + 2) {\n        __syncthreads();",
            SMALL,
            Mode.CHECK,
            DEADLOCK,
        ),
        Bug(
            Kind.OUTSIDE_GLOBAL,
            "stages a row after the last",
            "(to_a < column.n && merged ? to_a + 1 : to_a)",
            "(to_a + 1)",
            SMALL,
            Mode.ADDRESS,
            OVERFLOW,
        ),
        Bug(
            Kind.OUTSIDE_GLOBAL,
            "appends a part beyond the last",
            "first + group < number ? first + group : number;\n    Part",
            "first + group;\n    Part",
            APPENDED,
            Mode.ADDRESS,
            OVERFLOW,
        ),
        Bug(
            Kind.OUTSIDE_SHARED,
            "no room for the rows after the block's",
            "s_values[ROWS + 2]",
            "s_values[ROWS]",
            SEVERAL,
            Mode.ADDRESS,
            SHARED_OVERFLOW,
        ),
        Bug(
            Kind.UNSYNCHRONISED,
            "every lane writes its warp's step",
            "if (lane == 31) s_steps",
            "s_steps",
            SMALL,
            Mode.RACES,
            RACE,
        ),
        Bug(
            Kind.UNINITIALISED,
            "the first warp's step not set",
            "if (lane == 31) s_steps",
            "if (lane == 31 && warp) s_steps",
            SMALL,
            Mode.CHECK,
            WRONG,
        ),
        Bug(
            Kind.WRONG_ANSWER,
            "ties that began in other threads' rows are forgotten",
            "before_a = rows_below(column.a, i, next());",
            "",
            "ties across blocks",
            Mode.CHECK,
            WRONG,
        ),
        Bug(
            Kind.WRONG_ANSWER,
            "an appended part is not moved to where it begins",
            "to[0] += rows * p + from[0];",
            "to[0] += from[0];",
            SEVERAL,
            Mode.CHECK,
            WRONG,
        ),
    ),
    absent={},
)
