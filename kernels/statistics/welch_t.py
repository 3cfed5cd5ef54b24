"""Welch's t: is the mean the same?"""

from __future__ import annotations

import numpy as np

from kernels.arrays import Array, host, namespace
from kernels.column_counts import ColumnCounts
from kernels.measured import Measured
from kernels.statistics.cohens_d import cohens_d
from kernels.statistics.placement import beside


def welch_t(reference: ColumnCounts, current: ColumnCounts) -> Array:
    """The current mean less the reference's, in standard errors: [d], positive where the column rose.

    Over the finite values, from moments alone, the variances not taken to be equal. Infinite where both sides are constant and
    differ, 0 where they are equal, NaN where a side has fewer than two values.

    Source: Welch, "The generalization of 'Student's' problem when several different population variances are involved", 1947.

    >>> import numpy as np
    >>> from kernels import profile
    >>> edges = np.zeros((1, 1))
    >>> before, after = profile(np.array([[1.0], [3.0]]), edges), profile(np.array([[2.0], [4.0]]), edges)
    >>> welch_t(before, after).round(4).tolist()
    [0.7071]
    """
    xp = namespace(reference.mean)
    variances = _of_means(reference), _of_means(current)
    error = xp.sqrt(variances[0] + variances[1])
    difference = current.mean - reference.mean
    t = difference / xp.where(error == 0, 1.0, error)
    return xp.where((error == 0) & (difference != 0), xp.copysign(xp.inf, difference), t)  # type: ignore[no-any-return]


def measure(reference: ColumnCounts, current: ColumnCounts, confidence: float = 0.95) -> Measured:
    """Welch's t, its two-sided chance, and Hedges' g: effect, low and high are the populations' difference in pooled deviations.

    The p-value needs means that are about normal, which a few dozen values of any but the heaviest tails have. g is `cohens_d`
    less its bias in small samples. Its interval is the delta method's, the variances not taken to be equal, the error of the
    deviation being that of normal values: tails should add g²/4 times the excess kurtosis, over the rows, to a variance of about
    4 over the rows. That is little below g = 0.5.

    Source: Hedges, "Distribution theory for Glass's estimator of effect size", 1981; Bonett, "Confidence intervals for
    standardized linear contrasts of means", 2008.

    >>> import numpy as np
    >>> from kernels import profile
    >>> edges, steps = np.zeros((1, 1)), np.arange(50.0)[:, None]
    >>> found = measure(profile(steps, edges), profile(steps + 10, edges))
    >>> [float(x[0].round(4)) for x in (found.value, found.p_value, found.effect, found.low, found.high)]
    [3.43, 0.0009, 0.6807, 0.2773, 1.0841]
    """
    from scipy.special import ndtri, poch, stdtr

    t = host(welch_t(reference, current))
    variances = [host(_of_means(side)) for side in (reference, current)]
    n, m = (np.asarray(host(side.finite), np.float64) for side in (reference, current))
    total = variances[0] + variances[1]
    shares = [v / np.where(total > 0, total, 1.0) for v in variances]
    # Of constants the chance is 1 or 0 whatever the freedom.
    freedom = 1 / np.maximum(sum(s**2 / np.maximum(rows - 1, 1) for s, rows in zip(shares, (n, m), strict=True)), 1e-300)
    p_value = np.where(np.isinf(t), 0.0, 2 * stdtr(np.where(total > 0, freedom, 1.0), -np.abs(t)))

    pooled = np.maximum(n + m - 2, 1)
    unbiased = poch((pooled - 1) / 2, 0.5) / np.sqrt(pooled / 2)
    effect = np.where((n > 1) & (m > 1), host(cohens_d(reference, current)) * unbiased, np.nan)
    variance = (host(reference.m2) + host(current.m2)) / pooled
    scale = np.where(variance > 0, variance, 1.0)
    of_variance = sum(2 * (v * rows / scale) ** 2 * (rows - 1) for v, rows in zip(variances, (n, m), strict=True)) / pooled**2
    # Constants have no spread, and an infinite effect has no width.
    finite = np.where(np.isfinite(effect), effect, 0.0)
    half = float(ndtri((1 + confidence) / 2)) * np.hypot(np.sqrt(total / scale), finite / 2 * np.sqrt(of_variance))
    return Measured(*beside(reference.mean, t, p_value, effect, effect - half, effect + half))


def _of_means(side: ColumnCounts) -> Array:
    """[d] the squared standard error of the mean; NaN where there are fewer than two values."""
    xp = namespace(side.m2)
    rows = side.finite
    return xp.where(rows > 1, side.m2 / xp.maximum(rows - 1, 1) / xp.maximum(rows, 1), xp.nan)  # type: ignore[no-any-return]
