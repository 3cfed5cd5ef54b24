"""Chi-squared test of homogeneity: do two samples have the same shares of categories?"""

from __future__ import annotations

import math
from typing import NamedTuple

from kernels.arrays import Array, namespace


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
    table = xp.stack([reference, current], axis=-2).astype(xp.float64)  # [..., 2, k]
    rare = (_expected(table).min(axis=-2, keepdims=True) < least_expected) & (least_expected > 0)
    pooled = xp.where(rare, table, 0.0).sum(axis=-1, keepdims=True)
    table = xp.concatenate([xp.where(rare, 0.0, table), pooled], axis=-1)

    expected = _expected(table)
    present = expected[..., 0, :] > 0
    statistic = ((table - expected) ** 2 / xp.where(expected > 0, expected, 1.0)).sum(axis=(-2, -1))
    freedom = xp.maximum(present.sum(axis=-1) - 1, 0).astype(xp.float64)
    empty = (table.sum(axis=-1) == 0).any(axis=-1)
    statistic = xp.where(empty, xp.nan, statistic)
    tails = [survival(s, f) for s, f in zip(statistic.ravel().tolist(), freedom.ravel().tolist(), strict=True)]
    return ChiSquared(statistic, freedom, xp.asarray(tails, dtype=xp.float64).reshape(statistic.shape))


def _expected(table: Array) -> Array:
    xp = namespace(table)
    rows, categories = table.sum(axis=-1, keepdims=True), table.sum(axis=-2, keepdims=True)
    return rows * categories / xp.maximum(rows.sum(axis=-2, keepdims=True), 1.0)  # type: ignore[no-any-return]


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
