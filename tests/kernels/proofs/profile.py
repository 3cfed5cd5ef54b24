"""The proof of profile.cu."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
from cuda_on_cpu import Mode
from numpy.typing import NDArray
from reference_profile import assert_same, reference_profile

from kernels import ColumnCounts, gpu
from kernels.gpu import Compiler, profile_options
from proofs.proof import DEADLOCK, DIVERGED, INDEX, OVERFLOW, RACE, WRONG, Bug, Case, Kind, Limits, Place, Proof

FLOAT32, FLOAT64 = np.dtype("float32"), np.dtype("float64")


def drawn(rows: int, columns: int, edges: int, dtype: str = "float32", offset: float = 1e4) -> tuple[NDArray[Any], NDArray[Any]]:
    """Normal values around an offset, with missing ones, infinities and values that lie on edges."""
    rng = np.random.default_rng(rows)
    own = np.sort(rng.standard_normal((columns, edges)) + offset, axis=1).astype(dtype)
    x = (rng.standard_normal((rows, columns)) + offset).astype(dtype)
    x[rng.random(x.shape) < 0.05] = np.nan
    x[rng.random(x.shape) < 0.01] = np.inf
    x[rng.random(x.shape) < 0.01] = -np.inf
    x[::17] = own.T[np.arange(len(x[::17])) % edges]
    return x, own


def filled(value: float, rows: int, columns: int, edges: int = 31, dtype: str = "float32") -> tuple[NDArray[Any], NDArray[Any]]:
    """One value everywhere, and edges on both sides of it and, where there is an odd number of them, on it."""
    around = np.linspace(-3, 3, edges) + (value if np.isfinite(value) else 0)
    return np.full((rows, columns), value, dtype), np.tile(around.astype(dtype), (columns, 1))


def profiled(data: tuple[NDArray[Any], NDArray[Any]], block_rows: int = gpu.BLOCK_ROWS, group: int = gpu.GROUP) -> Case:
    x, edges = data

    def launch(compiler: Compiler, place: Place) -> ColumnCounts:
        with patch.multiple(gpu, BLOCK_ROWS=block_rows, GROUP=group):
            return gpu.profile(place(x), place(edges), compiler)

    def check(found: ColumnCounts) -> None:
        if x.shape[1] == 0:  # the reference goes column by column
            assert found.counts.shape == (0, edges.shape[1] + 1)
        else:
            expected = reference_profile(x, edges)
            assert_same(found, expected, x)
            # assert_same forgives what cancels in a sum of squares. Only the digits that a mean cannot hold may be lost here.
            spread = np.sqrt(expected.m2 / np.maximum(expected.finite, 1))
            lost = 1e-14 * np.abs(np.where(expected.finite > 0, expected.mean, 0)) * spread * expected.finite
            assert np.all(np.abs(found.m2 - expected.m2) <= 1e-12 * expected.m2 + lost), (found.m2, expected.m2)

    return Case(launch, check)


SMALL = "203 rows, 40 columns"
MERGED = "parts merged until one is left"

PROOF = Proof(
    file="profile.cu",
    variants={
        "float32, 31 edges": profile_options(FLOAT32, 31),
        "float64, 31 edges": profile_options(FLOAT64, 31),
        "float32, 256 edges": profile_options(FLOAT32, 256),
        "float64, 400 edges": profile_options(FLOAT64, 400),
    },
    limits={"profile": Limits(), "merge_parts": Limits()},
    cases={
        SMALL: profiled(drawn(203, 40, 31)),
        "several blocks both ways, lanes beyond the last column": profiled(drawn(5000, 40, 31)),
        "exactly one block of rows": profiled(drawn(2048, 33, 31)),
        "float64": profiled(drawn(2049, 33, 31, "float64")),
        "so many edges that fewer columns share a block": profiled(drawn(300, 3, 400, "float64")),
        MERGED: profiled(drawn(700, 2, 31), block_rows=64, group=4),  # 11 parts, 3, 1
        "no rows": profiled(filled(1, 0, 2)),
        "one row": profiled(filled(1, 1, 1)),
        "no columns": profiled(filled(1, 9, 0)),
        "no edges": profiled(filled(np.inf, 9, 2, edges=0)),
        "nothing but NaN": profiled(filled(np.nan, 300, 3)),
        "nothing but infinity": profiled(filled(np.inf, 300, 3)),
        "nothing but minus infinity": profiled(filled(-np.inf, 300, 3)),
        "constant, on an edge": profiled(filled(0.1, 3000, 3)),
        "constant zero": profiled(filled(0, 300, 3, dtype="float64")),
        "offset of 8 million in float32": profiled(drawn(2500, 5, 31, offset=2.0**23)),
        "offset of 10 trillion in float64": profiled(drawn(2500, 5, 31, "float64", offset=1e13)),
        "the largest floats": profiled((np.array([[3.4e38], [-3.4e38], [1e-45]], np.float32), np.zeros((1, 31), np.float32))),
    },
    raced=(SMALL, MERGED),
    bugs=(
        Bug(
            Kind.MISSING_BARRIER,
            "between two steps of the reduction",
            "half][lane]);\n        __syncthreads();",
            "half][lane]);",
            SMALL,
            Mode.CHECK,
            WRONG,
        ),
        Bug(
            Kind.MISSING_BARRIER,
            "after edges and counters are set",
            "i % LANES] = 0u;\n    __syncthreads();",
            "i % LANES] = 0u;",
            SMALL,
            Mode.RACES,
            RACE,
        ),
        Bug(
            Kind.DIVERGENT_BARRIER,
            "in the half that reduces",
            "if (team < half) s_moments",
            "if (team < half) __syncthreads();\n        if (team < half) s_moments",
            SMALL,
            Mode.CHECK,
            DIVERGED,
        ),
        Bug(
            Kind.DIVERGENT_BARRIER,
            "dead lanes leave early",
            "const bool live = column < columns;",
            "const bool live = column < columns;\n    if (!live) return;",
            SMALL,
            Mode.CHECK,
            DEADLOCK,
        ),
        Bug(
            Kind.OUTSIDE_GLOBAL,
            "reads past the last row",
            "for (; i < mine; ++i, next += step)",
            "for (; i <= mine; ++i, next += step)",
            SMALL,
            Mode.ADDRESS,
            OVERFLOW,
        ),
        Bug(
            Kind.OUTSIDE_GLOBAL,
            "edges of columns that are not there",
            "first_column + l < columns ? edges[(long long)(first_column + l) * EDGES + e] : REAL(0)",
            "edges[(long long)(first_column + l) * EDGES + e]",
            SMALL,
            Mode.ADDRESS,
            OVERFLOW,
        ),
        Bug(
            Kind.OUTSIDE_GLOBAL,
            "merges a part beyond the last",
            "first + group < number ? first + group : number;\n    Moments",
            "first + group;\n    Moments",
            MERGED,
            Mode.ADDRESS,
            OVERFLOW,
        ),
        Bug(
            Kind.OUTSIDE_SHARED,
            "a counter after the last",
            "[missing ? MISSING :",
            "[missing ? COUNTERS :",
            SMALL,
            Mode.ADDRESS,
            INDEX,
        ),
        Bug(
            Kind.UNSYNCHRONISED,
            "histogram not atomic",
            "atomicAdd(&s_counts[missing ? MISSING : edges_at_or_below(s_edges, lane, upper, value)][lane], 1u);",
            "++s_counts[missing ? MISSING : edges_at_or_below(s_edges, lane, upper, value)][lane];",
            SMALL,
            Mode.RACES,
            RACE,
        ),
        Bug(
            Kind.UNSYNCHRONISED,
            "two blocks add to one sum, not atomic",
            "atomicAdd(&counts[(long long)column * COUNTERS + c], (unsigned long long)s_counts[c][lane])",
            "counts[(long long)column * COUNTERS + c] += s_counts[c][lane]",
            MERGED,
            Mode.RACES,
            RACE,
        ),
        Bug(
            Kind.UNINITIALISED,
            "counters not set to zero",
            "s_counts[i / LANES][i % LANES] = 0u;",
            ";",
            SMALL,
            Mode.CHECK,
            WRONG,
        ),
        Bug(
            Kind.WRONG_ANSWER,
            "a value on an edge goes below it",
            "<= value",
            "< value",
            SMALL,
            Mode.CHECK,
            WRONG,
        ),
        Bug(
            Kind.WRONG_ANSWER,
            "a part without values lends its mean",
            "if (b.finite == 0) return a;",
            "",
            "one row",
            Mode.CHECK,
            WRONG,
        ),
        Bug(
            Kind.WRONG_ANSWER,
            "the square of the sum, not about a first value",
            "const double distance = double(kept) - double(shift);",
            "const double distance = double(kept);",
            "offset of 8 million in float32",
            Mode.CHECK,
            WRONG,
        ),
    ),
    absent={},
)
