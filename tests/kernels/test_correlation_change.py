from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.statistics.correlation_change import correlation_change, measure


def table(n: int, seed: int, rho: float = 0.0, d: int = 4) -> NDArray[Any]:
    """Normal columns, the first two correlated."""
    x = np.random.default_rng(seed).standard_normal((n, d))
    x[:, 1] = rho * x[:, 0] + (1 - rho**2) ** 0.5 * x[:, 1]
    return x


def test_it_is_numpys_correlations_subtracted() -> None:
    x, y = table(50, 0, 0.5) * [1, 1e6, 1e-6, 1] + 1e4, table(70, 1)
    change = (np.corrcoef(y.T) - np.corrcoef(x.T))[np.triu_indices(4, 1)]
    expected = [np.abs(change).max(), np.sqrt((change**2).mean())]
    np.testing.assert_allclose(correlation_change(x, y), expected, rtol=1e-9)
    np.testing.assert_allclose(measure(x, y).value, expected[0], rtol=1e-9)


@pytest.mark.parametrize("heavy", [False, True])
def test_without_a_change_alarms_are_as_rare_as_they_should_be(heavy: bool) -> None:
    def drawn(n: int, seed: int) -> NDArray[Any]:
        """Heavy: t with 5 degrees of freedom in all directions, whose correlations vary more than normal columns' do."""
        chi = np.random.default_rng(seed).chisquare(5, (n, 1)) / 5 if heavy else 1.0
        return table(n, seed, 0.4) / np.sqrt(chi)

    found = [measure(drawn(300, s), drawn(200, 5000 + s), seed=s) for s in range(300)]
    assert np.mean([f.p_value <= 0.05 for f in found]) < 0.075
    assert np.mean([f.p_value <= 0.5 for f in found]) > 0.2  # and yet not so rare that nothing is ever seen
    assert np.mean([f.low == 0 for f in found]) > 0.95


def test_a_change_is_seen_and_its_size_covered() -> None:
    """One of 6 pairs goes from 0 to 0.5, or none of the columns' own distributions changes at all."""
    found = [measure(table(400, s), table(300, 900 + s, 0.5), seed=s) for s in range(100)]
    assert max(float(f.p_value) for f in found) < 1e-3
    true = 0.5 / 6**0.5
    assert np.mean([f.low <= true <= f.high for f in found]) >= 0.9
    assert abs(np.mean([float(f.effect) for f in found]) / true - 1) < 0.05


def test_edge_cases_have_an_answer() -> None:
    x = table(40, 0)
    constant = np.full((40, 4), 7.0)
    for one, other in ((x, x[:0]), (x[:3], x), (x[:, :1], x[:, :1]), (x, constant), (x, np.full((9, 4), np.nan))):
        found = measure(one, other)
        assert np.isnan([found.value, found.p_value, found.effect, found.low, found.high]).all()
    assert np.isnan(correlation_change(x, constant)).all()
    same = measure(np.repeat(x[:, :1], 2, axis=1), np.repeat(x[:, 1:2], 2, axis=1))
    assert same.value < 1e-9
    assert same.p_value == 1.0
    assert measure(np.repeat(x[:, :1], 2, axis=1), x[:, :2]).p_value < 1e-6
    wide = measure(np.random.default_rng(0).standard_normal((20, 90)), np.random.default_rng(1).standard_normal((20, 90)))
    assert wide.low == 0.0


def test_a_few_gaps_do_not_matter() -> None:
    x, y = table(2000, 0, 0.3), table(2000, 1, 0.3)
    x[::50, 0], y[::50, 0], y[7] = np.nan, np.inf, np.nan
    assert measure(x, y).p_value > 0.05
