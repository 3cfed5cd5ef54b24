"""Jensen-Shannon distance."""

from __future__ import annotations

from kernels.arrays import Array, namespace


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
    p, q = _shares(reference), _shares(current)
    mixture = (p + q) / 2
    divergence = (_relative_entropy(p, mixture) + _relative_entropy(q, mixture)) / 2
    return xp.sqrt(xp.clip(divergence, 0.0, 1.0))  # type: ignore[no-any-return]


def _shares(counts: Array) -> Array:
    xp = namespace(counts)
    seen = counts.sum(axis=-1, keepdims=True)
    return xp.where(seen > 0, counts / xp.where(seen > 0, seen, 1), xp.nan)  # type: ignore[no-any-return]


def _relative_entropy(p: Array, mixture: Array) -> Array:
    """In bits; a bin with p = 0 adds nothing."""
    xp = namespace(p)
    ratio = xp.where(p == 0, 1.0, p) / xp.where(p == 0, 1.0, mixture)
    return (p * xp.log2(ratio)).sum(axis=-1)  # type: ignore[no-any-return]
