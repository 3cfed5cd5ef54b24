"""How much of the reference fell into categories that the current no longer has."""

from __future__ import annotations

from kernels.arrays import Array
from kernels.measured import Measured
from kernels.statistics import new_category_rate


def lost_category_rate(reference: Array, current: Array) -> Array:
    """The share of the reference's rows whose category has no row in the current. [..., k] counts to [...]; NaN without rows.

    >>> import numpy as np
    >>> float(lost_category_rate(np.array([90, 6, 4]), np.array([50, 0, 0])))
    0.1
    """
    return new_category_rate.new_category_rate(current, reference)


def measure(reference: Array, current: Array, confidence: float = 0.95) -> Measured:
    """`new_category_rate.measure` with the sides exchanged: effect, low and high are the rate of the reference's population.

    A small current window misses rare categories without any change: the p-value allows for that, the rate does not, so compare
    windows of about one size.

    >>> import numpy as np
    >>> found = measure(np.array([[90, 6, 4], [500, 500, 0]]), np.array([[50, 0, 0], [100, 0, 0]]))
    >>> found.value.tolist(), found.p_value.round(4).tolist()
    ([0.1, 0.5], [0.0161, 0.0])
    """
    return new_category_rate.measure(current, reference, confidence)
