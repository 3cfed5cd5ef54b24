"""Kullback-Leibler divergence."""

from __future__ import annotations

from kernels.arrays import Array, namespace
from kernels.measured import Measured
from kernels.statistics.divergence_interval import Sloped, measure_divergence
from kernels.statistics.shares import smoothed_shares


def kl(reference: Array, current: Array, smoothing: float = 0.5) -> Array:
    """What a row of the current says against the reference, on average: the sum of q ln(q / p). [..., k] counts to [...] nats.

    Not symmetric: `kl(current, reference)` is another number. `smoothing` is added to every filled bin as in `psi`; with 0, a bin
    that only the current fills gives infinity. NaN where a side has no counts.

    Source: Kullback and Leibler, "On information and sufficiency", 1951.

    >>> import numpy as np
    >>> float(kl(np.array([100, 200, 100]), np.array([50, 200, 150]), smoothing=0).round(4))
    0.0654
    """
    xp = namespace(reference)
    p, q = smoothed_shares(reference, current, smoothing)
    new = (p == 0) & (q > 0)
    ratio = xp.where(q > 0, q, 1.0) / xp.where((p > 0) & (q > 0), p, 1.0)
    terms = xp.where(new, xp.inf, q * xp.log(ratio))
    return xp.where(xp.isnan(p + q).any(axis=-1), xp.nan, terms.sum(axis=-1))  # type: ignore[no-any-return]


def measure(reference: Array, current: Array, confidence: float = 0.95) -> Measured:
    """The divergence, its chance and its size: effect, low and high are the populations' divergence, in nats, debiased.

    See `divergence_interval` for the method and for when to trust it.

    >>> import numpy as np
    >>> found = measure(np.array([100, 200, 100]), np.array([50, 200, 150]))
    >>> [float(x.round(4)) for x in (found.effect, found.low, found.high)]
    [0.0598, 0.0226, 0.1214]
    """
    return measure_divergence(sloped, 1, reference, current, confidence)


def sloped(reference: Array, current: Array) -> Sloped:
    """The divergence with its slopes, as `divergence_interval` takes it."""
    xp = namespace(reference)
    p, q = smoothed_shares(reference, current, 0.5)
    filled = (p > 0) & (q > 0)
    p, q = xp.where(filled, p, 1.0), xp.where(filled, q, 1.0)
    return Sloped(kl(reference, current), -q / p, 1 + xp.log(q / p))
