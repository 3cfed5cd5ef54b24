"""The Mann-Whitney U test: does one sample tend to larger values than the other?"""

from __future__ import annotations

import numpy as np

from kernels.arrays import Array, host, namespace
from kernels.measured import Measured
from kernels.sorted_gaps import SortedGaps


def mann_whitney(gaps: SortedGaps) -> Array:
    """U of the reference: [d], the pairs in which the reference row is the larger, equal ones by half. scipy's `mannwhitneyu`.

    Source: Mann and Whitney, "On a test of whether one of two random variables is stochastically larger than the other", 1947.

    >>> import numpy as np
    >>> from kernels import sorted_gaps
    >>> mann_whitney(sorted_gaps([np.array([1.0, 2.0, 3.0])], [np.array([2.0, 4.0])])).tolist()
    [1.5]
    """
    return gaps.wins


def measure(gaps: SortedGaps, confidence: float = 0.95) -> Measured:
    """U for all columns at once.

    p_value  two-sided, by the normal law with its correction for ties and for continuity: from about eight rows a side
    effect   the chance that a current row exceeds a reference row, less that of the opposite: -1 to 1, 0 where neither tends to
             be larger, positive where the column rose. Also called Cliff's delta or the rank-biserial correlation. Unbiased.
    low, high  by DeLong's variance in Wilson's form for a share, which stays within -1 and 1 and has a width where the samples do
             not overlap; from a few dozen rows a side. Holds for different shapes too, unlike the p-value. All of [-1, 1] where a
             side has one row, a point where all rows of both sides are equal.

    Sources: DeLong, DeLong and Clarke-Pearson, 1988 (in `SortedGaps`); Wilson, "Probable inference, the law of succession, and
    statistical inference", 1927.

    >>> import numpy as np
    >>> from kernels import sorted_gaps
    >>> found = measure(sorted_gaps([np.arange(1000.0)], [np.arange(1000.0) + 200]))
    >>> found.effect.round(3).tolist(), found.low.round(3).tolist(), found.high.round(3).tolist()
    ([0.36], [0.313], [0.405])
    """
    from scipy.special import ndtr, ndtri

    xp = namespace(gaps.wins)
    n, m = gaps.reference_rows.astype(float), gaps.current_rows.astype(float)
    both, pairs = n + m, n * m
    with np.errstate(invalid="ignore", divide="ignore"):
        tied = gaps.reference_cubes + gaps.current_cubes + 3 * gaps.mixed_cubes - both
        deviation = xp.sqrt(pairs / 12 * (both + 1 - tied / (both * (both - 1))))
        distance = xp.abs(gaps.wins - pairs / 2) - 0.5
        score = xp.where(deviation > 0, distance / xp.where(deviation > 0, deviation, 1.0), -xp.inf)
        p_value = xp.where(xp.isnan(gaps.wins), xp.nan, xp.asarray(np.minimum(2 * ndtr(-host(score)), 1.0)))

        share = 1 - gaps.wins / pairs
        # As many independent rows would give a share the same variance; where there is none, as many as the smaller side has.
        spread, variance = share * (1 - share), gaps.wins_variance
        rows = xp.where(spread > 0, spread / variance, xp.minimum(n, m))
        z = float(ndtri((1 + confidence) / 2))
        shrunk = z * z / rows
        middle = (share + shrunk / 2) / (1 + shrunk)
        margin = xp.sqrt(shrunk * (spread + shrunk / 4)) / (1 + shrunk)
        one_row = ~xp.isfinite(variance) & (pairs > 0)
        low, high = xp.where(one_row, 0.0, middle - margin), xp.where(one_row, 1.0, middle + margin)
    return Measured(gaps.wins, p_value, 2 * share - 1, 2 * low - 1, 2 * high - 1)
