"""Hellinger distance."""

from __future__ import annotations

from kernels.arrays import Array, namespace
from kernels.measured import Measured
from kernels.statistics.divergence_interval import Sloped, measure_divergence
from kernels.statistics.shares import shares


def hellinger(reference: Array, current: Array) -> Array:
    """The distance between the roots of the shares: 0 for equal shares, 1 for disjoint. [..., k] counts to [...].

    The square root of half the sum of (√p - √q)². A metric, and within √2 of the total variation. Zero bins need no smoothing.
    NaN where a side has no counts.

    Source: Hellinger, "Neue Begründung der Theorie quadratischer Formen von unendlichvielen Veränderlichen", 1909.

    >>> import numpy as np
    >>> hellinger(np.array([[4, 0], [2, 2], [3, 1]]), np.array([[0, 9], [7, 7], [1, 3]])).round(4).tolist()
    [1.0, 0.0, 0.366]
    """
    return namespace(reference).sqrt(_squared(shares(reference), shares(current)))  # type: ignore[no-any-return]


def measure(reference: Array, current: Array, confidence: float = 0.95) -> Measured:
    """The distance, its chance and its size: effect, low and high are the populations' distance, chance's share taken off.

    The interval is the squared distance's, see `divergence_interval`, under the root. Of all divergences here this one has the
    largest surplus in bins of fewer than five rows.

    >>> import numpy as np
    >>> found = measure(np.array([100, 200, 100]), np.array([50, 200, 150]))
    >>> [float(x.round(4)) for x in (found.value, found.effect, found.low, found.high)]
    [0.1305, 0.1256, 0.0784, 0.1775]
    """
    found = measure_divergence(_sloped, 1 / 4, reference, current, confidence)
    effect, low, high = (namespace(reference).sqrt(x) for x in (found.effect, found.low, found.high))
    return Measured(hellinger(reference, current), found.p_value, effect, low, high)


def _squared(p: Array, q: Array) -> Array:
    xp = namespace(p)
    return ((xp.sqrt(p) - xp.sqrt(q)) ** 2).sum(axis=-1) / 2  # type: ignore[no-any-return]


def _sloped(reference: Array, current: Array) -> Sloped:
    xp = namespace(reference)
    p, q = shares(reference), shares(current)
    by_reference, by_current = ((1 - xp.sqrt(other / xp.where(own > 0, own, 1.0))) / 2 for own, other in ((p, q), (q, p)))
    return Sloped(_squared(p, q), by_reference, by_current)
