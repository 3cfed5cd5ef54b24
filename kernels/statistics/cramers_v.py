"""Cramer's V: how strongly the categories tell two samples apart."""

from __future__ import annotations

from kernels.arrays import Array, namespace
from kernels.measured import Measured
from kernels.statistics.chi_squared import chi_squared, pearson, per_row


def cramers_v(reference: Array, current: Array) -> Array:
    """The effect size of `chi_squared` without pooling: sqrt(chi-squared / rows), the table having two rows. [..., k] to [...].

    0 for equal shares, 1 where no category occurs on both sides; unlike the p-value it does not grow with the rows.
    NaN where a side has no counts.

    Source: Cramer, "Mathematical Methods of Statistics", 1946.

    >>> import numpy as np
    >>> cramers_v(np.array([[50, 50], [9, 0]]), np.array([[30, 70], [0, 4]])).round(4).tolist()
    [0.2041, 1.0]
    """
    xp = namespace(reference)
    rows = reference.sum(axis=-1) + current.sum(axis=-1)
    return xp.sqrt(chi_squared(reference, current, least_expected=0).statistic / xp.maximum(rows, 1))  # type: ignore[no-any-return]


def measure(reference: Array, current: Array, confidence: float = 0.95) -> Measured:
    """Cramer's V, its chance, and its size: effect is Bergsma's bias-corrected V, low and high limit the populations' V.

    V depends on how the rows divide between the two sides, so compare windows of about one size with one reference. The
    interval is chi-squared's noncentral one, see `divergence_interval`; the p-value is `chi_squared.measure`'s.

    Source: Bergsma, "A bias-correction for Cramer's V and Tschuprow's T", 2013.

    >>> import numpy as np
    >>> found = measure(np.array([50, 50]), np.array([30, 70]))
    >>> [float(x.round(4)) for x in (found.value, found.effect, found.low, found.high)]
    [0.2041, 0.1919, 0.0655, 0.3427]
    """
    xp = namespace(reference)
    value = cramers_v(reference, current)
    found = per_row(pearson, value, reference, current, confidence)
    rows = (reference.sum(axis=-1) + current.sum(axis=-1)).astype(xp.float64)
    fewer = xp.maximum(rows - 1, 1.0)
    categories = ((reference > 0) | (current > 0)).sum(axis=-1)
    # Both the table's freedom and its smaller side, less what chance fills of them; the smaller side is the two rows.
    squared = xp.maximum(value**2 - xp.maximum(categories - 1, 0) / fewer, 0.0)
    least = xp.minimum(categories - xp.maximum(categories - 1, 0) ** 2 / fewer, 2 - 1 / fewer) - 1
    effect = xp.minimum(xp.sqrt(squared / xp.where(least > 0, least, 1.0)), 1.0)
    return Measured(value, found.p_value, effect, xp.minimum(found.low, effect), xp.maximum(found.high, effect))
