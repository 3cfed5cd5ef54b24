from __future__ import annotations

import numpy as np

from kernels.statistics.psi import psi


def test_without_smoothing_it_is_the_textbooks() -> None:
    p, q = np.array([[10, 40, 50]]), np.array([[30, 30, 40]])
    expected = (0.2 * np.log(3)) + (-0.1 * np.log(0.75)) + (-0.1 * np.log(0.8))
    np.testing.assert_allclose(psi(p, q, smoothing=0), [expected], rtol=1e-14)


def test_a_bin_that_emptied_is_finite_with_smoothing_and_infinite_without() -> None:
    p, q = np.array([[50, 50, 0], [50, 0, 50]]), np.array([[100, 0, 0], [50, 0, 50]])
    assert psi(p, q, smoothing=0).tolist() == [np.inf, 0.0]
    found = psi(p, q)
    assert found[1] == 0.0
    assert 2.0 < found[0] < 3.0


def test_the_same_shares_of_many_rows_have_not_moved() -> None:
    assert psi(np.array([1_000_000, 3_000_000]), np.array([2_000_000, 6_000_000])) < 1e-12


def test_no_rows_are_not_stability() -> None:
    assert np.isnan(psi(np.array([[0, 0], [1, 1]]), np.array([[1, 1], [1, 1]]))).tolist() == [True, False]


def test_bins_that_are_empty_on_both_sides_are_no_drift_between_samples_of_different_sizes() -> None:
    p, q = np.zeros(32, int), np.zeros(32, int)
    p[:2], q[:2] = 500_000, 50
    assert psi(p, q) == 0.0
