"""Maximum mean discrepancy in linear time: every row is compared once."""

from __future__ import annotations

import math

import numpy as np

from kernels.arrays import Array, host, namespace
from kernels.measured import Measured
from kernels.statistics.mmd import BANDWIDTH_ROWS, bandwidth, of_squared
from kernels.table_rows import SLAB, frame, sampled


def linear_time_mmd(x: Array, y: Array, width: float) -> tuple[float, float]:
    """The squared discrepancy of rows x and y [n, d] under a Gaussian kernel of that bandwidth, and its variance.

    Rows are taken two at a time from each side: k(x, x') + k(y, y') - k(x, y') - k(x', y) is unbiased for the squared
    discrepancy, and the mean of n / 2 of them is normal with a known variance, change or none. What the larger side has more is
    left out. The order of the rows must mean nothing: shuffle what is sorted. NaN for fewer than two pairs.

    Source: Gretton et al., "A kernel two-sample test", 2012, section 6.

    >>> near, far = np.zeros((4, 1)), np.full((4, 1), 9.0)
    >>> linear_time_mmd(near, far, width=1.0)
    (2.0, 0.0)
    """
    return _mean_and_its_variance([_pairs(x, y, width)])


def measure(x: Array, y: Array, *, scaled: bool = True, seed: int = 0, confidence: float = 0.95) -> Measured:
    """The squared discrepancy, its one-sided normal p-value, and the discrepancy itself as effect. Shape [].

    Of all rows of the smaller side and as many of the other, in an order drawn by the seed; made comparable by
    `kernels.table_rows`, under the bandwidth of `kernels.statistics.mmd`. The effect is that one's too, its interval wider: use
    this where there are more rows than `mmd` can compare with each other. P-value and interval are normal, to be trusted from
    some fifty pairs on. NaN for fewer than two pairs of rows on a side; where all rows are alike, 0 with p-value 1.

    >>> rng = np.random.default_rng(0)
    >>> changed = measure(rng.standard_normal((4000, 2)), rng.standard_normal((4000, 2)) + 0.5)
    >>> bool(changed.p_value < 1e-6), float(changed.effect.round(1))
    (True, 0.2)
    """
    from scipy.special import ndtr

    xp = namespace(x)
    rng = np.random.default_rng(seed)
    both = frame(x, y, scaled)
    few_x, few_y = (next(both.slabs(sampled(side, BANDWIDTH_ROWS, rng)), side[:0]) for side in (x, y))
    width = bandwidth(few_x, few_y, rng) if min(len(few_x), len(few_y)) else 1.0
    order_x, order_y = (xp.asarray(rng.permutation(len(side))) for side in (x, y))
    parts = []
    for row in range(0, min(len(x), len(y)), SLAB):
        slab_x, slab_y = (next(both.slabs(side[order[row : row + SLAB]])) for side, order in ((x, order_x), (y, order_y)))
        parts.append(_pairs(slab_x, slab_y, width))
    value, variance = _mean_and_its_variance(parts)
    certain = 0.0 if value > 0 else 1.0
    p_value = certain if variance == 0 else float(ndtr(-value / math.sqrt(variance)))
    interval = of_squared(xp.asarray(value), xp.asarray(variance), confidence)
    rows = 2 * sum(map(len, parts))
    return Measured(xp.asarray(value), xp.asarray(p_value), *interval, rows=(rows, rows))


def _pairs(x: Array, y: Array, width: float) -> Array:
    """How much more alike the rows of each side are than rows across, for each two of x and two of y that follow each other."""
    xp = namespace(x)
    rows = min(len(x), len(y)) // 2 * 2
    a, b, c, d = x[:rows:2], x[1:rows:2], y[:rows:2], y[1:rows:2]
    alike = [xp.exp(((p - q) ** 2).sum(axis=1, dtype=xp.float64) / (-2 * width**2)) for p, q in ((a, b), (c, d), (a, d), (b, c))]
    return alike[0] + alike[1] - alike[2] - alike[3]  # type: ignore[no-any-return]


def _mean_and_its_variance(parts: list[Array]) -> tuple[float, float]:
    h = np.concatenate([np.zeros(0), *map(host, parts)])
    return (float(h.mean()), float(h.var(ddof=1)) / len(h)) if len(h) > 1 else (math.nan, math.nan)
