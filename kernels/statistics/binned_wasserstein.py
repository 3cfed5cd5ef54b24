"""The Wasserstein-1 distance as far as bins tell it."""

from __future__ import annotations

from kernels.arrays import Array, namespace
from kernels.column_counts import ColumnCounts
from kernels.measured import Measured
from kernels.statistics.binned_ks import gaps
from kernels.statistics.wasserstein import normalised


def binned_wasserstein(reference: ColumnCounts, current: ColumnCounts, edges: Array) -> Array:
    """The area between the distribution functions, straight from edge to edge: [d], in the column's unit; `edges` [d, E].

    They end at the outermost finite value of either side. What moves within a bin is not seen, so bins of equal width say more
    here than those of equal weight, whose outer ones are wide. NaN where a side has no values. Unlike the exact distance it
    merges, and needs neither a sort nor a sample.

    >>> import numpy as np
    >>> from kernels import profile
    >>> x, edges = np.arange(1001.0)[:, None], np.arange(100.0, 1000, 100)[None]
    >>> binned_wasserstein(profile(x, edges), profile(x + 50, edges), edges).round(1).tolist()
    [46.2]
    """
    return _area(*_steps(reference, current, edges))


def measure(reference: ColumnCounts, current: ColumnCounts, edges: Array, confidence: float = 0.95) -> Measured:
    """The same with its size, in standard deviations of the reference.

    low, high  by the delta method: the distance is the difference of the two sides' means of a potential whose slope is the sign
               of G - F (see `wasserstein`), taken as constant within a bin; its variance over the bins is that of multinomial
               counts. Where nothing changed the distance is not 0 but noise, and `low` may be above 0.

    >>> import numpy as np
    >>> from kernels import profile
    >>> x, edges = np.arange(1000.0)[:, None], np.arange(50.0, 1000, 50)[None]
    >>> found = measure(profile(x, edges), profile(x + 200, edges), edges)
    >>> [float(side[0].round(2)) for side in (found.effect, found.low, found.high)]
    [0.68, 0.59, 0.76]
    """
    from scipy.special import ndtri

    xp = namespace(reference.counts)
    deviation = xp.sqrt(reference.variance)
    # In deviations, whose squares are far from the ends of float64 whatever the data's unit.
    unit = xp.where(deviation > 0, deviation, 1.0)
    gap, widths = _steps(reference, current, edges)
    value = _area(gap, widths)
    slope = xp.sign(gap[:, :-1] + gap[:, 1:]) * (widths / unit[:, None])
    potential = xp.cumsum(slope, axis=1) - slope / 2
    variance = xp.zeros(len(value))
    for side in (reference, current):
        seen = xp.maximum(side.counts.sum(axis=1, keepdims=True), 1)
        share = side.counts / seen
        mean = (share * potential).sum(axis=1, keepdims=True)
        variance += (share * (potential - mean) ** 2).sum(axis=1) / seen[:, 0]
    margin = float(ndtri((1 + confidence) / 2)) * xp.sqrt(variance)
    apart, constant = value / unit, xp.where(deviation == 0, 0.0, 1.0)
    sizes = (normalised(each, constant) for each in (apart, xp.maximum(apart - margin, 0.0), apart + margin))
    return Measured(value, None, *sizes)


def _steps(reference: ColumnCounts, current: ColumnCounts, edges: Array) -> tuple[Array, Array]:
    """[d, E+2] the gaps at the edges and at both ends, and [d, E+1] the widths between them."""
    xp = namespace(reference.counts)
    least = xp.fmin(reference.minimum, current.minimum)[:, None]
    most = xp.fmax(reference.maximum, current.maximum)[:, None]
    inside = xp.clip(edges.astype(xp.float64), least, most)
    widths = xp.diff(xp.concatenate([least, inside, most], axis=1), axis=1)
    ends = xp.zeros((len(edges), 1))
    return xp.concatenate([ends, gaps(reference, current), ends], axis=1), widths


def _area(gap: Array, widths: Array) -> Array:
    xp = namespace(gap)
    left, right = gap[:, :-1], gap[:, 1:]
    apart, total = left * right < 0, xp.abs(left) + xp.abs(right)
    # Where the functions cross between two edges there are two triangles, else a trapezium.
    heights = xp.where(apart, (left**2 + right**2) / xp.where(total > 0, total, 1.0), total) / 2
    return (heights * widths).sum(axis=1)  # type: ignore[no-any-return]
