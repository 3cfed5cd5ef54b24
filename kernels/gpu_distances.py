"""`kernels.distances` on the GPU: one launch of `distances.cu` over all columns."""

from __future__ import annotations

import numpy as np

from kernels.arrays import Array, namespace
from kernels.count_distances import CountDistances
from kernels.gpu import WARP, Compiler, compile_for_device

COLUMNS = 8  # of a block, a warp each


def distances_options() -> tuple[str, ...]:
    """The macros of distances.cu."""
    return (f"-DCOLUMNS={COLUMNS}",)


def distances(
    reference: Array, current: Array, smoothing: float = 0.5, compiler: Compiler = compile_for_device
) -> CountDistances:
    """See `kernels.distances`."""
    xp = namespace(reference)
    d, bins = reference.shape
    out = xp.empty((5, d), xp.float64)
    if d:
        sides = (xp.ascontiguousarray(counts, dtype=xp.int64) for counts in (reference, current))
        kernel = compiler("distances.cu", distances_options()).get_function("distances")
        kernel((-(-d // COLUMNS),), (WARP, COLUMNS), (*sides, np.int32(d), np.int64(bins), np.float64(smoothing), out))
    psi, jensen_shannon, kl, hellinger, total_variation = out
    return CountDistances(psi, jensen_shannon, kl, hellinger, total_variation)
