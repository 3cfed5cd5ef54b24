from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from kernels.statistics.hellinger import hellinger
from kernels.statistics.total_variation import total_variation

COUNTS = hnp.arrays(np.int64, 8, elements=st.integers(0, 10**6)).filter(np.any)


def test_its_square_is_one_less_the_affinity() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.integers(0, 9, (50, 12)) + np.eye(1, 12, dtype=int), rng.integers(0, 400, (50, 12))
    affinity = np.sqrt((p / p.sum(1, keepdims=True)) * (q / q.sum(1, keepdims=True))).sum(axis=1)
    np.testing.assert_allclose(hellinger(p, q) ** 2, 1 - affinity, rtol=1e-9)


@given(COUNTS, COUNTS)
def test_it_is_symmetric_and_encloses_the_total_variation(p: NDArray[np.int64], q: NDArray[np.int64]) -> None:
    distance, variation = hellinger(p, q), total_variation(p, q)
    assert distance == hellinger(q, p)
    assert distance**2 <= variation + 1e-12
    assert variation <= distance * np.sqrt(2) + 1e-12


def test_a_side_without_counts_has_no_distance() -> None:
    assert np.isnan(hellinger(np.array([0, 0]), np.array([1, 1])))
