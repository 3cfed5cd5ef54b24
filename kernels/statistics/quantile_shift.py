"""The largest shift of a column's quantiles, in interquartile ranges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.arrays import Array, host, namespace
from kernels.measured import Measured

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
_QUARTILES = 1, 3


def quantile_shift(reference: Sequence[Array], current: Sequence[Array]) -> Array:
    """The largest shift of the 5, 25, 50, 75 and 95% quantiles, in the reference's interquartile ranges: [d], with its sign.

    Each side holds d ascending arrays without NaN. A quantile is the smallest value that has its share of the rows at or below
    it, which makes it a value of the column: `np.quantile(method="inverted_cdf")`. Where the reference's range is 0, any shift is
    infinitely large, and none is 0; equal infinities are no shift. NaN where a side has no rows.

    >>> import numpy as np
    >>> quantile_shift([np.arange(1.0, 101.0)], [np.arange(11.0, 111.0)]).tolist()
    [0.2]
    """
    before, after = (_order_statistics(side, _ranks(side)) for side in (reference, current))
    shifts = _in_ranges(_less(after, before), before)
    largest = np.argmax(np.abs(shifts), axis=1)
    return _where(reference, np.take_along_axis(shifts, largest[:, None], axis=1)[:, 0])


def measure(reference: Sequence[Array], current: Sequence[Array], confidence: float = 0.95) -> Measured:
    """The largest shift for all columns at once. No p-value: the interval says as much.

    effect  the size of the largest shift, without its sign
    low, high  of each quantile an interval between two order statistics, as certain as the binomial law of the rows below it
            says; of each shift the two intervals' combined (the squares of their arms add); the error is shared out among the
            five, and the largest `low` and `high` are taken, so that the interval holds whichever is the largest. The range is
            taken as the unit, not as an estimate. No form of the distribution is assumed; under about 150 rows a side the outer
            quantiles have no bounds, and `high` is infinite.

    Sources: David and Nagaraja, "Order statistics", 2003, section 7.1; Zou and Donner, "Construction of confidence limits about
    effect measures", 2008.

    >>> import numpy as np
    >>> found = measure([np.arange(1.0, 1001.0)], [np.arange(101.0, 1101.0)])
    >>> found.value.tolist(), found.effect.tolist(), found.low.round(2).tolist(), found.high.round(2).tolist()
    ([0.2], [0.2], [0.15], [0.32])
    """
    from scipy.special import ndtri

    z = float(ndtri(1 - (1 - confidence) / (2 * len(LEVELS))))
    (before, under_before, over_before), (after, under_after, over_after) = (
        [_order_statistics(side, ranks) for ranks in (_ranks(side), *_around(side, z))] for side in (reference, current)
    )
    with np.errstate(over="ignore"):
        down = np.hypot(_less(after, under_after), _less(over_before, before))
        up = np.hypot(_less(over_after, after), _less(before, under_before))
        shift = _less(after, before)
        lowest, highest = (_in_ranges(bound, before) for bound in (_less(shift, down), shift + up))
    effect = np.abs(_in_ranges(shift, before)).max(axis=1)
    nearest = np.where((lowest > 0) | (highest < 0), np.minimum(np.abs(lowest), np.abs(highest)), 0.0)
    nearest = np.where(np.isnan(shift), np.nan, nearest)
    farthest = np.maximum(np.abs(lowest), np.abs(highest))
    found = (effect, nearest.max(axis=1), farthest.max(axis=1))
    return Measured(quantile_shift(reference, current), None, *(_where(reference, value) for value in found))


def _ranks(side: Sequence[Array]) -> Array:
    """[d, 5]: which row each quantile is, the first being 1."""
    rows: Array = np.array([len(column) for column in side], float)[:, None]
    return np.ceil(np.round(rows * LEVELS, 9))  # type: ignore[no-any-return]


def _around(side: Sequence[Array], z: float) -> tuple[Array, Array]:
    """The rows between which each quantile of the population lies, with the confidence of z deviations; some may not exist."""
    rows = np.array([len(column) for column in side], float)[:, None]
    arm = z * np.sqrt(rows * LEVELS * (1 - LEVELS))
    return np.floor(rows * LEVELS - arm), np.ceil(rows * LEVELS + arm) + 1


def _order_statistics(side: Sequence[Array], ranks: Array) -> Array:
    """[d, 5] float64 in host memory: each column's values of those ranks; infinite beyond its ends, NaN if it has no rows."""
    found = np.empty((len(side), len(LEVELS)))
    for column, own, values in zip(side, ranks, found, strict=True):
        if len(column) == 0:
            values[:] = np.nan
            continue
        inside = np.clip(own, 1, len(column)).astype(np.int64) - 1
        values[:] = host(column[namespace(column).asarray(inside)])
        values[own < 1], values[own > len(column)] = -np.inf, np.inf
    return found


def _less(a: Array, b: Array) -> Array:
    """a - b, where an infinity less itself is 0."""
    return np.subtract(a, b, where=a != b, out=np.zeros_like(a))


def _in_ranges(shift: Array, before: Array) -> Array:
    """Shifts [d, 5] in the ranges between the reference's quartiles; NaN where the range is not finite."""
    width = _less(before[:, _QUARTILES[1]], before[:, _QUARTILES[0]])[:, None]
    ratio = shift / np.where(width == 0, 1.0, np.where(np.isfinite(width), width, np.nan))
    ratio = np.where((width == 0) & (shift != 0), np.copysign(np.inf, shift), ratio)
    return np.where(np.isnan(before), np.nan, ratio)


def _where(side: Sequence[Array], values: Array) -> Array:
    """The values where the columns are."""
    return namespace(side[0]).asarray(values) if len(side) else values
