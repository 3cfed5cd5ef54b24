"""Maximum mean discrepancy: whether two tables of rows come from one distribution, by the mean similarity of their rows."""

from __future__ import annotations

import math

import numpy as np

import kernels
from kernels.arrays import Array, host, namespace
from kernels.measured import Measured
from kernels.table_rows import comparable, sampled

ROWS = 10_000  # of a side that are compared, unless told otherwise: n² / 2 pairs, about a second
PERMUTATIONS = 200
BANDWIDTH_ROWS = 1000  # whose distances give the bandwidth
SPREAD_ROWS = 1000  # of a side, whose mean similarities give the interval
SLAB = 1 << 12


def mmd(x: Array, y: Array, width: float) -> float:
    """The unbiased squared discrepancy of rows x [n, d] and y [m, d] under a Gaussian kernel of that bandwidth.

    The mean similarity of two rows of x, and of two of y, less twice that of one of each: 0 on average where nothing changed, so
    that it may be negative; at most 2. Quadratic in the rows but not in memory: see `kernels.rbf_sums`. The rows are taken as
    they are, all of them, and must be finite.

    Source: Gretton et al., "A kernel two-sample test", 2012.

    >>> import numpy as np
    >>> near, far = np.array([[0.0], [0.1]]), np.array([[9.0], [9.1]])
    >>> round(mmd(near, far, width=1.0), 3)
    1.99
    """
    xp = namespace(x)
    signs = xp.concatenate([xp.ones(len(x), xp.int8), -xp.ones(len(y), xp.int8)])
    return float(_squared(xp.concatenate([x, y]), signs[:, None], len(x), len(y), width)[0])


def measure(
    x: Array,
    y: Array,
    *,
    rows: int | None = ROWS,
    permutations: int = PERMUTATIONS,
    scaled: bool = True,
    seed: int = 0,
    confidence: float = 0.95,
) -> Measured:
    """The squared discrepancy, the chance of it under exchanged labels, and the discrepancy itself as effect. Shape [].

    Rows are made comparable by `kernels.table_rows`. The bandwidth is the median distance between rows of the reference: fixed by
    it alone, so that windows compare with each other.

    A side with more than `rows` rows is represented by that many, drawn by the seed: the time is quadratic. `rows=None` takes
    all of them; `linear_time_mmd` sees all of them in linear time, with less power.

    p_value  among `permutations` exchanges of the labels, all computed in the one pass: exact for any number of rows, never
             below 1 / (permutations + 1)
    effect   estimates the population's discrepancy, the square root of the squared one, floored at 0; between 0 and √2
    interval normal, of the squared discrepancy: its variance is that of the rows' mean similarities (the delta method), plus what
             exchanging the labels shows. Wide near no change, where the estimate is not normal.

    NaN where a side has fewer than two rows with a value.

    >>> rng = np.random.default_rng(0)
    >>> changed = measure(rng.standard_normal((300, 4)), rng.standard_normal((300, 4)) + 0.5)
    >>> float(changed.p_value.round(3)), float(changed.effect.round(2))
    (0.005, 0.26)
    """
    rng = np.random.default_rng(seed)
    xp = namespace(x)
    x, y = comparable(sampled(x, rows, rng), sampled(y, rows, rng), scaled)
    n, m = len(x), len(y)
    if min(n, m) < 2:
        return Measured(*(xp.asarray(math.nan),) * 5, rows=(n, m))
    width = bandwidth(x, y, rng)
    both = xp.concatenate([x, y])
    signs = np.empty((n + m, permutations + 1), np.int8)
    signs[:n, 0], signs[n:, 0] = 1, -1
    for p in range(1, permutations + 1):
        signs[:, p] = rng.permutation(signs[:, 0])
    squared = host(_squared(both, xp.asarray(signs), n, m, width))
    del signs, both

    value, exchanged = float(squared[0]), squared[1:]
    at_least = int(np.count_nonzero(exchanged >= value - 1e-12))
    p_value = (1 + at_least) / (1 + permutations)
    variance = _variance(x, y, width, rng) + (float(np.mean(exchanged**2)) if permutations else 0.0)
    interval = of_squared(xp.asarray(value), xp.asarray(variance), confidence)
    return Measured(xp.asarray(value), xp.asarray(p_value), *interval, rows=(n, m))


def bandwidth(x: Array, y: Array, rng: np.random.Generator) -> float:
    """The median distance between two different rows of x, among a thousand drawn of them; of both sides if that is 0; else 1.

    Source: Garreau, Jitkrittum and Kanagawa, "Large sample analysis of the median heuristic", 2017.

    >>> line = np.arange(3.0)[:, None]
    >>> bandwidth(line, line, np.random.default_rng(0))
    1.0
    """
    xp = namespace(x)
    for rows in (x, xp.concatenate([x[:SLAB], y[:SLAB]])):
        some = sampled(rows, BANDWIDTH_ROWS, rng).astype(xp.float64)
        squares = host(_squared_distances(some, some))[np.triu_indices(len(some), 1)]
        # Rows that are the same but for rounding are at no distance.
        if len(squares) and (median := float(np.median(squares))) > 1e-12 * float(squares.max()):
            return math.sqrt(median)
    return 1.0


def of_squared(squared: Array, variance: Array, confidence: float) -> tuple[Array, Array, Array]:
    """Effect and interval of the discrepancy, from an estimate of the squared one and its variance."""
    from scipy.special import ndtri

    xp = namespace(squared)
    reach = float(ndtri((1 + confidence) / 2)) * xp.sqrt(variance)
    effect, low, high = (xp.sqrt(xp.maximum(bound, 0.0)) for bound in (squared, squared - reach, squared + reach))
    return effect, low, high


def _squared(both: Array, signs: Array, n: int, m: int, width: float) -> Array:
    """[P] for [n + m, P] signs, 1 for n rows of a group and -1 for the m of the other."""
    sums = kernels.rbf_sums(both, signs, width)
    # With s of 1 and -1: s'Ks = xx + yy - 2xy, 1'Ks = xx - yy and 1'K1 = xx + yy + 2xy.
    xy = (sums.total - sums.quadratic) / 4
    xx, yy = (sums.total + sums.linear) / 2 - xy, (sums.total - sums.linear) / 2 - xy
    return xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m)


def _variance(x: Array, y: Array, width: float, rng: np.random.Generator) -> float:
    """Of the squared discrepancy to first order: 4 var(h_x) / n + 4 var(h_y) / m, where h is how much more alike a row is, on
    average, to the rows of its own side than to those of the other.
    """
    total = 0.0
    for own, other in ((x, y), (y, x)):
        some = sampled(own, SPREAD_ROWS, rng)
        n, m = len(own), len(other)
        # Each row is once among its own: it is at no distance and adds 1.
        alike = (_similarity(some, own, width) - 1) / (n - 1) - _similarity(some, other, width) / m
        total += 4 * float(alike.var()) / n
    return total


def _similarity(some: Array, rows: Array, width: float) -> Array:
    """[k] sums over all rows of the kernel with each of some [k, d]; in slabs."""
    xp = namespace(some)
    sums = xp.zeros(len(some))
    for row in range(0, len(rows), SLAB):
        squares = _squared_distances(some, rows[row : row + SLAB])
        sums += xp.exp(squares / xp.asarray(-2 * width**2, squares.dtype)).sum(axis=1)
    return sums  # type: ignore[no-any-return]


def _squared_distances(a: Array, b: Array) -> Array:
    xp = namespace(a)
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T)
    return xp.maximum(squares, 0, out=squares)  # type: ignore[no-any-return]
