"""Rows of two tables made comparable: what is missing filled in, columns in one unit, no more rows than wanted.

Statistics over whole rows cannot skip a cell. A missing or infinite value becomes the reference's median of its column, on both
sides alike; a row without any value is left out. Leaving out every row with a gap would leave almost none of a wide table (of 100
columns with 5% missing, 0.6% of the rows) and not a fair choice of them. Filled cells pile up at the median, so that a change in
what is missing is seen as the change that it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.arrays import Array, namespace

QUANTILE_ROWS = 20_000  # rows that medians and quartiles are taken from, evenly spread over the table
FARTHEST = 1e6  # deviations; what lies beyond is put there, so that its square is a float32
SLAB = 1 << 14  # rows converted at a time


def sampled(x: Array, rows: int | None, rng: np.random.Generator) -> Array:
    """At most `rows` rows of x, drawn without replacement, in their order; all of them if `rows` is None or x has no more.

    >>> len(sampled(np.ones((10, 2)), 4, np.random.default_rng(0)))
    4
    """
    if rows is None or len(x) <= rows:
        return x
    xp = namespace(x)
    return x[xp.asarray(np.sort(rng.choice(len(x), rows, replace=False)))]  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What a table's columns are taken about and measured in, [d] float64 each, where the table is."""

    middle: Array
    unit: Array

    def slabs(self, x: Array) -> Iterator[Array]:
        """x [n, d] in this frame, gaps filled with the middle and rows without a value left out; float64, some rows at a time."""
        xp = namespace(x)
        for row in range(0, len(x), SLAB):
            part = x[row : row + SLAB]
            present = xp.isfinite(part)
            values = part - self.middle
            values /= self.unit
            if not present.all():
                values[~present] = 0.0
                values = values[present.any(axis=1)]
            yield xp.clip(values, -FARTHEST, FARTHEST, out=values)


def frame(x: Array, y: Array, scaled: bool = True) -> Frame:
    """The frame of reference x [n, d] and current y [m, d]: the reference's medians and standard deviations.

    The deviation is the reference's interquartile range over 1.349, which a few outliers do not move; where a column's quartiles
    are equal, its standard deviation; where the reference is constant, the current's. A constant on both sides has unit 1.
    scaled  False takes one unit for all columns, the median of theirs, as for an embedding: it keeps the distances between rows

    >>> found = frame(np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([[9.0]]))
    >>> found.middle.tolist(), found.unit.round(3).tolist()
    ([3.0], [1.483])
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"the tables are {x.shape} and {y.shape}: pass both as [rows, columns], with the same columns")
    if x.dtype.kind != "f" or y.dtype.kind != "f":
        raise TypeError(f"the tables are {x.dtype} and {y.dtype}: cast both to float32 or float64")
    xp = namespace(x)
    middle, unit = xp.zeros(x.shape[1]), xp.ones(x.shape[1])
    for j in range(x.shape[1]):
        middle[j], own = _middle_and_deviation(x[:, j])
        other_middle, other = _middle_and_deviation(y[:, j])
        middle[j] = xp.where(middle[j] == middle[j], middle[j], other_middle)  # a column without a value on this side
        unit[j] = xp.where(own > 0, own, xp.where(other > 0, other, xp.nan))
    if not scaled and (unit == unit).any():
        unit[:] = xp.median(unit[unit == unit])
    return Frame(xp.where(middle == middle, middle, 0.0), xp.where(unit == unit, unit, 1.0))


def comparable(x: Array, y: Array, scaled: bool = True) -> tuple[Array, Array]:
    """Reference x [n, d] and current y [m, d] in their frame, whole, as float32. The row below without a value has no part.

    >>> x, y = comparable(np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([[np.inf], [4.483]]))
    >>> x.shape, y.round(3).tolist()
    ((4, 1), [[1.0]])
    """
    both = frame(x, y, scaled)
    return _whole(both, x), _whole(both, y)


def _whole(of: Frame, x: Array) -> Array:
    out, rows = namespace(x).empty(x.shape, "float32"), 0
    for slab in of.slabs(x):
        out[rows : rows + len(slab)] = slab
        rows += len(slab)
    return out[:rows]  # type: ignore[no-any-return]


def _middle_and_deviation(column: Array) -> tuple[Any, Any]:
    """Of the finite values; NaN and 0 where there are none."""
    xp = namespace(column)
    some = column[:: max(-(-len(column) // QUANTILE_ROWS), 1)].astype(xp.float64)
    some = xp.sort(some[xp.isfinite(some)])
    if len(some) == 0:
        some = column.astype(xp.float64)
        some = xp.sort(some[xp.isfinite(some)])
    if len(some) == 0:
        return xp.asarray(xp.nan), xp.asarray(0.0)
    low, high = some[len(some) // 4], some[(3 * len(some)) // 4 if len(some) > 1 else 0]
    if high > low:
        return some[len(some) // 2], (high - low) / 1.349
    every = column.astype(xp.float64)
    return some[len(some) // 2], xp.std(every[xp.isfinite(every)])
