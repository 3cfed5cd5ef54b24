"""Population stability index."""

from __future__ import annotations

from kernels.arrays import Array, namespace


def psi(reference: Array, current: Array, smoothing: float = 0.5) -> Array:
    """How far the bins' shares moved: the sum over bins of (q - p) ln(q / p). [..., k] counts to [...] nats.

    Zero bins: `smoothing` is added to every bin of both before the shares are taken (0.5, Jeffreys' prior), so that a bin that is
    empty on one side gives a finite term, and one that weighs less the more rows there are. With 0, such a bin gives infinity and
    a bin that is empty on both sides is left out. NaN where a side has no counts at all: seeing nothing is not stability.

    By custom, below 0.1 is stable and above 0.2 has shifted; with few rows chance alone exceeds that: expect about
    (k - 1)(1/rows of one + 1/rows of the other).

    Source: Siddiqi, "Credit Risk Scorecards", 2006; the statistic is Jeffreys' divergence, "An invariant form for the prior
    probability in estimation problems", 1946.

    >>> import numpy as np
    >>> float(psi(np.array([100, 200, 100]), np.array([50, 200, 150]), smoothing=0).round(4))
    0.1373
    """
    xp = namespace(reference)
    p, q = _shares(reference, smoothing), _shares(current, smoothing)
    one_empty, both_empty = (p == 0) != (q == 0), (p == 0) & (q == 0)
    ratio = xp.where(one_empty | both_empty, 1.0, q) / xp.where(one_empty | both_empty, 1.0, p)
    terms = xp.where(one_empty, xp.inf, (q - p) * xp.log(ratio))
    return xp.where(xp.isnan(p + q).any(axis=-1), xp.nan, terms.sum(axis=-1))  # type: ignore[no-any-return]


def _shares(counts: Array, smoothing: float) -> Array:
    xp = namespace(counts)
    seen = counts.sum(axis=-1, keepdims=True)
    total = xp.where(seen > 0, seen + smoothing * counts.shape[-1], 1)
    return xp.where(seen > 0, (counts + smoothing) / total, xp.nan)  # type: ignore[no-any-return]
