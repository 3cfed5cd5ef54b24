"""Total variation distance."""

from __future__ import annotations

import math

import numpy as np

from kernels.arrays import Array, host, namespace
from kernels.measured import Measured
from kernels.statistics.placement import beside
from kernels.statistics.shares import shares


def total_variation(reference: Array, current: Array) -> Array:
    """The share of rows that would have to change bins: half the sum of |q - p|. [..., k] counts to [...], from 0 to 1.

    NaN where a side has no counts.

    Source: Levin and Peres, "Markov Chains and Mixing Times", 2017, chapter 4.

    >>> import numpy as np
    >>> total_variation(np.array([[4, 0], [2, 2], [3, 1]]), np.array([[0, 9], [7, 7], [1, 3]])).round(4).tolist()
    [1.0, 0.0, 0.5]
    """
    xp = namespace(reference)
    return xp.abs(shares(current) - shares(reference)).sum(axis=-1) / 2  # type: ignore[no-any-return]


def measure(reference: Array, current: Array, confidence: float = 0.95) -> Measured:
    """The distance, a bound on its chance, and its size: effect, low and high are the populations' distance.

    |q - p| has no smooth expansion where nothing changed, so nothing here is an approximation: one row more or less moves the
    distance by at most 1/n, so it stays within √(ln(1/a)/2 · (1/n + 1/m)) of its expectation but for a chance of a, on either
    side (McDiarmid), and the expectation is the populations' distance or up to ½√((k - 1)(1/n + 1/m)) more, of k bins that
    either side fills. The interval and the p-value hold for any number of rows and are up to half as wide again as they need be;
    the p-value is an upper bound, so this is the least sensitive test of the family. The effect is the distance less, in
    quadrature, the one that chance alone brings. Where most categories are seen once, unseen ones break the lower limit.

    Source: McDiarmid, "On the method of bounded differences", 1989; Berend and Kontorovich, "A sharp estimate of the binomial
    mean absolute deviation with applications", 2013.

    >>> import numpy as np
    >>> found = measure(np.array([1000, 2000, 1000]), np.array([500, 2000, 1500]))
    >>> [float(x.round(4)) for x in (found.value, found.effect, found.low, found.high)]
    [0.125, 0.1244, 0.0788, 0.1554]
    """
    xp = namespace(reference)
    n, m = (counts.sum(axis=-1).astype(xp.float64) for counts in (reference, current))
    mixture = (reference + current) / xp.maximum(n + m, 1.0)[..., None]
    filled = ((reference > 0) | (current > 0)).sum(axis=-1)
    roots = xp.sqrt(xp.clip(mixture * (1 - mixture), 0.0, 1.0)).sum(axis=-1)
    value, n, m, filled, roots = (host(x) for x in (total_variation(reference, current), n, m, filled, roots))

    spread = np.where((n > 0) & (m > 0), 1 / np.maximum(n, 1) + 1 / np.maximum(m, 1), np.nan)
    by_chance = np.sqrt(spread / (2 * math.pi)) * roots  # half the sum of the means of |normal| with the bins' variances
    surplus = np.sqrt(np.maximum(filled - 1, 0) * spread) / 2
    reach = np.sqrt(math.log(2 / (1 - confidence)) / 2 * spread)
    effect = np.sqrt(np.maximum(value**2 - by_chance**2, 0.0))
    p_value = np.exp(-2 * np.maximum(value - surplus, 0.0) ** 2 / spread)
    low, high = np.maximum(value - surplus - reach, 0.0), np.minimum(value + reach, 1.0)
    return Measured(*beside(reference, value, p_value, effect, np.minimum(low, effect), high))
