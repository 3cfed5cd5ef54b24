"""`kernels.rbf_sums` on the GPU: launches `mmd.cu`."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np

from kernels.arrays import Array, namespace
from kernels.gpu import Compiler, compile_for_device
from kernels.gpu_memory import fell, free, too_little
from kernels.rbf_sums import RbfSums, in_kernel_units

TILE = 64  # as in mmd.cu: rows of a block, and columns of weights of a chunk
SIDE = 16
CHUNKS = 3  # of weights in one launch; their sums and the tiles fill the static shared memory
MOST_BLOCKS = 64  # of rows, where memory is short
BLOCKS = 4096  # to aim at: enough to fill any card, few enough that their parts are small; fixed, as it decides the last bits


def options(chunks: int) -> tuple[str, ...]:
    """The macros of mmd.cu."""
    return (f"-DCHUNKS={chunks}",)


def rbf_sums(rows: Array, weights: Array, bandwidth: float, compiler: Compiler = compile_for_device) -> RbfSums:
    """See `kernels.rbf_sums`. Where memory lacks for all rows, two blocks of them at a time, in at most twice the time."""
    xp, blocks = namespace(rows), 1
    while True:
        try:
            found = _in_blocks(rows, weights, bandwidth, compiler, blocks)
        except MemoryError as error:
            if blocks >= min(MOST_BLOCKS, len(rows) // TILE):
                raise too_little(f"two blocks of {-(-len(rows) // blocks):,} of {len(rows):,} rows") from error
        else:
            break
        free(xp)
        blocks = max(2 * blocks, 4)
    if blocks > 1:
        fell(f"rows, two of {blocks} blocks at a time")
    return found


def _in_blocks(rows: Array, weights: Array, bandwidth: float, compiler: Compiler, blocks: int) -> RbfSums:
    """Every pair of rows is in some pair of blocks: once if they are of two blocks, else in `blocks` - 1 of these pairs."""
    if blocks == 1:
        return _rbf_sums(rows, weights, bandwidth, compiler)
    xp = namespace(rows)
    bounds = [len(rows) * block // blocks for block in range(blocks + 1)]
    parts = [slice(start, stop) for start, stop in pairwise(bounds)]

    def pair(one: slice, other: slice) -> RbfSums:
        both = [xp.concatenate([all_[one], all_[other]]) for all_ in (rows, weights)]
        return _rbf_sums(both[0], both[1], bandwidth, compiler)

    pairs = [pair(one, other) for one, other in combinations(parts, 2)]
    each = [_rbf_sums(rows[part], weights[part], bandwidth, compiler) for part in parts]

    def sums(name: str) -> Array:
        within: Array = sum(getattr(found, name) for found in each)
        return sum(getattr(found, name) for found in pairs) - (blocks - 2) * within  # type: ignore[no-any-return]

    return RbfSums(sums("quadratic"), sums("linear"), sums("total"))


def _rbf_sums(rows: Array, weights: Array, bandwidth: float, compiler: Compiler) -> RbfSums:
    xp = namespace(rows)
    z = in_kernel_units(rows, bandwidth)
    if z.shape[1] == 0:  # the kernel has at least one column, and rows without any are all alike
        z = xp.zeros((len(z), 1), xp.float32)
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
