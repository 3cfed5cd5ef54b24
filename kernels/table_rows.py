"""Rows of two tables made comparable: what is missing filled in, columns in one unit, no more rows than wanted.

Statistics over whole rows cannot skip a cell. A missing or infinite value becomes the reference's median of its column, on both
sides alike; a row without any value is left out. Leaving out every row with a gap would leave almost none of a wide table (of 100
columns with 5% missing, 0.6% of the rows) and not a fair choice of them. Filled cells pile up at the median, so that a change in
what is missing is seen as the change that it is.
"""

from __future__ import annotations

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


def comparable(x: Array, y: Array, dtype: str = "float64", scaled: bool = True) -> tuple[Array, Array]:
    """Reference x [n, d] and current y [m, d], filled, less the reference's median, in its standard deviations.

    The deviation is the reference's interquartile range over 1.349, which a few outliers do not move; where a column's quartiles
    are equal, its standard deviation; where the reference is constant, the current's. A constant on both sides is left as it is.
    scaled  False takes one unit for all columns, the median of theirs, as for an embedding: it keeps the distances between rows

    The row below without a value has no part.

    >>> x, y = comparable(np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([[np.inf], [4.349]]))
    >>> x.round(4).tolist(), y.round(4).tolist()
    ([[-1.349], [-0.6745], [0.0], [0.6745]], [[0.9099]])
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
    unit = xp.where(unit == unit, unit, 1.0)
    middle = xp.where(middle == middle, middle, 0.0)
    return _filled(x, middle, unit, dtype), _filled(y, middle, unit, dtype)


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


def _filled(x: Array, middle: Array, unit: Array, dtype: str) -> Array:
    xp = namespace(x)
    out, kept = xp.empty(x.shape, dtype), 0
    for row in range(0, len(x), SLAB):
        part = x[row : row + SLAB]
        present = xp.isfinite(part)
        seen = present.any(axis=1)
        values = xp.where(present, part, middle) - middle
        values = xp.clip(values[seen] / unit, -FARTHEST, FARTHEST)
        out[kept : kept + len(values)] = values
        kept += len(values)
    return out[:kept]  # type: ignore[no-any-return]
