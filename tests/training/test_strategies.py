from __future__ import annotations

import numpy as np
import pytest

from engine.strategies import Strategy, batches
from engine.strategies.cold import Cold
from engine.strategies.replay import Replay
from engine.strategies.warm import Warm

# Three past windows of 1,000 rows, the oldest first, and 1,000 fresh ones.
AGES = np.concatenate([k + 1 - np.arange(1, 1001) / 1000 for k in (3, 2, 1, 0)])


def drawn(strategy: Strategy, first: bool = False) -> np.ndarray:
    return strategy.draw(AGES, 1000, first, np.random.default_rng(0))


def per_window(order: np.ndarray) -> list[int]:
    return np.bincount(order.ravel() // 1000, minlength=4).tolist()


def test_warm_draws_fresh_rows_only_each_equally_often() -> None:
    order = drawn(Warm(epochs=4, batch=100))
    assert order.shape == (40, 100)
    assert np.bincount(order.ravel(), minlength=4000).tolist() == [0] * 3000 + [4] * 1000


def test_cold_draws_every_row_equally_often_and_takes_no_parent() -> None:
    assert not Cold.warm
    assert np.bincount(drawn(Cold(epochs=2, batch=100)).ravel()).tolist() == [2] * 4000


def test_replay_halves_a_rows_share_with_every_half_life() -> None:
    order = drawn(Replay(half_life=1, draws=15, batch=100))
    assert order.shape == (150, 100)
    np.testing.assert_allclose(per_window(order), [1000, 2000, 4000, 8000], atol=20)


def test_replay_prefers_the_end_of_a_window_to_its_beginning() -> None:
    fresh = np.bincount(drawn(Replay(half_life=1, draws=100, batch=100)).ravel(), minlength=4000)[3000:]
    assert fresh[-100:].mean() / fresh[:100].mean() == pytest.approx(2**0.9, rel=0.02)


def test_without_a_champion_rows_are_drawn_more_often() -> None:
    assert drawn(Replay(batch=50), first=True).size == 5 * drawn(Replay(batch=50)).size
    assert drawn(Warm(batch=50), first=True).size == 5 * drawn(Warm(batch=50)).size


def test_a_small_window_still_gets_its_least_steps() -> None:
    assert Replay(least_steps=32, batch=256).draw(np.zeros(3), 3, False, np.random.default_rng(0)).shape == (32, 256)


@pytest.mark.parametrize("strategy", [kind(most_steps=40, batch=10) for kind in (Replay, Warm, Cold)])
def test_however_many_rows_there_are_a_fit_ends_after_its_most_steps(strategy: Strategy) -> None:
    assert drawn(strategy).shape == (40, 10)


def test_the_same_seed_draws_the_same_rows() -> None:
    assert np.array_equal(drawn(Replay()), drawn(Replay()))


def test_rows_of_no_weight_never_come_up() -> None:
    order = batches(np.array([0.0, 1.0, 0.0]), 100, 10, 1, np.random.default_rng(0))
    assert set(order.ravel()) == {1}
