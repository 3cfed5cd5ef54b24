"""Bonferroni's correction: many tests at once, none of them wrong."""

from __future__ import annotations

from kernels.arrays import Array, namespace


def bonferroni(p_values: Array) -> Array:
    """[d] p-values times the number of tests: calling those at or below a drifted is wrong even once with a chance of at most a.

    However the tests depend on each other. Stricter than `benjamini_hochberg`, which bounds the share of wrong calls instead.
    NaN, a test that could not be made, stays NaN and does not count as a test.

    Source: Dunn, "Multiple comparisons among means", 1961.

    >>> import numpy as np
    >>> bonferroni(np.array([0.01, np.nan, 0.04, 0.5])).round(4).tolist()
    [0.03, nan, 0.12, 1.0]
    """
    xp = namespace(p_values)
    return xp.minimum(p_values * int(xp.count_nonzero(p_values == p_values)), 1.0)  # type: ignore[no-any-return]
