from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from kernels.statistics import l_infinity, two_proportions
from kernels.statistics.l_infinity import measure

ZIPF = [1 / rank / sum(1 / other for other in range(1, 101)) for rank in range(1, 101)]


def test_it_is_the_largest_change_of_a_share() -> None:
    p, q = np.array([[10, 40, 50], [1, 0, 0]]), np.array([[30, 30, 40], [0, 5, 5]])
    np.testing.assert_allclose(l_infinity.l_infinity(p, q), [0.2, 1.0])


@pytest.mark.parametrize("moved", [1, 10, 200])
def test_two_bins_have_the_chance_that_chi_squared_gives_them(moved: int) -> None:
    p, q = np.array([500, 500]), np.array([500 - moved, 500 + moved])
    expected: NDArray[np.float64] = stats.chi2_contingency([p, q], correction=False).pvalue
    np.testing.assert_allclose(measure(p, q).p_value, expected, rtol=1e-6)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.95])
def test_two_bins_have_the_effect_that_was_seen_and_the_interval_of_two_proportions(share: float) -> None:
    """Far from no change; the lower end is the score's and the upper one Newcombe's, a thousandth apart here."""
    p, q = np.round(100_000 * np.array([share, 1 - share])), np.round(100_000 * np.array([share - 0.05, 1.05 - share]))
    found = measure(p, q)
    low, high = (-end for end in two_proportions.newcombe(p[0], p.sum(), q[0], q.sum(), 0.95))
    np.testing.assert_allclose([found.effect, found.low, found.high], [0.05, high, low], rtol=3e-3)


@pytest.mark.parametrize(
    "p", [[0.98, 0.01, 0.01], [0.5, 0.3, 0.2], [0.45, 0.45, 0.1], [0.25] * 4, ZIPF], ids=lambda p: str(len(p))
)
def test_the_chance_is_that_of_normal_bins(p: list[float]) -> None:
    """Of the largest of differences that hang together as shares do: simulated, at its quantiles from a half to a thousandth."""
    shares, rows = np.array(p), 10**8
    covariance = (np.diag(shares) - np.outer(shares, shares)) * 2 / rows
    largest = np.abs(np.random.default_rng(0).multivariate_normal(np.zeros(len(p)), covariance, 100_000)).max(axis=1)
    for chance in (0.5, 0.05, 0.001):
        distance = np.quantile(largest, 1 - chance)
        line = l_infinity._Line.through(rows * shares, rows * shares)
        found = float(line.exceeds(distance, np.zeros(())))
        assert chance * 0.9 - 1e-4 < found < chance * 1.25 + 1e-4


def test_a_far_tail_does_not_cancel() -> None:
    p, q = np.array([5000, 3000, 2000]), np.array([3500, 4500, 2000])
    (z,) = 0.15 / np.sqrt(2 * 0.425 * 0.575 / np.array([10_000]))
    assert measure(p, q).p_value == pytest.approx(2 * stats.norm.sf(z), rel=0.5)


@pytest.mark.parametrize(("n", "m"), [(1000, 300), (10**6, 2000)])
@pytest.mark.parametrize("bins", [2, 10, 200])
@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0])
def test_the_effect_and_the_lower_end_are_where_the_chance_is_what_it_should_be(shift: float, bins: int, n: int, m: int) -> None:
    rng = np.random.default_rng(bins)
    p, other = (rng.dirichlet(np.full(bins, 0.7), 40) for _ in range(2))
    q = (1 - shift) * p + shift * other
    line = l_infinity._Line.through(*(np.array([rng.multinomial(rows, one) for one in s]) for s, rows in ((p, n), (q, m))))
    chances = np.array([[0.5], [0.025]])
    found = line.where(0.5, 0.025)
    met = line.exceeds(line.value, found)
    np.testing.assert_allclose(met[found > 0], np.broadcast_to(chances, met.shape)[found > 0], atol=0.005)
    assert (met >= chances - 0.005).all()  # where it is 0, it is exceeded more often than that already
