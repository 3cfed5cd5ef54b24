"""Cohen's d: the standardised mean difference."""

from __future__ import annotations

from kernels.arrays import Array, namespace
from kernels.column_counts import ColumnCounts


def cohens_d(reference: ColumnCounts, current: ColumnCounts) -> Array:
    """The current mean less the reference's, in pooled standard deviations: [d], positive where the column rose.

    Over the finite values, from moments alone. The pooled variance is the unbiased one, (m2 + m2') / (n + n' - 2). By custom 0.2
    is small, 0.5 medium, 0.8 large. Infinite where both sides are constant and differ, 0 where they are equal, NaN where a side
    has no values, or where there are not three in all. Its interval is that of `welch_t.measure`, whose effect is this, debiased.

    Source: Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988.

    >>> import numpy as np
    >>> from kernels import profile
    >>> edges = np.zeros((1, 1))
    >>> low, high = profile(np.array([[1.0], [3.0]]), edges), profile(np.array([[2.0], [4.0]]), edges)
    >>> cohens_d(low, high).round(4).tolist()
    [0.7071]
    """
    xp = namespace(reference.mean)
    freedom = reference.finite + current.finite - 2
    enough = (reference.finite > 0) & (current.finite > 0) & (freedom > 0)
    deviation = xp.sqrt((reference.m2 + current.m2) / xp.maximum(freedom, 1))
    difference = xp.where(enough, current.mean - reference.mean, xp.nan)
    constant = deviation == 0
    d = difference / xp.where(constant, 1.0, deviation)
    return xp.where(constant & (difference != 0) & enough, xp.copysign(xp.inf, difference), d)  # type: ignore[no-any-return]
