"""Means and products of all columns of a table, from slabs of its rows: what linear statistics of whole tables start from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kernels.arrays import Array, host


@dataclass(frozen=True, slots=True, eq=False)
class Scatter:
    """rows, mean [d] and products [d, d], of the columns less their means, summed over rows: float64, on the host."""

    rows: int
    mean: Array
    products: Array

    @classmethod
    def of(cls, slabs: Iterable[Array]) -> Scatter:
        """Of all rows in the slabs [any, d].

        >>> Scatter.of([np.array([[1.0, 2.0]]), np.array([[3.0, 6.0]])]).products.tolist()
        [[2.0, 4.0], [4.0, 8.0]]
        """
        whole = cls(0, np.zeros(()), np.zeros(()))
        for slab in slabs:
            if len(slab):
                mean = slab.mean(axis=0, dtype="float64")
                part = slab - mean
                whole = whole.merge(cls(len(slab), host(mean), host(part.T @ part)))
        return whole

    def merge(self, other: Scatter) -> Scatter:
        """Of both sides' rows, as if seen together: Chan, Golub and LeVeque, 1979."""
        if self.rows == 0 or other.rows == 0:
            return self if other.rows == 0 else other
        rows = self.rows + other.rows
        step = other.mean - self.mean
        across = np.outer(step, step) * (self.rows * other.rows / rows)
        return Scatter(rows, self.mean + step * (other.rows / rows), self.products + other.products + across)
