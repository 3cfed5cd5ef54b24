"""How much of the current lies outside the range that the reference covered."""

from __future__ import annotations

import numpy as np

from kernels.arrays import Array, host, namespace
from kernels.measured import Measured
from kernels.statistics.exchangeable import log_all_current
from kernels.statistics.placement import beside
from kernels.statistics.two_proportions import clopper_pearson


def out_of_range(outside: Array, current_rows: Array) -> Array:
    """The share of current values below the reference's minimum or above its maximum: [d], [d] to [d]; NaN without values.

    >>> import numpy as np
    >>> out_of_range(np.array([5, 0]), np.array([100, 0])).tolist()
    [0.05, nan]
    """
    xp = namespace(outside)
    return xp.where(current_rows > 0, outside / xp.maximum(current_rows, 1), xp.nan)  # type: ignore[no-any-return]


def measure(outside: Array, current_rows: Array, reference_rows: Array, confidence: float = 0.95) -> Measured:
    """The share, its exact chance, and its size: effect, low and high are the current population's share outside that range.

    outside         [d] current values below the reference's minimum or above its maximum
    current_rows    [d] current values that were looked at, m; reference_rows [d] those that the range is over, n

    The next of n + 1 exchangeable values is a new extreme with a chance of at most 2/(n+1), but one such range serves all m, so
    their number is not binomial: if nothing changed it is beta-binomial(m, 2, n - 1), the number of current values that are
    drawn before the second reference value of an urn. Whatever the distribution; ties only make it conservative. The interval
    is Clopper and Pearson's, given the range. NaN where a side has no values; one reference value has p-value 1, its range
    being a point.

    Source: Epstein, "Tables for the distribution of the number of exceedances", 1954.

    >>> import numpy as np
    >>> found = measure(np.array([1, 6]), np.array([1000, 1000]), np.array([1000, 1000]))
    >>> found.p_value.round(4).tolist(), found.low.round(4).tolist()
    ([0.7501, 0.0622], [0.0, 0.0022])
    """
    value = host(out_of_range(outside, current_rows))
    k, m, n = (np.asarray(host(counts), np.float64) for counts in (outside, current_rows, reference_rows))
    known = (n > 0) & (m > 0)
    # At least k before the second reference value: of the first k + 1 drawn, none or one is the reference's.
    none = np.exp(log_all_current(k + 1, m, n))
    one = (k + 1) * np.exp(log_all_current(k, m, n)) * n / np.maximum(n + m - k, 1)
    p_value = np.where(k > 0, none + one, 1.0)
    low, high = clopper_pearson(k, np.where(known, m, 0), confidence)
    value, p_value = np.where(known, value, np.nan), np.where(known, np.minimum(p_value, 1.0), np.nan)
    return Measured(*beside(outside, value, p_value, value, low, high))
