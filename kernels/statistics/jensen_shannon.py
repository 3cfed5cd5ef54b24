"""Jensen-Shannon distance."""

from __future__ import annotations

import math

import numpy as np

from kernels.arrays import Array, namespace
from kernels.measured import Measured
from kernels.statistics.divergence_interval import Sloped, measure_divergence
from kernels.statistics.shares import shares


def jensen_shannon(reference: Array, current: Array) -> Array:
    """The square root of the Jensen-Shannon divergence, base 2: 0 for equal shares, 1 for disjoint. [..., k] counts to [...].

    A metric. Zero bins need no smoothing: the mixture is zero only where both are, and such a bin adds nothing.
    NaN where a side has no counts.

    Source: Lin, "Divergence measures based on the Shannon entropy", 1991; Endres and Schindelin, "A new metric for probability
    distributions", 2003.

    >>> import numpy as np
    >>> jensen_shannon(np.array([[4, 0], [2, 2], [3, 1]]), np.array([[0, 9], [7, 7], [1, 3]])).round(4).tolist()
    [1.0, 0.0, 0.4344]
    """
    xp = namespace(reference)
    return xp.sqrt(xp.clip(_divergence(shares(reference), shares(current)), 0.0, 1.0))  # type: ignore[no-any-return]


def measure(reference: Array, current: Array, confidence: float = 0.95) -> Measured:
    """The distance, its chance and its size: effect, low and high are the populations' distance, chance's share taken off.

    The interval is the divergence's, see `divergence_interval`, under the root. Above a distance of 0.3 it is wider than it
    need be.

    >>> import numpy as np
    >>> found = measure(np.array([100, 200, 100]), np.array([50, 200, 150]))
    >>> [float(x.round(4)) for x in (found.value, found.effect, found.low, found.high)]
    [0.1562, 0.1503, 0.0936, 0.2126]
    """
    found = measure_divergence(_sloped, 1 / (4 * math.log(2)), reference, current, confidence)
    effect, low, high = (namespace(reference).sqrt(x) for x in (found.effect, found.low, found.high))
    return Measured(jensen_shannon(reference, current), found.p_value, effect, low, high)


def _sloped(reference: Array, current: Array) -> Sloped:
    xp = namespace(reference)
    p, q = shares(reference), shares(current)
    ratios = (xp.where(side > 0, side, 1.0) / xp.where(side > 0, (p + q) / 2, 1.0) for side in (p, q))
    by_reference, by_current = (xp.log2(ratio) / 2 for ratio in ratios)
    return Sloped(_divergence(p, q), by_reference, by_current)


def _divergence(p: Array, q: Array) -> Array:
    """In bits. A bin's term is taken about the mixture, where it is never negative: close shares lose no digits."""
    xp = namespace(p)
    both = p + q
    e = (p - q) / xp.where(both == 0, 1.0, both)  # p is (1 + e) of the mixture and q is (1 - e)
    terms = sum((1 + side) * xp.log1p(xp.where(side == -1, 0.0, side)) for side in (e, -e))
    return (both / 4 * terms).sum(axis=-1) / np.log(2)  # type: ignore[no-any-return]
