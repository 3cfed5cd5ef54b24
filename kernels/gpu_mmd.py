"""`kernels.rbf_sums` on the GPU: launches `mmd.cu`."""

from __future__ import annotations

import numpy as np

from kernels.arrays import Array, namespace
from kernels.gpu import Compiler, compile_for_device
from kernels.rbf_sums import RbfSums, in_kernel_units

TILE = 64  # as in mmd.cu: rows of a block, and columns of weights of a chunk
SIDE = 16
CHUNKS = 3  # of weights in one launch; their sums and the tiles fill the static shared memory
BLOCKS = 4096  # to aim at: enough to fill any card, few enough that their parts are small; fixed, as it decides the last bits


def options(chunks: int) -> tuple[str, ...]:
    """The macros of mmd.cu."""
    return (f"-DCHUNKS={chunks}",)


def rbf_sums(rows: Array, weights: Array, bandwidth: float, compiler: Compiler = compile_for_device) -> RbfSums:
    """See `kernels.rbf_sums`."""
    xp = namespace(rows)
    z = in_kernel_units(rows, bandwidth)
    (n, d), number = z.shape, weights.shape[1]
    tiles = max(-(-n // TILE), 1)
    shares = min(max(BLOCKS // tiles, 1), tiles)

    ones = xp.ones((n, 1), xp.int8)  # their sum is the whole matrix's
    every = xp.concatenate([weights, ones], axis=1)
    sums = []
    for first in range(0, number + 1, CHUNKS * TILE):
        some = every[:, first : first + CHUNKS * TILE]
        chunks = -(-some.shape[1] // TILE)
        padded = xp.zeros((n, chunks * TILE), xp.int8)
        padded[:, : some.shape[1]] = some
        module = compiler("mmd.cu", options(chunks))
        parts = xp.empty((tiles * shares, 2 * chunks * TILE), xp.float64)
        arguments = z, padded, np.int64(n), np.int32(d), np.int32(tiles), parts
        module.get_function("rbf_sums")((tiles, shares), (SIDE, SIDE), arguments)
        out = xp.empty((2, chunks * TILE), xp.float64)
        module.get_function("sum_parts")((out.size,), (SIDE * SIDE,), (parts, np.int64(len(parts)), out))
        sums.append(out[:, : some.shape[1]])
    quadratic, linear = xp.concatenate(sums, axis=1)
    return RbfSums(quadratic[:-1], linear[:-1], linear[-1])
