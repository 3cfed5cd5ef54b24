"""Mahalanobis distance between two means, and Hotelling's test of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.arrays import Array, namespace
from kernels.measured import Measured
from kernels.statistics.scatter import Scatter
from kernels.table_rows import frame

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
    difference, covariance, _ = _pooled(Scatter.of([x]), Scatter.of([y]))
    return math.sqrt(_squared(difference, covariance)[0])


def measure(x: Array, y: Array, *, seed: int = 0, confidence: float = 0.95) -> Measured:
    """Hotelling's T², its p-value, and the Mahalanobis distance as effect. Shape [].

    Over all rows, made comparable by `kernels.table_rows`.

    p_value  T² (n + m - d - 1) / ((n + m - 2) d) is F-distributed with d and n + m - d - 1 degrees of freedom for normal rows,
             near enough so for others from a few hundred rows on
    effect   the distance of the populations' means, squared, estimated without bias, floored at 0, rooted
    interval by inverting the noncentral F distribution, exact for normal rows

    Where a column, or a combination of columns, does not vary, that direction is left out of d; but a column that is constant on
    each side and not the same is infinitely far, p-value 0. Where there are more than half as many columns as rows, no test of
    the whole metric has power: the rows are projected onto half as many random directions as there are rows, drawn by the seed,
    and all figures are of that projection, whose distance is at most the whole one's. NaN where a side has no rows or both
    together fewer than four.

    Source: Hotelling, "The generalization of Student's ratio", 1931; Lopes, Jacob and Wainwright, "A more powerful two-sample
    test in high dimensions using random projection", 2011.

    >>> rng = np.random.default_rng(0)
    >>> moved = measure(rng.standard_normal((400, 3)), rng.standard_normal((400, 3)) + [0.5, 0, 0])
    >>> bool(moved.p_value < 1e-6), float(moved.effect.round(2)), bool(moved.low < 0.5 < moved.high)
    (True, 0.6, True)
    """
    from scipy.special import fdtrc

    xp: Any = namespace(x)
    both = frame(x, y)
    of_x, of_y = Scatter.of(both.slabs(x)), Scatter.of(both.slabs(y))
    n, m = of_x.rows, of_y.rows
    rows = n + m
    if min(n, m) == 0 or rows < 4 or x.shape[1] == 0:
        return Measured(*(xp.asarray(math.nan),) * 5, rows=(n, m))
    difference, covariance, jumped = _pooled(of_x, of_y)
    if jumped:
        return Measured(*(xp.asarray(bound) for bound in (math.inf, 0.0, math.inf, math.inf, math.inf)), rows=(n, m))
    most = (rows - 2) // 2
    if int(np.linalg.matrix_rank(covariance, tol=FLAT * max(float(np.trace(covariance)), 1e-300), hermitian=True)) > most:
        towards = np.random.default_rng(seed).standard_normal((len(difference), most))
        difference, covariance = towards.T @ difference, towards.T @ covariance @ towards
    squared, d = _squared(difference, covariance)
    if d == 0:
        return Measured(*(xp.asarray(bound) for bound in (0.0, 1.0, 0.0, 0.0, 0.0)), rows=(n, m))

    weight, left = n * m / rows, rows - d - 1
    t_squared = weight * squared
    f = t_squared * left / ((rows - 2) * d)
    unbiased = squared * (left - 2) / (rows - 2) - d / weight if left > 2 else squared
    tail = (1 - confidence) / 2
    low, high = (_noncentrality(f, d, left, share) / weight for share in (1 - tail, tail))
    figures = t_squared, fdtrc(d, left, f), math.sqrt(max(unbiased, 0.0)), math.sqrt(low), math.sqrt(high)
    return Measured(*(xp.asarray(figure, dtype=xp.float64) for figure in figures), rows=(n, m))


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


def _pooled(x: Scatter, y: Scatter) -> tuple[Array, Array, bool]:
    """Of the columns that vary: the difference of the means [d] in pooled deviations and the pooled correlation [d, d]; and
    whether a column that does not vary has another mean.
    """
    difference = y.mean - x.mean
    covariance = (x.products + y.products) / max(x.rows + y.rows - 2, 1)
    variances = np.diag(covariance)
    size = np.abs(x.mean) + np.abs(y.mean)
    varies = variances > (1e-14 * size) ** 2
    deviations = np.sqrt(variances[varies])
    jumped = bool((np.abs(difference[~varies]) > 1e-12 * size[~varies]).any())
    return difference[varies] / deviations, covariance[np.ix_(varies, varies)] / np.outer(deviations, deviations), jumped


def _squared(difference: Array, covariance: Array) -> tuple[float, int]:
    """The squared distance in the metric of a covariance, and the directions that have any variance."""
    if len(difference) == 0:
        return 0.0, 0
    variances, axes = np.linalg.eigh(covariance)
    varies = variances > FLAT * variances[-1]
    along = axes[:, varies].T @ difference
    return float((along**2 / variances[varies]).sum()), int(varies.sum())
