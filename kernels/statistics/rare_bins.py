"""Bins too rare for a chi-squared approximation, taken together."""

from __future__ import annotations

from typing import NamedTuple

from kernels.arrays import Array, namespace


class Pooled(NamedTuple):
    """Two rows of counts, [..., k + 1] float64, with the rare bins emptied into the last one; `lone` [...]: it is rare too.

    A lone rare bin has no chi-squared distribution, whatever else is in the table.
    """

    reference: Array
    current: Array
    lone: Array


def pooled(reference: Array, current: Array, least_expected: float = 5.0) -> Pooled:
    """Pool the bins of which either row would expect fewer than `least_expected` if both had the same shares. [..., k] each.

    Source: Cochran, "Some methods for strengthening the common chi-squared tests", 1954, whose rule is 5.

    >>> import numpy as np
    >>> table = pooled(np.array([91, 3, 3, 3]), np.array([82, 6, 6, 6]))
    >>> table.reference.tolist(), table.current.tolist(), bool(table.lone)
    ([91.0, 0.0, 0.0, 0.0, 9.0], [82.0, 0.0, 0.0, 0.0, 18.0], False)
    """
    xp = namespace(reference)
    table = xp.stack([reference, current], axis=-2).astype(xp.float64)  # [..., 2, k]
    rare = (expected(table).min(axis=-2, keepdims=True) < least_expected) & (least_expected > 0)
    together = xp.where(rare, table, 0.0).sum(axis=-1, keepdims=True)
    table = xp.concatenate([xp.where(rare, 0.0, table), together], axis=-1)
    last = expected(table)[..., -1].min(axis=-1)
    return Pooled(table[..., 0, :], table[..., 1, :], (last < least_expected) & (together[..., 0].sum(axis=-1) > 0))


def expected(table: Array) -> Array:
    """The counts [..., 2, k] that a table would hold if both rows had the same shares; 0 where it is empty."""
    xp = namespace(table)
    rows, bins = table.sum(axis=-1, keepdims=True), table.sum(axis=-2, keepdims=True)
    return rows * bins / xp.maximum(rows.sum(axis=-2, keepdims=True), 1.0)  # type: ignore[no-any-return]
