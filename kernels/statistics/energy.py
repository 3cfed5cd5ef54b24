"""Energy distance, and its coefficient of inhomogeneity."""

from __future__ import annotations

import numpy as np

from kernels.arrays import Array, namespace
from kernels.measured import Measured
from kernels.sorted_gaps import SortedGaps


def energy(gaps: SortedGaps) -> Array:
    """The root of 2 E|X - Y| - E|X - X'| - E|Y - Y'|: [d], in the root of the data's unit, scipy's `energy_distance`.

    On the line that is the root of twice the integral of (F - G)^2. Infinite where the two hold different shares of an infinity.

    Source: Szekely and Rizzo, "Energy statistics: a class of statistics based on distances", 2013.

    >>> import numpy as np
    >>> from kernels import sorted_gaps
    >>> energy(sorted_gaps([np.array([0.0, 8.0])], [np.array([0.0, 8.0, 8.0])])).round(6).tolist()
    [0.666667]
    """
    return namespace(gaps.area).sqrt(2 * gaps.squared_area)  # type: ignore[no-any-return]


def measure(gaps: SortedGaps, confidence: float = 0.95) -> Measured:
    """The energy distance for all columns at once. Its p-value would need a permutation test; there is none here.

    effect  the coefficient of inhomogeneity, E^2 / (2 E|X - Y|), without a unit: 0 for the same distribution, 1 for two different
            constants. What chance alone adds on average is taken off; NaN where E|X - Y| is infinite, 0 where it is 0.
    low, high  by the delta method for the ratio, plus the variance that is left where nothing has changed and the delta method
            sees none: at most twice the squared mean of what chance adds. Wide there, sharp where the two differ; trustworthy
            from a few dozen rows a side. All of [0, 1] where a side has one row.

    Source: Szekely and Rizzo, 2013, as above.

    >>> import numpy as np
    >>> from kernels import sorted_gaps
    >>> found = measure(sorted_gaps([np.arange(1000.0)], [np.arange(1000.0) + 200]))
    >>> found.effect.round(3).tolist(), found.low.round(3).tolist(), found.high.round(3).tolist()
    ([0.1], [0.076], [0.124])
    """
    from scipy.special import ndtri

    xp = namespace(gaps.area)
    distance = xp.where(xp.isfinite(gaps.mean_distance), gaps.mean_distance, xp.nan)
    apart = xp.where(distance == 0, 1.0, distance)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        chance = gaps.reference_spread / gaps.reference_rows + gaps.current_spread / gaps.current_rows
        squared = gaps.squared_area - xp.where(distance == 0, 0.0, chance)
        ratio = squared / apart
        variance = gaps.squared_area_variance + 2 * chance**2
        variance = variance - 2 * ratio * gaps.energy_covariance + ratio**2 * gaps.mean_distance_variance
        margin = float(ndtri((1 + confidence) / 2)) * xp.sqrt(xp.maximum(variance, 0.0)) / apart
    low, high = xp.clip(ratio - margin, 0.0, 1.0), xp.clip(ratio + margin, 0.0, 1.0)
    return Measured(energy(gaps), None, xp.maximum(ratio, 0.0), low, high)
