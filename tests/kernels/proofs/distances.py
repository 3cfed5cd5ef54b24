"""The proof of distances.cu."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from cuda_on_cpu import Mode
from numpy.typing import NDArray

from kernels import CountDistances
from kernels.gpu import Compiler
from kernels.gpu_distances import distances, distances_options
from kernels.statistics.hellinger import hellinger
from kernels.statistics.jensen_shannon import jensen_shannon
from kernels.statistics.kl import kl
from kernels.statistics.psi import psi
from kernels.statistics.total_variation import total_variation
from proofs.proof import DEADLOCK, OVERFLOW, RACE, WRONG, Bug, Case, Kind, Limits, Place, Proof

Counts = NDArray[np.int64]


def drawn(columns: int, bins: int, largest: int = 10**6) -> tuple[Counts, Counts]:
    """Counts of sides of different sizes, a third of the bins empty on each, and columns that have lost a side, or both."""
    rng = np.random.default_rng(columns * 1000 + bins)
    a, b = rng.integers(0, largest, (columns, bins)), rng.integers(0, 50, (columns, bins))
    a[rng.random(a.shape) < 1 / 3] = 0
    b[rng.random(b.shape) < 1 / 3] = 0
    a[3::7], b[3::14], b[5::11] = 0, 0, 0
    return a, b


def measured(data: tuple[NDArray[Any], NDArray[Any]], smoothing: float = 0.5) -> Case:
    a, b = data

    def launch(compiler: Compiler, place: Place) -> CountDistances:
        return distances(place(a), place(b), smoothing, compiler)

    def check(found: CountDistances) -> None:
        if a.shape[1] == 0:  # seeing nothing is not stability
            assert all(np.isnan(getattr(found, field.name)).all() for field in fields(CountDistances))
            return
        of_one = CountDistances(
            psi=psi(a, b, smoothing),
            jensen_shannon=jensen_shannon(a, b),
            kl=kl(a, b, smoothing),
            hellinger=hellinger(a, b),
            total_variation=total_variation(a, b),
        )
        for field in fields(CountDistances):
            ours, theirs = getattr(found, field.name), getattr(of_one, field.name)
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12, err_msg=field.name)

    return Case(launch, check)


SMALL = "9 columns of 33 bins"
FEW_BINS = "fewer bins than lanes"
DISJOINT = "nothing in common"

PROOF = Proof(
    file="distances.cu",
    variants={"every table": distances_options()},
    limits={"distances": Limits()},
    cases={
        SMALL: measured(drawn(9, 33)),
        FEW_BINS: measured(drawn(7, 5)),
        "exactly one block of columns, one lane a bin": measured(drawn(8, 32)),
        "many columns": measured(drawn(203, 33)),
        "many bins": measured(drawn(3, 5000)),
        "no columns": measured(drawn(0, 33)),
        "no bins": measured(drawn(2, 0)),
        "one bin": measured(drawn(1, 1)),
        "counts beyond 32 bits": measured(drawn(9, 33, 2**40)),
        "int32 and uint8, which are widened": measured(
            tuple(x.astype(t) for x, t in zip(drawn(4, 33), ("i4", "u1"), strict=True))
        ),
        "no smoothing": measured(drawn(9, 33), smoothing=0.0),
        DISJOINT: measured((np.array([[5, 0, 7, 0]]), np.array([[0, 3, 0, 1]]))),
        "the same on both sides": measured((np.arange(70).reshape(2, 35), np.arange(70).reshape(2, 35))),
        "everything in one bin": measured((np.eye(3, 40, dtype=int) * 9, np.eye(3, 40, dtype=int) * 4)),
    },
    raced=(SMALL, FEW_BINS, "no bins"),
    bugs=(
        Bug(
            Kind.DIVERGENT_BARRIER,
            "lanes leave before the last sum of all",
            "moved = of_all_lanes(moved);\n    if (lane != 0) return;",
            "if (lane != 0) return;\n    moved = of_all_lanes(moved);",
            SMALL,
            Mode.CHECK,
            DEADLOCK,
        ),
        Bug(
            Kind.DIVERGENT_BARRIER,
            "lanes without a bin leave early",
            "if (column >= columns) return;",
            "if (column >= columns || lane >= bins) return;",
            FEW_BINS,
            Mode.CHECK,
            DEADLOCK,
        ),
        Bug(
            Kind.OUTSIDE_GLOBAL,
            "reads past the last bin",
            "k < bins; k += LANES) {\n        rows_a",
            "k <= bins; k += LANES) {\n        rows_a",
            SMALL,
            Mode.ADDRESS,
            OVERFLOW,
        ),
        Bug(
            Kind.OUTSIDE_GLOBAL,
            "columns that are not there",
            "if (column >= columns) return;",
            "",
            SMALL,
            Mode.ADDRESS,
            OVERFLOW,
        ),
        Bug(Kind.UNSYNCHRONISED, "every lane writes the answer", "if (lane != 0) return;", "", SMALL, Mode.RACES, RACE),
        Bug(
            Kind.WRONG_ANSWER,
            "0 log 0 where a share is empty",
            "e > -1 ? e : 0.0",
            "e",
            DISJOINT,
            Mode.CHECK,
            WRONG,
        ),
        Bug(
            Kind.WRONG_ANSWER,
            "empty bins are smoothed too",
            "filled += (a[k] | b[k]) != 0;",
            "filled += 1;",
            SMALL,
            Mode.CHECK,
            WRONG,
        ),
    ),
    absent={
        Kind.MISSING_BARRIER: "its lanes meet in shuffles alone, which wait by themselves",
        Kind.OUTSIDE_SHARED: "it uses no shared memory",
        Kind.UNINITIALISED: "it uses no shared memory",
    },
)
