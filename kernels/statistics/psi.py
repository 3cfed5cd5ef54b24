"""Population stability index."""

from __future__ import annotations

from kernels.arrays import Array, namespace
from kernels.measured import Measured
from kernels.statistics.divergence_interval import Sloped, measure_divergence
from kernels.statistics.shares import smoothed_shares


def psi(reference: Array, current: Array, smoothing: float = 0.5) -> Array:
    """How far the bins' shares moved: the sum over bins of (q - p) ln(q / p). [..., k] counts to [...] nats.

    Zero bins: `smoothing` is added to every filled bin of both before the shares are taken (0.5, Jeffreys' prior), so that a
    bin that is empty on one side gives a finite term, and one that weighs less the more rows there are. With 0, such a bin
    gives infinity. A bin that is empty on both sides is left out: mass there would be drift between samples of different sizes.
    NaN where a side has no counts at all: seeing nothing is not stability.

    By custom, below 0.1 is stable and above 0.2 has shifted; with few rows chance alone exceeds that: expect about
    (k - 1)(1/rows of one + 1/rows of the other).

    Source: Siddiqi, "Credit Risk Scorecards", 2006; the statistic is Jeffreys' divergence, "An invariant form for the prior
    probability in estimation problems", 1946.

    >>> import numpy as np
    >>> float(psi(np.array([100, 200, 100]), np.array([50, 200, 150]), smoothing=0).round(4))
    0.1373
    """
    xp = namespace(reference)
    p, q = smoothed_shares(reference, current, smoothing)
    one_empty, both_empty = (p == 0) != (q == 0), (p == 0) & (q == 0)
    ratio = xp.where(one_empty | both_empty, 1.0, q) / xp.where(one_empty | both_empty, 1.0, p)
    terms = xp.where(one_empty, xp.inf, (q - p) * xp.log(ratio))
    return xp.where(xp.isnan(p + q).any(axis=-1), xp.nan, terms.sum(axis=-1))  # type: ignore[no-any-return]


def measure(reference: Array, current: Array, confidence: float = 0.95) -> Measured:
    """The index, its chance and its size: effect, low and high are the populations' index, in nats, chance's share taken off.

    See `divergence_interval` for the method and for when to trust it: few rows a bin draw the index towards 0.

    >>> import numpy as np
    >>> found = measure(np.array([100, 200, 100]), np.array([50, 200, 150]))
    >>> [float(x.round(4)) for x in (found.effect, found.low, found.high)]
    [0.126, 0.0486, 0.2522]
    """
    return measure_divergence(sloped, 2, reference, current, confidence)


def sloped(reference: Array, current: Array) -> Sloped:
    """The index with its slopes, as `divergence_interval` takes it."""
    xp = namespace(reference)
    p, q = smoothed_shares(reference, current, 0.5)
    filled = (p > 0) & (q > 0)
    p, q = xp.where(filled, p, 1.0), xp.where(filled, q, 1.0)
    log = xp.log(q / p)
    return Sloped(psi(reference, current), 1 - q / p - log, 1 - p / q + log)
