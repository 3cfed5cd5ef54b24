"""G-test of homogeneity: the likelihood ratio of two samples with shares of their own against one with common shares."""

from __future__ import annotations

from kernels.arrays import Array, namespace
from kernels.measured import Measured
from kernels.statistics.chi_squared import per_row
from kernels.statistics.divergence_interval import Sloped
from kernels.statistics.shares import shares


def g_test(reference: Array, current: Array) -> Array:
    """Twice the log of the likelihood ratio: 2 Σ observed · ln(observed / expected) of the 2 x k table. [..., k] to [...].

    Also 2 (n + m) times the Jensen-Shannon divergence, in nats, whose sides weigh what their rows do. Close to chi-squared
    where the shares are; unlike it, finite samples of disjoint categories are as far apart as their rows allow. Unpooled,
    without Yates's or Williams's correction. NaN where a side has no counts.

    Source: Wilks, "The likelihood test of independence in contingency tables", 1935; Sokal and Rohlf, "Biometry", 1981.

    >>> import numpy as np
    >>> float(g_test(np.array([50, 30, 20]), np.array([40, 30, 30])).round(4))
    3.127
    """
    xp = namespace(reference)
    n, m = (counts.sum(axis=-1).astype(xp.float64) for counts in (reference, current))
    return _sloped(reference, current).value * (n * m / xp.maximum(n + m, 1.0))  # type: ignore[no-any-return]


def measure(reference: Array, current: Array, confidence: float = 0.95) -> Measured:
    """The statistic, its chance and its size: effect, low and high are the populations' √(G / rows), about Cohen's w.

    It depends on how the rows divide between the sides, as w does. See `divergence_interval` for the method.

    >>> import numpy as np
    >>> found = measure(np.array([50, 30, 20]), np.array([40, 30, 30]))
    >>> [float(x.round(4)) for x in (found.value, found.p_value, found.effect, found.low, found.high)]
    [3.127, 0.2094, 0.0751, 0.0, 0.2493]
    """
    return per_row(_sloped, g_test(reference, current), reference, current, confidence)


def _sloped(reference: Array, current: Array) -> Sloped:
    """G over nm/(n+m), with its slopes."""
    xp = namespace(reference)
    p, q = shares(reference), shares(current)
    n, m = (counts.sum(axis=-1, keepdims=True).astype(xp.float64) for counts in (reference, current))
    a = n / xp.maximum(n + m, 1.0)
    b = 1 - a
    mixture = a * p + b * q
    # Each side's distance from the mixture is a share of the distance between the two, taken before anything is rounded.
    e = (p - q) / xp.where(mixture == 0, 1.0, mixture)
    logs = [xp.log1p(xp.where(side == 0, 0.0, away)) for side, away in ((p, b * e), (q, -a * e))]
    # Against the mixture no bin's term a·p·ln(p/mixture) + b·q·ln(q/mixture) is negative.
    terms = a * p * logs[0] + b * q * logs[1]
    weight = 2 / xp.where(a * b == 0, 1.0, a * b)
    return Sloped((weight * terms).sum(axis=-1), 2 * logs[0] / xp.where(b == 0, 1.0, b), 2 * logs[1] / xp.where(a == 0, 1.0, a))
