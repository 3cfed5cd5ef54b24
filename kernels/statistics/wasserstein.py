"""Wasserstein-1 distance, and the same in standard deviations."""

from __future__ import annotations

import math

import kernels
from kernels.arrays import Array, namespace
from kernels.measured import Measured
from kernels.sorted_gaps import SortedGaps


def wasserstein(sorted_reference: Array, sorted_current: Array) -> float:
    """The area between the two distribution functions, exact: how far, on average, a value has to move. In the data's unit.

    Takes what `kernels.ks_wasserstein` takes, and costs what it costs: call that where the Kolmogorov-Smirnov statistic is wanted
    too.

    Source: Vallender, "Calculation of the Wasserstein distance between probability distributions on the line", 1974.

    >>> import numpy as np
    >>> wasserstein(np.array([0.0, 1.0, 3.0, 4.0]), np.array([5.0, 6.0, 8.0, 9.0]))
    5.0
    """
    return kernels.ks_wasserstein(sorted_reference, sorted_current)[1]


def normalised(distance: Array, reference_deviation: Array) -> Array:
    """Distances [d] in units of the reference's standard deviation [d], so that columns compare.

    Where the reference is constant, any distance is infinitely many deviations, and none is 0.

    >>> import numpy as np
    >>> normalised(np.array([3.0, 1.0, 0.0]), np.array([2.0, 0.0, 0.0])).tolist()
    [1.5, inf, 0.0]
    """
    xp = namespace(distance)
    constant = reference_deviation == 0
    ratio = distance / xp.where(constant, 1.0, reference_deviation)
    return xp.where(constant & (distance > 0), xp.inf, ratio)  # type: ignore[no-any-return]


def measure(gaps: SortedGaps, deviation: Array, confidence: float = 0.95) -> Measured:
    """The Wasserstein-1 distance for all columns at once; `deviation` [d] is the reference's. No p-value is known for it.

    effect  the distance in the reference's deviations. Where nothing has changed it is not 0 but about the margin below.
    low, high  by the delta method, from the variance of the Kantorovich potentials; the deviation is taken as the unit, not as an
            estimate. Noise alone makes the distance larger, by at most sqrt(2/pi) times the integrated standard error of F - G,
            which it is where nothing has changed: `low` is lower by as much, so that it is 0 then. Trustworthy from about a
            hundred rows a side, where the values have a variance; heavy tails make it wide. All of [0, inf] where a side has one
            row, or the distance is infinite.

    Sources: del Barrio, Gine and Matran, "Central limit theorems for the Wasserstein distance between the empirical and the true
    distributions", 1999; Sommerfeld and Munk, "Inference for empirical Wasserstein distances on finite spaces", 2018.

    >>> import numpy as np
    >>> from kernels import sorted_gaps
    >>> found = measure(sorted_gaps([np.arange(1000.0)], [np.arange(1000.0) + 200]), np.array([100.0]))
    >>> found.effect.round(2).tolist(), found.low.round(2).tolist(), found.high.round(2).tolist()
    ([2.0], [1.6], [2.25])
    """
    from scipy.special import ndtri

    xp = namespace(gaps.area)
    z, bias = float(ndtri((1 + confidence) / 2)), math.sqrt(2 / math.pi)
    known = xp.isfinite(gaps.area) & xp.isfinite(gaps.area_variance)
    area, variance, noise = (xp.where(known, value, 0.0) for value in (gaps.area, gaps.area_variance, gaps.noise))
    margin = z * xp.sqrt(variance)
    low, high = xp.maximum(area - margin - bias * noise, 0.0), xp.where(known, area + margin, xp.inf)
    empty = xp.isnan(gaps.area)
    bounds = (normalised(xp.where(empty, xp.nan, bound), deviation) for bound in (low, high))
    return Measured(gaps.area, None, normalised(gaps.area, deviation), *bounds)
