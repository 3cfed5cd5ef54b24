"""How many more values are infinite."""

from __future__ import annotations

from kernels.column_counts import ColumnCounts
from kernels.measured import Measured
from kernels.statistics.missing_rate import of_shares


def measure(reference: ColumnCounts, current: ColumnCounts, confidence: float = 0.95) -> Measured:
    """The difference of the shares of -inf and +inf among the rows, its chance, and its interval; as of `missing_rate`.

    >>> import numpy as np
    >>> from kernels import profile
    >>> edges = np.zeros((1, 1))
    >>> before, after = np.ones((1000, 1)), np.ones((200, 1))
    >>> after[:3] = -np.inf
    >>> found = measure(profile(before, edges), profile(after, edges))
    >>> [float(x[0].round(4)) for x in (found.value, found.p_value, found.low, found.high)]
    [0.015, 0.0091, 0.0044, 0.0432]
    """
    return of_shares(reference.infinite, reference.rows, current.infinite, current.rows, confidence)
