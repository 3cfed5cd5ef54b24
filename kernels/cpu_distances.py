"""`kernels.distances` on the CPU: one pass of NumPy, in which the five share the shares and the logs."""

from __future__ import annotations

import numpy as np

from kernels.arrays import Array
from kernels.count_distances import CountDistances


def distances(reference: Array, current: Array, smoothing: float = 0.5) -> CountDistances:
    """See `kernels.distances`."""
    n, m = (counts.sum(axis=1, keepdims=True) for counts in (reference, current))
    known = (n > 0) & (m > 0)
    filled = (reference > 0) | (current > 0)
    added = smoothing * filled.sum(axis=1, keepdims=True)

    p, q = reference / np.where(known, n, np.nan), current / np.where(known, m, np.nan)
    both, difference = p + q, q - p
    e = difference / np.where(filled, both, 1.0)  # q is (1 + e) of the mixture and p is (1 - e)
    rise, fall = (np.log1p(np.where(side > -1, side, 0.0)) for side in (e, -e))
    entropy = (both / 4 * ((1 + e) * rise + (1 - e) * fall)).sum(axis=1) / np.log(2)
    squared = ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(axis=1) / 2

    # Bins that are empty on both sides get the same share of either, whose log of a ratio is 0.
    smooth_p, smooth_q = (
        (counts + smoothing) / np.where(known, rows + added, np.nan) for counts, rows in ((reference, n), (current, m))
    )
    with np.errstate(divide="ignore", invalid="ignore"):  # without smoothing a bin that one side fills is infinitely far
        log = np.log(np.where(filled, smooth_q, 1.0)) - np.log(np.where(filled, smooth_p, 1.0))
        information = np.where(filled & (smooth_q > 0), smooth_q * log, 0.0)
        moved = np.where(filled, (smooth_q - smooth_p) * log, 0.0)
    psi, kl, variation = (terms.sum(axis=1) for terms in (moved, information, np.abs(difference)))
    found = (psi, np.sqrt(np.clip(entropy, 0.0, 1.0)), kl, np.sqrt(squared), variation / 2)
    return CountDistances(*(np.where(known[:, 0], distance, np.nan) for distance in found))
