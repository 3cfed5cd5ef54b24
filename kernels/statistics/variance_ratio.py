"""Variance ratio: is the spread the same?"""

from __future__ import annotations

import numpy as np

from kernels.arrays import Array, host, namespace
from kernels.column_counts import ColumnCounts
from kernels.measured import Measured
from kernels.statistics.placement import beside


def variance_ratio(reference: ColumnCounts, current: ColumnCounts) -> Array:
    """The current's variance over the reference's: [d], 1 where the spread is the same. Over the finite values, unbiased both.

    Infinite where only the reference is constant, 1 where both are, NaN where a side has fewer than two values.

    Source: Snedecor, "Statistical Methods", 1937; the F is for Fisher.

    >>> import numpy as np
    >>> from kernels import profile
    >>> edges = np.zeros((1, 1))
    >>> before, after = profile(np.array([[1.0], [3.0]]), edges), profile(np.array([[2.0], [6.0]]), edges)
    >>> variance_ratio(before, after).tolist()
    [4.0]
    """
    xp = namespace(reference.m2)
    before, after = (xp.where(side.finite > 1, side.m2 / xp.maximum(side.finite - 1, 1), xp.nan) for side in (reference, current))
    ratio = after / xp.where(before == 0, 1.0, before)
    return xp.where(before == 0, xp.where(after == 0, 1.0, xp.where(after > 0, xp.inf, xp.nan)), ratio)  # type: ignore[no-any-return]


def measure(reference: ColumnCounts, current: ColumnCounts, confidence: float = 0.95) -> Measured:
    """The ratio F, its two-sided chance and its size: effect, low and high are the log of the populations' ratio.

    Chance and interval are the F distribution's, which is exact for normal values AND ONLY FOR THEM: the log of a variance
    spreads as (kurtosis - 1)/rows, 2/rows for the normal, and no number of rows changes that. For an exponential column the
    p-value is under 0.05 a third of the time though nothing changed, for a uniform one hardly ever. Where columns are not
    normal, read the effect and leave the p-value, or take `quantile_shift`. The effect is debiased for the rows, E log s² being
    below log σ².

    Source: Box, "Non-normality and tests on variances", 1953.

    >>> import numpy as np
    >>> from kernels import profile
    >>> edges, steps = np.zeros((1, 1)), np.arange(50.0)[:, None]
    >>> found = measure(profile(steps, edges), profile(2 * steps, edges))
    >>> [float(x[0].round(4)) for x in (found.value, found.p_value, found.effect, found.low, found.high)]
    [4.0, 0.0, 1.3863, 0.8197, 1.9529]
    """
    from scipy.special import digamma, fdtr, fdtrc, fdtri

    ratio = host(variance_ratio(reference, current))
    before, after = (np.maximum(np.asarray(host(side.finite), np.float64) - 1, 1.0) for side in (reference, current))
    p_value = np.minimum(2 * np.minimum(fdtr(after, before, ratio), fdtrc(after, before, ratio)), 1.0)
    constant = np.asarray(host(reference.m2) + host(current.m2)) == 0
    p_value = np.where(np.isinf(ratio), 0.0, np.where(constant & ~np.isnan(ratio), 1.0, p_value))

    tail = (1 - confidence) / 2
    with np.errstate(divide="ignore"):  # the log of 0 is right: a column that became constant
        logs = np.log(ratio)
    effect = logs - np.where(constant, 0.0, (digamma(after / 2) - np.log(after / 2)) - (digamma(before / 2) - np.log(before / 2)))
    ends = [logs - np.log(fdtri(after, before, chance)) for chance in (1 - tail, tail)]
    return Measured(*beside(reference.m2, ratio, p_value, effect, *ends))
