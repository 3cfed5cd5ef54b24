"""Exact chances of a sample's counts given the pool it was drawn from, as independent standard normal scores.

Compiled by numba on first use, like `kernels.cpu`; import it where it is needed.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

NEGLIGIBLE = 1e-18  # a term that adds less than rounding; those after it are smaller still, as the law is log-concave
LARGE = 1e200  # above it a sum is scaled down, so that the tail of a window a thousand deviations off is no infinity


def normal_scores(pool: I64, sample: I64, chance: F64) -> F64:
    """Each bin's surprise given the bins before it, as scores that are independent and N(0, 1) when the sample is a random one.

    pool    [d, k] counts of everything, the sample included
    sample  [d, k] counts of the sample; at most the pool's
    chance  [d, k - 1] uniform numbers in (0, 1), which split ties

    [d, k - 1]: score i is positive where bin i holds more of the sample than its share of the bins i, i + 1, … in the pool. NaN
    where the pool leaves nothing to chance, because bin i or all those after it are empty.

    A random sample's counts are multivariate hypergeometric, so those of bin i given the bins before it are hypergeometric.
    Their distribution function at the count, the mass of the count itself split by `chance`, is exactly uniform and independent
    of those before; the score is its normal quantile. The sums run outwards from the count until the terms vanish, about 16
    standard deviations; no factorials, no approximation.

    Source: Rosenblatt, "Remarks on a multivariate transformation", 1952.

    >>> scores = normal_scores(np.array([[50, 30, 0, 20]]), np.array([[9, 1, 0, 0]]), np.full((1, 3), 0.5))
    >>> scores.round(3).tolist()
    [[2.635, 0.524, nan]]
    """
    from scipy.special import ndtri_exp

    tail, above = _tails(pool, sample, chance)
    return np.where(above, -1.0, 1.0) * ndtri_exp(tail)  # type: ignore[no-any-return]


@numba.njit(cache=True, nogil=True)
def _tails(pool: I64, sample: I64, chance: F64) -> tuple[F64, npt.NDArray[np.bool_]]:
    """The logarithm of the smaller tail of every bin, and whether it is the upper one."""
    d, k = pool.shape
    tail = np.full((d, k - 1), np.nan)
    above = np.zeros((d, k - 1), dtype=np.bool_)
    for j in range(d):
        total, drawn = pool[j].sum(), sample[j].sum()
        for i in range(k - 1):
            marked, seen = pool[j, i], sample[j, i]
            total -= marked
            if marked > 0 and total > 0:
                fewer = _beyond(float(marked), float(total), float(drawn), float(seen))
                more = _beyond(float(total), float(marked), float(drawn), float(drawn - seen))
                low = _add(fewer, math.log(chance[j, i]))
                high = _add(more, math.log1p(-chance[j, i]))
                above[j, i] = low > high
                tail[j, i] = min(low, high) - _add(low, high)
            drawn -= seen
    return tail, above


@numba.njit(cache=True, nogil=True)
def _beyond(marked: float, others: float, drawn: float, seen: float) -> float:
    """The logarithm of the chance of fewer than `seen` marked ones, over the chance of exactly `seen`."""
    term, total, scale = 1.0, 0.0, 0.0
    x = seen
    while x > 0:
        # The chance of x - 1 over the chance of x; zero where the others run out.
        ratio = x * (others - drawn + x) / ((marked - x + 1) * (drawn - x + 1))
        term *= ratio
        total += term
        x -= 1
        if ratio < 1 and term <= total * NEGLIGIBLE:
            break
        if total > LARGE:
            term /= LARGE
            total /= LARGE
            scale += math.log(LARGE)
    return scale + math.log(total) if total > 0 else -math.inf


@numba.njit(cache=True, nogil=True)
def _add(a: float, b: float) -> Any:
    """The logarithm of the sum of two numbers given by theirs."""
    larger, smaller = max(a, b), min(a, b)
    return larger + math.log1p(math.exp(smaller - larger))
