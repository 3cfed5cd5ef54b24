from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from kernels.statistics import sliced_wasserstein as sliced


def table(n: int, d: int, seed: int) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal((n, d))


def test_it_is_the_mean_of_scipys_distances() -> None:
    x, y = table(50, 4, 0), table(71, 4, 1).round(1)
    towards = sliced.directions(4, 9, seed=3)
    expected = np.mean([stats.wasserstein_distance(x @ w, y @ w) for w in towards.T])
    np.testing.assert_allclose(sliced.sliced_wasserstein(x, y, towards), expected, rtol=1e-12)


def test_every_permutation_is_the_distance_of_its_labels() -> None:
    x, y = table(30, 3, 0), table(20, 3, 1)
    both, rng, towards = np.concatenate([x, y]), np.random.default_rng(5), sliced.directions(3, 4, seed=0)
    labels = np.stack([rng.permutation(np.repeat([True, False], [30, 20])) for _ in range(6)], axis=1)
    found = sliced._distances(x, y, towards, labels, np.ones(4))[0]
    expected = [sliced.sliced_wasserstein(both[label], both[~label], towards) for label in labels.T]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_without_a_change_p_values_are_uniform_and_with_one_they_are_small() -> None:
    null = [sliced.measure(table(40, 3, s), table(60, 3, 1000 + s), seed=s) for s in range(200)]
    p = np.sort([float(found.p_value) for found in null])
    assert np.abs(p - np.arange(1, 201) / 200).max() < 0.115  # Kolmogorov's 1% point
    assert np.mean([found.low == 0 for found in null]) > 0.93
    changed = [sliced.measure(table(100, 3, s), table(100, 3, 500 + s) + 0.5, seed=s) for s in range(20)]
    assert max(float(found.p_value) for found in changed) < 0.03


def test_the_interval_covers_the_distance_of_the_populations() -> None:
    """Between N(0, I) and N(δ, I) it is |δ·w| along w."""
    delta = np.array([0.4, 0.0, -0.3])
    true = np.abs(delta @ sliced.directions(3, sliced.DIRECTIONS, seed=0)).mean()
    found = [sliced.measure(table(300, 3, s), table(300, 3, 900 + s) + delta, permutations=20, scaled=False) for s in range(100)]
    assert sum(f.low <= true <= f.high for f in found) >= 90
    np.testing.assert_allclose(np.mean([f.effect for f in found]), true, rtol=0.08)


def test_the_number_of_rows_does_not_move_the_effect() -> None:
    few, many = (sliced.measure(table(n, 5, 0), table(n, 5, 1) + 0.3, rows=None, permutations=20).effect for n in (500, 20_000))
    assert abs(few - many) < 0.08


def test_groups_of_permutations_are_as_good_as_all_at_once(monkeypatch: Any) -> None:
    x, y = table(60, 2, 0), table(50, 2, 1)
    whole = sliced.measure(x, y)
    monkeypatch.setattr(sliced, "CELLS", 110 * 7)
    again = sliced.measure(x, y)
    np.testing.assert_allclose([whole.value, whole.p_value, whole.low], [again.value, again.p_value, again.low])


def test_what_cannot_be_seen_is_not_stable() -> None:
    x = table(20, 3, 0)
    for nothing in (x[:0], x[:1], np.full((20, 3), np.nan)):
        found = sliced.measure(x, nothing)
        assert np.isnan([found.value, found.p_value, found.effect, found.low, found.high]).all()
    constant = sliced.measure(np.full((20, 2), 7.0), np.full((30, 2), 7.0))
    assert (constant.value, constant.effect, constant.p_value) == (0.0, 0.0, 1.0)


def test_one_column_and_more_columns_than_rows_are_measured_too() -> None:
    assert sliced.measure(table(100, 1, 0), table(100, 1, 1) + 1).p_value < 0.02
    assert sliced.measure(table(20, 90, 0), table(20, 90, 1) * 3).p_value < 0.02
