"""The two-sample Anderson-Darling test: how far apart two distribution functions are, most of all in the tails."""

from __future__ import annotations

import math

import numpy as np

from kernels.arrays import Array, host, namespace
from kernels.measured import Measured
from kernels.sorted_gaps import SortedGaps
from kernels.statistics.limiting_laws import quantile, weighted_bridge_survival

_LIMIT_VARIANCE = 2 * math.pi**2 / 3 - 6


def anderson_darling(gaps: SortedGaps) -> Array:
    """Scholz and Stephens' A-squared with midranks, less its mean, in its standard deviations: [d], scipy's `anderson_ksamp`.

    Each squared difference of F and G is weighed by the inverse of its variance, H(1 - H), so that tails count as much as the
    middle. NaN with fewer than four rows in all, where its deviation is not known.

    Source: Scholz and Stephens, "K-sample Anderson-Darling tests", 1987.

    >>> import numpy as np
    >>> from kernels import sorted_gaps
    >>> anderson_darling(sorted_gaps([np.array([1.0, 2.0, 3.0])], [np.array([2.5, 3.5, 4.5, 5.5])])).round(6).tolist()
    [1.678862]
    """
    return (_squared(gaps) - 1) / _deviation(gaps)


def measure(gaps: SortedGaps, confidence: float = 0.95) -> Measured:
    """Anderson and Darling's statistic for all columns at once.

    p_value  from the law in the limit, to which the statistic is brought by its mean and deviation: no table ends it, neither
             above 0.25 nor below 0.001 as scipy's does. Ties make it conservative.
    effect   the root of the mean of (F - G)^2 / (H(1 - H)) over the rows of both populations, H being the two together in the
             shares in which the rows came: 0 where they are the same, 1.24 at most where as many rows came from either. What
             chance alone adds on average is taken off.
    low, high  as Cramer and von Mises' are made: right where nothing has changed, conservative elsewhere.

    Source: Anderson and Darling, "Asymptotic theory of certain goodness of fit criteria based on stochastic processes", 1952.

    >>> import numpy as np
    >>> from kernels import sorted_gaps
    >>> found = measure(sorted_gaps([np.arange(1000.0)], [np.arange(1000.0) + 200]))
    >>> found.effect.round(3).tolist(), found.low.round(3).tolist(), found.high.round(3).tolist()
    ([0.466], [0.397], [0.539])
    """
    xp = namespace(gaps.mean_square)
    squared, size, value = _squared(gaps), gaps.effective_rows, anderson_darling(gaps)
    p_value = xp.asarray(weighted_bridge_survival(host(1 + value * math.sqrt(_LIMIT_VARIANCE))))
    with np.errstate(invalid="ignore", divide="ignore"):
        root, effect = xp.sqrt(squared / size), xp.sqrt(xp.maximum(squared - 1, 0.0) / size)
        margin = xp.sqrt(quantile(weighted_bridge_survival, 1 - confidence) / size)
    return Measured(value, p_value, effect, xp.maximum(root - margin, 0.0), root + margin)


def _squared(gaps: SortedGaps) -> Array:
    """A-squared itself: 1 on average where nothing has changed."""
    both = namespace(gaps.mean_square).maximum(gaps.reference_rows + gaps.current_rows, 1)
    return (both - 1) / both * gaps.effective_rows * gaps.weighted_square  # type: ignore[no-any-return]


def _deviation(gaps: SortedGaps) -> Array:
    """The standard deviation of A-squared where nothing has changed; Scholz and Stephens' sums over ranks in closed form."""
    from scipy.special import digamma, zeta

    n, m = host(gaps.reference_rows).astype(float), host(gaps.current_rows).astype(float)
    rows = np.where(n + m > 3, n + m, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / n + 1 / m
        h = digamma(rows) + np.euler_gamma  # the sum of 1/i below `rows`
        g = np.pi**2 / 6 - zeta(2.0, rows + 1) - (2 * h + 1 / rows) / rows  # of 1/((rows - i) j) over 0 < i < j < rows
        a = 4 * g - 6 + (10 - 6 * g) * inverse
        b = 4 * (2 * g - 4) + 16 * h + (2 * g - 14 * h - 4) * inverse - 8 * h + 4 * g - 6
        c = 4 * (6 * h + 2 * g - 2) + 2 * (4 * h - 4 * g + 6) + (2 * h - 6) * inverse + 4 * h
        d = 4 * (2 * h + 6) - 8 * h
        variance = (a + (b + (c + d / rows) / rows) / rows) / ((1 - 1 / rows) * (1 - 2 / rows) * (1 - 3 / rows))
        return namespace(gaps.area).asarray(np.sqrt(variance))  # type: ignore[no-any-return]
