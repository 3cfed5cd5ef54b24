"""Mahalanobis distance between two means, and Hotelling's test of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.arrays import Array, host, namespace
from kernels.measured import Measured
from kernels.table_rows import comparable

SLAB = 1 << 14
FLAT = 1e-10  # a direction with less variance than this share of the largest, after scaling, is a linear dependency


def mahalanobis(x: Array, y: Array) -> float:
    """How far the mean of rows y [m, d] is from that of x [n, d], in pooled standard deviations along the way.

    sqrt((ȳ - x̄)' S⁻¹ (ȳ - x̄)), S the pooled covariance; directions in which nothing varies are left out. It does not depend on
    the columns' units, and a shift that breaks a correlation counts for more. With d columns, chance alone makes it about
    sqrt(d (1/n + 1/m)): `measure` takes that off. The rows are taken as they are and must be finite.

    Source: Mahalanobis, "On the generalised distance in statistics", 1936.

    >>> x = np.array([[0.0], [1.0], [2.0]])
    >>> mahalanobis(x, x + 2)
    2.0
    """
    difference, covariance, _ = _pooled(x, y)
    return math.sqrt(_squared(difference, covariance)[0])


def measure(x: Array, y: Array, *, seed: int = 0, confidence: float = 0.95) -> Measured:
    """Hotelling's T², its p-value, and the Mahalanobis distance as effect. Shape [].

    Over all rows, made comparable by `kernels.table_rows`.

    p_value  T² (n + m - d - 1) / ((n + m - 2) d) is F-distributed with d and n + m - d - 1 degrees of freedom for normal rows, and
             near enough for others from a few hundred rows on
    effect   the distance of the populations' means, squared, estimated without bias, floored at 0, rooted
    interval by inverting the noncentral F distribution, exact for normal rows

    Where a column, or a combination of columns, does not vary, that direction is left out of d; but a column that is constant on
    each side and not the same is infinitely far, p-value 0. Where there are more than half as many columns as rows, no test of the whole metric has
    power: the rows are projected onto half as many random directions as there are rows, drawn by the seed, and all figures are of
    that projection, whose distance is at most the whole one's. NaN where a side has no rows or both together fewer than four.

    Source: Hotelling, "The generalization of Student's ratio", 1931; Lopes, Jacob and Wainwright, "A more powerful two-sample
    test in high dimensions using random projection", 2011.

    >>> rng = np.random.default_rng(0)
    >>> moved = measure(rng.standard_normal((400, 3)), rng.standard_normal((400, 3)) + [0.5, 0, 0])
    >>> bool(moved.p_value < 1e-6), float(moved.effect.round(2)), bool(moved.low < 0.5 < moved.high)
    (True, 0.48, True)
    """
    from scipy.special import fdtrc

    xp: Any = namespace(x)
    x, y = comparable(x, y)
    n, m = len(x), len(y)
    rows = n + m
    if min(n, m) == 0 or rows < 4 or x.shape[1] == 0:
        return Measured(*(xp.asarray(math.nan),) * 5)
    difference, covariance, jumped = _pooled(x, y)
    if jumped:
        return Measured(*(xp.asarray(bound) for bound in (math.inf, 0.0, math.inf, math.inf, math.inf)))
    most = (rows - 2) // 2
    if int(np.linalg.matrix_rank(covariance, tol=FLAT * max(float(np.trace(covariance)), 1e-300), hermitian=True)) > most:
        towards = np.random.default_rng(seed).standard_normal((len(difference), most))
        difference, covariance = towards.T @ difference, towards.T @ covariance @ towards
    squared, d = _squared(difference, covariance)
    if d == 0:
        return Measured(*(xp.asarray(bound) for bound in (0.0, 1.0, 0.0, 0.0, 0.0)))

    weight, left = n * m / rows, rows - d - 1
    t_squared = weight * squared
    f = t_squared * left / ((rows - 2) * d)
    unbiased = squared * (left - 2) / (rows - 2) - d / weight if left > 2 else squared
    tail = (1 - confidence) / 2
    low, high = (_noncentrality(f, d, left, share) / weight for share in (1 - tail, tail))
    figures = t_squared, fdtrc(d, left, f), math.sqrt(max(unbiased, 0.0)), math.sqrt(low), math.sqrt(high)
    return Measured(*(xp.asarray(figure, dtype=xp.float64) for figure in figures))


def _noncentrality(f: float, d: int, left: int, share: float) -> float:
    """The noncentrality under which a share of `share` of noncentral F variables is below f; 0 if even without one fewer are."""
    from scipy.special import chndtr, ncfdtr

    def below(noncentrality: float) -> float:
        if left > 10_000:  # the denominator is as good as constant
            return float(chndtr(f * d, d, noncentrality))
        return float(ncfdtr(d, left, noncentrality, f))

    if not below(0.0) > share:
        return 0.0
    return _where_falls_to(below, share, start=max(f * d, 1.0))


def _where_falls_to(falling: Callable[[float], float], level: float, start: float) -> float:
    low, high = 0.0, start
    while falling(high) > level:
        low, high = high, 2 * high
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > level else (low, middle)
    return (low + high) / 2


def _pooled(x: Array, y: Array) -> tuple[Array, Array, bool]:
    """On the host, of the columns that vary: the difference of the means [d] in pooled deviations and the pooled correlation [d, d].
    Also whether a column that does not vary has another mean.
    """
    (n, mean_x, scatter_x), (m, mean_y, scatter_y) = scatter(x), scatter(y)
    difference = mean_y - mean_x
    covariance = (scatter_x + scatter_y) / max(n + m - 2, 1)
    variances = np.diag(covariance)
    size = np.abs(mean_x) + np.abs(mean_y)
    varies = variances > (1e-14 * size) ** 2
    deviations = np.sqrt(variances[varies])
    jumped = bool((np.abs(difference[~varies]) > 1e-12 * size[~varies]).any())
    return difference[varies] / deviations, covariance[np.ix_(varies, varies)] / np.outer(deviations, deviations), jumped


def scatter(x: Array) -> tuple[int, Array, Array]:
    """Rows, mean [d] and scatter matrix [d, d] of x [n, d], about its mean; float64, on the host, in two passes of slabs.

    >>> scatter(np.array([[1.0, 2.0], [3.0, 6.0]]))[2].tolist()
    [[2.0, 4.0], [4.0, 8.0]]
    """
    xp = namespace(x)
    mean = x.mean(axis=0, dtype=xp.float64)
    total = xp.zeros((x.shape[1], x.shape[1]))
    for row in range(0, len(x), SLAB):
        part = x[row : row + SLAB] - mean
        total += part.T @ part
    return len(x), host(mean), host(total)


def _squared(difference: Array, covariance: Array) -> tuple[float, int]:
    """The squared distance in the metric of a covariance, and the directions that have any variance."""
    if len(difference) == 0:
        return 0.0, 0
    variances, axes = np.linalg.eigh(covariance)
    varies = variances > FLAT * variances[-1]
    along = axes[:, varies].T @ difference
    return float((along**2 / variances[varies]).sum()), int(varies.sum())
