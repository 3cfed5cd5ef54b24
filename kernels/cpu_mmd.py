"""`kernels.rbf_sums` on the CPU: the kernel matrix in tiles that fit the caches, each computed, used and forgotten.

A tile costs one float32 matrix product for the distances, one exponential in place, and one product with all the weights; sums
over tiles are float64. NumPy's products use every core by themselves, the exponential is shared out over threads. A tile and its
mirror image beyond the diagonal are the same: one of the two is computed. Beside the rows, memory is one copy of them and a tile.
"""

from __future__ import annotations

import numpy as np

from kernels.arrays import Array
from kernels.cpu import _threads
from kernels.rbf_sums import RbfSums, in_kernel_units

TILE_ROWS = 1024
TILE_COLUMNS = 2048  # a multiple of TILE_ROWS; together 8 MiB of float32
SLAB = 128  # rows of a tile that one thread takes: 1 MiB stays in its own cache


def rbf_sums(rows: Array, weights: Array, bandwidth: float) -> RbfSums:
    """See `kernels.rbf_sums`."""
    z = in_kernel_units(rows, bandwidth)
    n, d = z.shape
    number = weights.shape[1]
    # -|a - b|² = 2 a·b - |a|² - |b|², as one product: [2a, -|a|², -1] · [b, 1, |b|²].
    norms = np.einsum("nd,nd->n", z, z, dtype=np.float64).astype(np.float32)
    right = np.empty((n, d + 2), np.float32)
    right[:, :d], right[:, d], right[:, d + 1] = z, 1, norms
    del z

    quadratic, linear, total = np.zeros(number), np.zeros(number), 0.0
    tile = np.empty((min(TILE_ROWS, n), min(TILE_COLUMNS, n)), np.float32)
    with _threads(many=tile.size > SLAB * TILE_COLUMNS) as run:
        for j in range(0, n, TILE_COLUMNS):
            b = right[j : j + TILE_COLUMNS]
            # The last column, of ones, makes row sums of the same product.
            w_b = np.ones((len(b), number + 1), np.float32)
            w_b[:, :number] = weights[j : j + TILE_COLUMNS]
            for i in range(0, min(j + TILE_COLUMNS, n), TILE_ROWS):
                a = right[i : i + TILE_ROWS] * np.float32(2)
                a[:, d], a[:, d + 1] = -norms[i : i + TILE_ROWS], -1
                k = tile[: len(a), : len(b)]
                np.matmul(a, b.T, out=k)
                list(run(_exponential, (k[row : row + SLAB] for row in range(0, len(k), SLAB))))
                below = i >= j  # the columns left of this one have had this tile's mirror image, but for those inside it
                if below:
                    k[:, : i - j] = 0
                    square = k[:, i - j : i - j + len(k)]
                    square[np.tri(len(square), dtype=bool)] = 0
                products = k @ w_b
                w_a = weights[i : i + TILE_ROWS].astype(np.float32)
                row_sums = products[:, -1].astype(np.float64)
                quadratic += 2 * np.einsum("np,np->p", w_a, products[:, :-1], dtype=np.float64)
                linear += products[:, :-1].sum(axis=0, dtype=np.float64) + row_sums @ w_a
                total += 2 * float(row_sums.sum())
    return RbfSums(quadratic, linear, np.asarray(total))


def _exponential(exponents: Array) -> None:
    np.minimum(exponents, 0, out=exponents)  # rounding may have made a distance of nothing slightly negative
    np.exp(exponents, out=exponents)
