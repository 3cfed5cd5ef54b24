from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from kernels.statistics.limiting_laws import bridge_range_survival, quantile, squared_bridge_survival, weighted_bridge_survival


def marsaglias_series(z: float) -> float:
    """Marsaglia and Marsaglia, 2004: the distribution function of Anderson and Darling's statistic in the limit."""
    total = 0.0
    for j in range(12):
        t = (4 * j + 1) ** 2 * math.pi**2 / (8 * z)
        inner = integrate.quad(
            lambda w, t=t: math.exp(z / (8 * (w * w + 1)) - t * (1 + w * w)), 0, np.inf, epsabs=1e-14, epsrel=1e-12
        )
        total += special.binom(-0.5, j) * (4 * j + 1) * inner[0]
    return total * math.sqrt(2 * math.pi) / z


@pytest.mark.parametrize("z", [0.1, 0.3, 0.7, 1.0, 2.0, 4.0])
def test_anderson_and_darlings_law_is_marsaglias_series(z: float) -> None:
    np.testing.assert_allclose(weighted_bridge_survival(np.array([z]))[0], 1 - marsaglias_series(z), rtol=1e-9, atol=1e-11)


def test_cramer_and_von_mises_law_is_the_one_that_scipy_uses() -> None:
    a, b = np.arange(200.0), np.arange(200.0) + 23
    found = stats.cramervonmises_2samp(a, b, method="asymptotic")
    mean, variance = (1 + 1 / 400) / 6, 401 * (4 * 40_000 * 400 - 6 * 40_000 - 80_000) / (45 * 400**2 * 4 * 40_000)
    x = 1 / 6 + (found.statistic - mean) / math.sqrt(45 * variance)
    np.testing.assert_allclose(squared_bridge_survival(np.array([x]))[0], found.pvalue, rtol=1e-9)


@pytest.mark.parametrize(
    ("survival", "rate", "power"),
    [(squared_bridge_survival, math.pi**2 / 2, 0.5), (weighted_bridge_survival, 1.0, 0.5)],
    ids=["Cramer and von Mises", "Anderson and Darling"],
)
def test_far_tails_fall_as_their_largest_component_does(survival: object, rate: float, power: float) -> None:
    # A sum of squared normal variables falls as the one of the largest weight, exp(-rate x) / x^power, times 1 + O(1/x).
    x = np.array([12.0, 24.0])
    first, second = survival(x)  # type: ignore[operator]
    assert second > 0
    expected = -rate * (x[1] - x[0]) - power * math.log(x[1] / x[0])
    assert abs(math.log(second / first) - expected) < 0.03


def test_kuipers_law_is_the_range_of_simulated_bridges() -> None:
    rng = np.random.default_rng(0)
    walks = np.cumsum(rng.standard_normal((4000, 2000)), axis=1) / math.sqrt(2000)
    bridges = walks - np.linspace(1 / 2000, 1, 2000) * walks[:, -1:]
    ranges = bridges.max(axis=1).clip(0) - bridges.min(axis=1).clip(None, 0)
    # A walk of 2,000 steps misses the peaks by about 0.58 of a step at either end.
    for x in (1.0, 1.3, 1.6):
        assert abs(np.mean(ranges + 2 * 0.58 / math.sqrt(2000) > x) - bridge_range_survival(np.array([x]))[0]) < 0.025


@pytest.mark.parametrize("survival", [squared_bridge_survival, weighted_bridge_survival, bridge_range_survival])
def test_a_quantile_is_exceeded_as_often_as_asked(survival: object) -> None:
    for chance in (0.5, 0.05, 1e-6):
        x = quantile(survival, chance)  # type: ignore[arg-type]
        np.testing.assert_allclose(survival(np.array([x])), [chance], rtol=1e-9)  # type: ignore[operator]


@pytest.mark.parametrize("survival", [squared_bridge_survival, weighted_bridge_survival, bridge_range_survival])
def test_laws_fall_from_1_to_0_and_nothing_stays_nothing(survival: object) -> None:
    x = np.array([0.0, 1e-6, *np.geomspace(0.01, 100, 60), 1e9])
    chances = survival(x)  # type: ignore[operator]
    assert (chances[0], chances[1], chances[-1]) == (1.0, 1.0, 0.0)
    assert np.all(np.diff(chances) <= 1e-14)
    assert np.isnan(survival(np.array([np.nan]))[0])  # type: ignore[operator]
