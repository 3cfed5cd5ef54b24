"""Sums over the Gaussian kernel matrix of a table's rows: what `kernels.rbf_sums` returns and the units it computes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kernels.arrays import Array, namespace

CENTRAL_ROWS = 1001  # of which the middle value is taken; any value near the rows will do
FARTHEST = 1e4  # coordinates are cut off here, in kernel units: that far away the kernel is 0, and squares stay finite


@dataclass(frozen=True, slots=True, eq=False)
class RbfSums:
    """With K the kernel matrix of the rows, zeros on its diagonal, and w a column of weights. All float64, where the rows are.

    quadratic  [P] w' K w, for every column of weights
    linear     [P] 1' K w
    total      [] 1' K 1
    """

    quadratic: Array
    linear: Array
    total: Array


def in_kernel_units(rows: Array, bandwidth: float) -> Array:
    """rows [n, d] as float32 z [n, d] with exp(-|a - b|² / (2 bandwidth²)) = exp(-|z_a - z_b|²), near the origin.

    Taken about a middle value of each column first, so that no offset costs float32 its digits.

    >>> import numpy as np
    >>> in_kernel_units(np.array([[1e9], [1e9 + 2], [1e9 + 4]]), bandwidth=2**0.5).tolist()
    [[-1.0], [0.0], [1.0]]
    """
    xp: Any = namespace(rows)
    z = xp.empty(rows.shape, xp.float32)
    if rows.size == 0:
        return z  # type: ignore[no-any-return]
    some = rows[:: -(-len(rows) // CENTRAL_ROWS)]
    middle = xp.sort(some, axis=0)[len(some) // 2]
    for row in range(0, len(rows), 1 << 14):
        part = (rows[row : row + (1 << 14)] - middle).astype(xp.float64) / (bandwidth * 2**0.5)
        z[row : row + (1 << 14)] = xp.clip(part, -FARTHEST, FARTHEST)
    return z  # type: ignore[no-any-return]
