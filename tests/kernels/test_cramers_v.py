from __future__ import annotations

import numpy as np
from scipy.stats.contingency import association

from kernels.statistics.cramers_v import cramers_v, measure


def test_it_is_scipys() -> None:
    rng = np.random.default_rng(0)
    reference, current = rng.integers(1, 90, (20, 7)), rng.integers(1, 60, (20, 7))
    expected = [association(np.stack(rows), method="cramer") for rows in zip(reference, current, strict=True)]
    np.testing.assert_allclose(cramers_v(reference, current), expected, rtol=1e-9)


def test_it_does_not_grow_with_the_rows() -> None:
    p, q = np.array([30, 70]), np.array([50, 50])
    np.testing.assert_allclose(cramers_v(1000 * p, 1000 * q), cramers_v(p, q))


def test_a_side_without_counts_has_no_effect_size() -> None:
    assert np.isnan(cramers_v(np.array([0, 0]), np.array([1, 1])))
    assert np.isnan(cramers_v(np.array([0, 0]), np.array([0, 0])))


def test_the_effect_is_bergsmas() -> None:
    reference, current = np.array([20, 30, 50]), np.array([40, 30, 30])
    n, v = 200, cramers_v(reference, current)
    squared, columns, rows = v**2 - 2 / (n - 1), 3 - 4 / (n - 1), 2 - 1 / (n - 1)
    np.testing.assert_allclose(measure(reference, current).effect, np.sqrt(squared / min(columns - 1, rows - 1)), rtol=1e-12)
