"""Cramer's V: how strongly the categories tell two samples apart."""

from __future__ import annotations

from kernels.arrays import Array, namespace
from kernels.statistics.chi_squared import chi_squared


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
