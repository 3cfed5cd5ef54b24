"""What is known of two samples of any one distribution: every deal of the rows onto the sides is as likely."""

from __future__ import annotations

import numpy as np

from kernels.arrays import Array


def log_all_current(j: Array, m: Array, n: Array) -> Array:
    """The log of the chance that j given rows of n + m all lie among the current's m: C(n+m-j, n) / C(n+m, n). Host arrays.

    >>> float(np.exp(log_all_current(np.array(2), np.array(3), np.array(2))).round(12))
    0.3
    """
    from scipy.special import betaln

    possible = j <= m
    j = np.where(possible, j, 0.0)
    log: Array = np.log1p(n + m) - np.log1p(n + m - j) + betaln(m + 1, n + 1) - betaln(m - j + 1, n + 1)
    return np.where(possible, np.minimum(log, 0.0), -np.inf)
