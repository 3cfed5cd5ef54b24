"""How many more values are missing."""

from __future__ import annotations

import numpy as np

from kernels.arrays import Array, host
from kernels.column_counts import ColumnCounts
from kernels.measured import Measured
from kernels.statistics import two_proportions
from kernels.statistics.placement import beside


def missing_rate(reference: ColumnCounts, current: ColumnCounts) -> Array:
    """The current's share of missing values less the reference's: [d], from -1 to 1; NaN where a side has no rows.

    >>> import numpy as np
    >>> from kernels import profile
    >>> edges, nan = np.zeros((1, 1)), np.nan
    >>> missing_rate(profile(np.array([[1.0], [3.0]]), edges), profile(np.array([[nan], [4.0]]), edges)).tolist()
    [0.5]
    """
    rows = [side.rows if side.rows else np.nan for side in (reference, current)]
    return current.missing / rows[1] - reference.missing / rows[0]


def measure(reference: ColumnCounts, current: ColumnCounts, confidence: float = 0.95) -> Measured:
    """The difference, its chance, and its interval; the effect is the difference itself, in shares of the rows.

    The p-value is `two_proportions`': exact where missing values, or present ones, are few. The interval is Newcombe's, from
    the two Wilson intervals, and right where nothing is missing too.

    >>> import numpy as np
    >>> from kernels import profile
    >>> edges = np.zeros((1, 1))
    >>> before, after = np.ones((1000, 1)), np.ones((200, 1))
    >>> after[:3] = np.nan
    >>> found = measure(profile(before, edges), profile(after, edges))
    >>> [float(x[0].round(4)) for x in (found.value, found.p_value, found.low, found.high)]
    [0.015, 0.0091, 0.0044, 0.0432]
    """
    return of_shares(reference.missing, reference.rows, current.missing, current.rows, confidence)


def of_shares(before: Array, rows_before: int, after: Array, rows_after: int, confidence: float) -> Measured:
    """The same of any [d] counts among the rows of either side."""
    a, b = host(before), host(after)
    n, m = np.full(a.shape, rows_before), np.full(b.shape, rows_after)
    value = b / (rows_after or np.nan) - a / (rows_before or np.nan)
    p_value = two_proportions.p_value(a, n, b, m)
    low, high = two_proportions.newcombe(a, n, b, m, confidence)
    return Measured(*beside(before, value, p_value, value, low, high))
