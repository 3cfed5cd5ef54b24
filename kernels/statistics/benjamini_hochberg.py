"""Benjamini-Hochberg q-values: many tests at once."""

from __future__ import annotations

from kernels.arrays import Array, namespace


def benjamini_hochberg(p_values: Array) -> Array:
    """[d] p-values to [d] q-values: calling those at or below q drifted is wrong in at most a share q of the calls, on average.

    For independent or positively dependent tests. NaN, a test that could not be made, stays NaN and does not count as a test.

    Source: Benjamini and Hochberg, "Controlling the false discovery rate", 1995.

    >>> import numpy as np
    >>> benjamini_hochberg(np.array([0.01, np.nan, 0.04, 0.03, 0.5])).round(4).tolist()
    [0.04, nan, 0.0533, 0.0533, 0.5]
    """
    xp = namespace(p_values)
    tests = int(xp.count_nonzero(p_values == p_values))
    order = xp.argsort(p_values)[:tests]  # NaN sorts last
    scaled = p_values[order] * tests / xp.arange(1, tests + 1)
    q_values = xp.full(p_values.shape, xp.nan)
    # The least of the scaled values at or after each; CuPy has no running minimum, and d is small.
    later = xp.arange(tests)[:, None] <= xp.arange(tests)
    q_values[order] = xp.where(later, scaled, 1.0).min(axis=1, initial=1.0)
    return q_values  # type: ignore[no-any-return]
