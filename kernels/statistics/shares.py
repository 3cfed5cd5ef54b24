"""Counts to shares of their row, as they are or smoothed."""

from __future__ import annotations

from kernels.arrays import Array, namespace


def shares(counts: Array) -> Array:
    """[..., k] counts to the shares of the last axis; NaN where a row has no counts.

    >>> import numpy as np
    >>> shares(np.array([[1, 3], [0, 0]])).tolist()
    [[0.25, 0.75], [nan, nan]]
    """
    xp = namespace(counts)
    seen = counts.sum(axis=-1, keepdims=True)
    return xp.where(seen > 0, counts / xp.where(seen > 0, seen, 1), xp.nan)  # type: ignore[no-any-return]


def smoothed_shares(reference: Array, current: Array, smoothing: float) -> tuple[Array, Array]:
    """The shares of both sides after `smoothing` was added to every bin that either side fills.

    A bin that is empty on both sides keeps a share of 0: it is padding, or an interval between equal edges, and mass there would
    be the same count but not the same share of two samples of different sizes, which looks like drift.

    >>> import numpy as np
    >>> [side.tolist() for side in smoothed_shares(np.array([3, 0, 0]), np.array([1, 0, 2]), 0.5)]
    [[0.875, 0.0, 0.125], [0.375, 0.0, 0.625]]
    """
    xp = namespace(reference)
    filled = (reference > 0) | (current > 0)
    p, q = (shares(xp.where(filled, counts + smoothing, 0.0)) for counts in (reference, current))
    # Without a count there is no share, however much was added.
    seen = (counts.sum(axis=-1, keepdims=True) > 0 for counts in (reference, current))
    p, q = (xp.where(known, side, xp.nan) for side, known in zip((p, q), seen, strict=True))
    return p, q
