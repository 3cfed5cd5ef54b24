"""Kuiper's test: Kolmogorov-Smirnov's, as sensitive in the tails as in the middle."""

from __future__ import annotations

from kernels.arrays import Array, host, namespace
from kernels.measured import Measured
from kernels.sorted_gaps import SortedGaps
from kernels.statistics.limiting_laws import bridge_range_survival, quantile


def kuiper(gaps: SortedGaps) -> Array:
    """The largest F - G plus the largest G - F: [d], between 0 and 1; where the values begin on a circle does not matter.

    It is the largest difference in the share of rows within any one interval, and so sees a change of spread, which moves both
    tails and the middle little, better than Kolmogorov and Smirnov's.

    Source: Kuiper, "Tests concerning random points on a circle", 1960.

    >>> import numpy as np
    >>> from kernels import sorted_gaps
    >>> kuiper(sorted_gaps([np.array([1.0, 2.0, 3.0, 4.0])], [np.array([0.0, 0.0, 5.0, 5.0])])).tolist()
    [1.0]
    """
    return gaps.above + gaps.below


def measure(gaps: SortedGaps, confidence: float = 0.95) -> Measured:
    """Kuiper's statistic for all columns at once.

    p_value  from the law in the limit, at Stephens' size for small samples; ties make it conservative
    effect   the statistic itself: it estimates the largest difference in the share of rows within any interval, and like every
             largest difference it is above 0, about 1.2 sqrt(1/n + 1/m), where nothing has changed
    low, high  what is certain for each side, half of the error to each, by the law of one sample's range in the limit, also at
             Stephens' size: whatever the populations, at a hundred rows a side and above; wide rather than sharp, and ties make
             it wider

    Source: Stephens, "Use of the Kolmogorov-Smirnov, Cramer-von Mises and related statistics without extensive tables", 1970.

    >>> import numpy as np
    >>> from kernels import sorted_gaps
    >>> found = measure(sorted_gaps([np.arange(1000.0)], [np.arange(1000.0) * 0.8 + 100]))
    >>> found.effect.round(3).tolist(), found.low.round(3).tolist(), found.high.round(3).tolist()
    ([0.2], [0.083], [0.317])
    """
    xp = namespace(gaps.above)
    value = kuiper(gaps)
    p_value = xp.asarray(bridge_range_survival(host(value * _stephens(gaps.effective_rows))))
    one_side = quantile(bridge_range_survival, (1 - confidence) / 2)
    margin = sum(one_side / _stephens(rows) for rows in (gaps.reference_rows, gaps.current_rows))
    return Measured(value, p_value, value, xp.maximum(value - margin, 0.0), xp.minimum(value + margin, 1.0))


def _stephens(rows: Array) -> Array:
    """What the statistic of so many rows is multiplied by to have the law of the limit."""
    xp = namespace(rows)
    root = xp.sqrt(xp.maximum(rows, 1e-9))
    return root + 0.155 + 0.24 / root  # type: ignore[no-any-return]
