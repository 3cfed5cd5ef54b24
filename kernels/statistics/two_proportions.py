"""Do two samples hold the same share of something? Intervals for one share, and for the difference of two."""

from __future__ import annotations

import numpy as np

from kernels.arrays import Array

FEW = 10.0  # expected counts below which the chi-squared approximation gives way to the exact distribution
TERMS = 256  # of a tail whose expected count is below FEW: the rest is far below the last digit


def p_value(a: Array, n: Array, b: Array, m: Array) -> Array:
    """The two-sided chance that `a` of n and `b` of m differ at least this much if the shares are one. Host arrays, [...] each.

    Given a + b, the number on one side is hypergeometric: Fisher's exact test, the smaller tail doubled, where a cell expects
    fewer than 10; Pearson's chi-squared without a continuity correction elsewhere. The approximation cannot be had for rare
    things: one such row among 1,000 where the reference has none in a million has a chance of 0.001, and chi-squared says 1e-219.
    NaN where a side has no rows.

    Source: Fisher, "The logic of inductive inference", 1935.

    >>> p_value(np.array([0, 300]), np.array([10**6, 1000]), np.array([1, 340]), np.array([1000, 1000])).round(6).tolist()
    [0.001998, 0.055186]
    """
    from scipy.special import chdtrc

    a, n, b, m = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (a, n, b, m)))
    rows, total = n + m, a + b
    fewest = np.minimum(total, rows - total) * np.minimum(n, m) / np.maximum(rows, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = (a * (m - b) - b * (n - a)) ** 2 / (total * (rows - total) * n * m) * rows
    p = np.where((total == 0) | (total == rows), 1.0, chdtrc(1.0, np.nan_to_num(statistic)))
    few = (fewest < FEW) & (fewest > 0)
    if few.any():
        p[few] = _exact(*(x[few] for x in (a, n, b, m)))
    return np.where((n > 0) & (m > 0), p, np.nan)


def _exact(a: Array, n: Array, b: Array, m: Array) -> Array:
    """Fisher's test, [f] tables with a small expected cell: counted is the cell of the rarer outcome in the smaller sample."""
    swap = n < m
    a, n, b, m = np.where(swap, b, a), np.where(swap, m, n), np.where(swap, a, b), np.where(swap, n, m)
    rare = a + b <= n - a + m - b
    x, total = np.where(rare, b, m - b), np.where(rare, a + b, n - a + m - b)
    # So little is expected that nobody is beyond TERMS by chance: the lower tail of such an x is that of TERMS, which is 1.
    upwards, downwards = x[:, None] + np.arange(TERMS), np.minimum(x, TERMS - 1)[:, None] - np.arange(TERMS)
    tails = [_hypergeometric(j, total[:, None], n[:, None], m[:, None]).sum(axis=1) for j in (upwards, downwards)]
    chance: Array = np.minimum(2 * np.minimum(*tails), 1.0)
    return chance


def _hypergeometric(j: Array, total: Array, n: Array, m: Array) -> Array:
    """The chance that j of `total` marked rows are among m drawn from n + m, 0 where that cannot be."""
    from scipy.special import betaln

    possible = (j >= 0) & (j <= total) & (j <= m) & (total - j <= n)
    j = np.where(possible, j, np.clip(total - n, 0, m))
    logs = [-np.log1p(of) - betaln(of - chosen + 1, chosen + 1) for of, chosen in ((m, j), (n, total - j), (n + m, total))]
    return np.where(possible, np.exp(logs[0] + logs[1] - logs[2]), 0.0)


def wilson(successes: Array, rows: Array, confidence: float) -> tuple[Array, Array]:
    """Wilson's score interval of one share; NaN without rows. Source: Wilson, "Probable inference ...", 1927.

    >>> [float(end.round(4)) for end in wilson(np.array(10), np.array(100), 0.95)]
    [0.0552, 0.1744]
    """
    from scipy.special import ndtri

    z2 = float(ndtri((1 + confidence) / 2)) ** 2
    seen = np.where(rows > 0, rows, np.nan)
    p = successes / seen
    centre, half = p + z2 / (2 * seen), np.sqrt(z2 * (p * (1 - p) / seen + z2 / (4 * seen**2)))
    return np.maximum((centre - half) / (1 + z2 / seen), 0.0), np.minimum((centre + half) / (1 + z2 / seen), 1.0)


def clopper_pearson(successes: Array, rows: Array, confidence: float) -> tuple[Array, Array]:
    """The interval of one share that covers at least that often whatever the share is; NaN without rows.

    Source: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial", 1934.

    >>> [float(end.round(4)) for end in clopper_pearson(np.array(0), np.array(100), 0.95)]
    [0.0, 0.0362]
    """
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    successes, rows = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(rows, np.float64))
    failures = rows - successes
    low = np.where(successes > 0, betaincinv(np.maximum(successes, 1), failures + 1, tail), 0.0)
    high = np.where(failures > 0, betaincinv(successes + 1, np.maximum(failures, 1), 1 - tail), 1.0)
    return np.where(rows > 0, low, np.nan), np.where(rows > 0, high, np.nan)


def newcombe(a: Array, n: Array, b: Array, m: Array, confidence: float) -> tuple[Array, Array]:
    """The interval of b/m less a/n, from Wilson's of each: right at shares of 0 and 1 too, where the usual one has no width.

    Source: Newcombe, "Interval estimation for the difference between independent proportions", 1998, method 10.

    >>> [float(end.round(4)) for end in newcombe(np.array(48), np.array(80), np.array(56), np.array(70), 0.95)]
    [0.0524, 0.3339]
    """
    with np.errstate(invalid="ignore"):
        p, q = a / np.where(n > 0, n, np.nan), b / np.where(m > 0, m, np.nan)
    (p_low, p_high), (q_low, q_high) = wilson(a, n, confidence), wilson(b, m, confidence)
    return q - p - np.hypot(q - q_low, p_high - p), q - p + np.hypot(q_high - q, p - p_low)
