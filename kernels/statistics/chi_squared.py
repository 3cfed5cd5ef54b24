"""Chi-squared test of homogeneity: do two samples have the same shares of categories?"""

from __future__ import annotations

import math
from typing import NamedTuple

from kernels.arrays import Array, namespace
from kernels.measured import Measured
from kernels.statistics import rare_bins
from kernels.statistics.divergence_interval import Divergence, Sloped, measure_divergence
from kernels.statistics.shares import shares


class ChiSquared(NamedTuple):
    """statistic [...], its degrees of freedom [...] and p-value [...], all float64."""

    statistic: Array
    freedom: Array
    p_value: Array


def chi_squared(reference: Array, current: Array, least_expected: float = 5.0) -> ChiSquared:
    """Pearson's test on the 2 x k table of two rows of counts, [..., k] each, without a continuity correction.

    The p-value is an approximation that needs a few expected counts in every cell. So categories of which either row would expect
    fewer than `least_expected` (5, Cochran's rule) are pooled into one; pass 0 not to pool. Categories empty in both rows carry
    no evidence and no degree of freedom. Where one category is left, statistic 0 and p-value 1; where a row has no counts, NaN.

    Source: Pearson, "On the criterion ...", 1900; Cochran, "Some methods for strengthening the common chi-squared tests", 1954.

    >>> import numpy as np
    >>> test = chi_squared(np.array([50, 30, 20]), np.array([40, 30, 30]))
    >>> float(test.statistic.round(4)), int(test.freedom), float(test.p_value.round(4))
    (3.1111, 2, 0.2111)
    """
    xp = namespace(reference)
    table = rare_bins.pooled(reference, current, least_expected)
    both = xp.stack([table.reference, table.current], axis=-2)
    expected = rare_bins.expected(both)
    present = expected[..., 0, :] > 0
    statistic = ((both - expected) ** 2 / xp.where(expected > 0, expected, 1.0)).sum(axis=(-2, -1))
    freedom = xp.maximum(present.sum(axis=-1) - 1, 0).astype(xp.float64)
    empty = (both.sum(axis=-1) == 0).any(axis=-1)
    statistic = xp.where(empty, xp.nan, statistic)
    tails = [survival(s, f) for s, f in zip(statistic.ravel().tolist(), freedom.ravel().tolist(), strict=True)]
    return ChiSquared(statistic, freedom, xp.asarray(tails, dtype=xp.float64).reshape(statistic.shape))


def measure(reference: Array, current: Array, confidence: float = 0.95) -> Measured:
    """The statistic of `chi_squared`, its chance and its size: effect, low and high are the populations' Cohen's w.

    w is the square root of chi-squared over the rows, 0 for equal shares; by custom 0.1 is small, 0.3 medium, 0.5 large. It
    depends on how the rows divide between the sides: compare windows of one reference's size. The effect and the interval are
    of all categories, see `divergence_interval`, and so is the p-value: a category too rare for the approximation, alone in its
    bin, is tested exactly, which `chi_squared` leaves to the approximation.

    >>> import numpy as np
    >>> found = measure(np.array([50, 30, 20]), np.array([40, 30, 30]))
    >>> [float(x.round(4)) for x in (found.value, found.p_value, found.effect, found.low, found.high)]
    [3.1111, 0.2111, 0.0745, 0.0, 0.249]
    """
    return per_row(pearson, chi_squared(reference, current).statistic, reference, current, confidence)


def per_row(divergence: Divergence, value: Array, reference: Array, current: Array, confidence: float) -> Measured:
    """A statistic whose effect is √(statistic / rows); `divergence` is the statistic over nm/(n+m), of curvature 2."""
    xp = namespace(reference)
    found = measure_divergence(divergence, 2, reference, current, confidence)
    n, m = (counts.sum(axis=-1).astype(xp.float64) for counts in (reference, current))
    each = xp.sqrt(n * m) / xp.maximum(n + m, 1.0)
    effect, low, high = (xp.sqrt(x) * each for x in (found.effect, found.low, found.high))
    return Measured(value, found.p_value, effect, low, high)


def pearson(reference: Array, current: Array) -> Sloped:
    """Chi-squared of unpooled counts over nm/(n+m), Σ (q - p)² / mixture, with its slopes."""
    xp = namespace(reference)
    p, q = shares(reference), shares(current)
    n, m = (counts.sum(axis=-1, keepdims=True).astype(xp.float64) for counts in (reference, current))
    a = n / xp.maximum(n + m, 1.0)
    mixture = a * p + (1 - a) * q
    e = (q - p) / xp.where(mixture == 0, 1.0, mixture)
    return Sloped(((q - p) * e).sum(axis=-1), -2 * e - a * e * e, 2 * e - (1 - a) * e * e)


def survival(statistic: float, freedom: float) -> float:
    """The chance that a chi-squared variable of that freedom exceeds `statistic`: the regularised incomplete gamma Q(f/2, s/2).

    A series below the mean, Lentz's continued fraction above it; relative error below 1e-10 up to 10,000 degrees of freedom.
    Source: Press et al., "Numerical Recipes", section 6.2.

    >>> round(survival(3.841458820694124, 1), 12)
    0.05
    """
    if math.isnan(statistic) or freedom == 0:
        return math.nan if math.isnan(statistic) else 1.0
    a, x = freedom / 2, statistic / 2
    if x <= 0 or math.isinf(x):
        return 1.0 if x <= 0 else 0.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        n = a
        while term > total * 1e-17:
            n += 1
            term *= x / n
            total += term
        return max(1 - front * total, 0.0)
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    fraction, i, change = d, 0, 0.0
    while abs(change - 1) > 1e-15:
        i += 1
        b += 2
        step = -i * (i - a)
        d = 1 / (step * d + b or tiny)
        c = b + step / c or tiny
        change = c * d
        fraction *= change
    return front * fraction
