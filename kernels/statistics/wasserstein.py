"""Wasserstein-1 distance, and the same in standard deviations."""

from __future__ import annotations

import kernels
from kernels.arrays import Array, namespace


def wasserstein(sorted_reference: Array, sorted_current: Array) -> float:
    """The area between the two distribution functions, exact: how far, on average, a value has to move. In the data's unit.

    Takes what `kernels.ks_wasserstein` takes, and costs what it costs: call that where the Kolmogorov-Smirnov statistic is wanted
    too.

    Source: Vallender, "Calculation of the Wasserstein distance between probability distributions on the line", 1974.

    >>> import numpy as np
    >>> wasserstein(np.array([0.0, 1.0, 3.0]), np.array([5.0, 6.0, 8.0]))
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
