"""The two-sample Cramer-von Mises test: how far apart two distribution functions are over all rows."""

from __future__ import annotations

import numpy as np

from kernels.arrays import Array, host, namespace
from kernels.measured import Measured
from kernels.sorted_gaps import SortedGaps
from kernels.statistics.limiting_laws import quantile, squared_bridge_survival


def cramer_von_mises(gaps: SortedGaps) -> Array:
    """Anderson's T, with midranks: [d], scipy's `cramervonmises_2samp`.

    That is a difference of sums that grow with the square of the rows, and keeps ten digits of a million. The same number here
    is the mean square of F - G, plus what midranks and ties change, so that none are lost.

    Source: Anderson, "On the distribution of the two-sample Cramer-von Mises criterion", 1962.

    >>> import numpy as np
    >>> from kernels import sorted_gaps
    >>> cramer_von_mises(sorted_gaps([np.array([1.0, 2.0, 3.0])], [np.array([2.5, 3.5, 4.5, 5.5])])).round(6).tolist()
    [0.392857]
    """
    n, m = gaps.reference_rows.astype(float), gaps.current_rows.astype(float)
    both = n + m
    with np.errstate(invalid="ignore", divide="ignore"):
        ties = gaps.reference_cubes * (m / (n * both) + 1 / m) + gaps.current_cubes * (n / (m * both) + 1 / n)
        ties = ties - 3 * gaps.mixed_cubes / both - n / m - m / n + 2
        return gaps.effective_rows * gaps.mean_square + ties / (12 * both)  # type: ignore[no-any-return]


def measure(gaps: SortedGaps, confidence: float = 0.95) -> Measured:
    """Cramer and von Mises' statistic for all columns at once.

    p_value  from the law in the limit, the statistic brought to its mean and variance: scipy's where there are no ties. Ties
             between samples of different sizes make T, and so scipy's test, see a change where there is none; this one leaves out
             what they add, and they make it conservative.
    effect   the root mean square of F - G over the rows of both populations, in the shares in which the rows came: 0 to
             1/sqrt(3), never above Kolmogorov and Smirnov's. What chance alone adds on average is taken off.
    low, high  as far from that root, before chance is taken off, as the root of the law's quantile: the triangle inequality for
             the norm of F - G. Right where nothing has changed, conservative elsewhere; a few dozen rows a side are enough.

    Source: Anderson, 1962, as above.

    >>> import numpy as np
    >>> from kernels import sorted_gaps
    >>> found = measure(sorted_gaps([np.arange(1000.0)], [np.arange(1000.0) + 200]))
    >>> found.effect.round(3).tolist(), found.low.round(3).tolist(), found.high.round(3).tolist()
    ([0.185], [0.156], [0.217])
    """
    xp = namespace(gaps.mean_square)
    value, size = cramer_von_mises(gaps), gaps.effective_rows
    n, m = gaps.reference_rows.astype(float), gaps.current_rows.astype(float)
    both = n + m
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (1 + 1 / both) / 6
        variance = (both + 1) * (4 * n * m * both - 3 * (n * n + m * m) - 2 * n * m) / (180 * both * both * n * m)
        without_ties = size * gaps.mean_square + 1 / (4 * both)
        like_the_limit = 1 / 6 + (without_ties - mean) / xp.sqrt(45 * variance)
        p_value = xp.asarray(squared_bridge_survival(host(like_the_limit)))
        root, effect = xp.sqrt(gaps.mean_square), xp.sqrt(xp.maximum(gaps.mean_square - mean / size, 0.0))
        margin = xp.sqrt(quantile(squared_bridge_survival, 1 - confidence) / size)
        return Measured(value, p_value, effect, xp.maximum(root - margin, 0.0), xp.minimum(root + margin, 3**-0.5))
