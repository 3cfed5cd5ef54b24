from __future__ import annotations

import itertools

import numpy as np
import pytest

from kernels.statistics import lost_category_rate, new_category_rate


def test_new_and_lost_are_each_others_mirror() -> None:
    before, after = np.array([[90, 6, 4, 0]]), np.array([[45, 0, 0, 5]])
    new, lost = new_category_rate.measure(before, after), lost_category_rate.measure(before, after)
    assert (new.value[0], lost.value[0]) == (0.1, 0.1)
    assert lost.p_value == new_category_rate.measure(after, before).p_value
    assert new.low[0] < 0.1 < new.high[0]


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1, 1, 1), (3, 2, 1, 1, 1), (4, 4, 1, 1)])
def test_the_chance_bounds_that_of_every_deal_of_the_rows(sizes: tuple[int, ...]) -> None:
    """All ways to give 4 of the rows to the current, counted out."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    deals = [np.bincount(labels[list(deal)], minlength=len(sizes)) for deal in itertools.combinations(range(len(labels)), 4)]
    current = np.array(deals)
    reference = np.array(sizes) - current
    news = np.where(reference == 0, current, 0).sum(axis=1)
    bounds = new_category_rate.measure(reference, current).p_value
    for news_seen, bound in zip(news, bounds, strict=True):
        assert bound >= np.mean(news >= news_seen) - 1e-9


def test_many_rare_categories_are_new_without_alarm() -> None:
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, 3001)
    weights /= weights.sum()
    found = new_category_rate.measure(rng.multinomial(2000, weights, 100), rng.multinomial(500, weights, 100))
    assert found.value.mean() > 0.05  # one row in twenty is new though nothing changed
    assert np.mean(found.p_value < 0.05) <= 0.05


def test_a_category_that_was_not_there_is_an_alarm_once_it_has_rows() -> None:
    before = np.array([[600, 400, 0]] * 3)
    chances = new_category_rate.measure(before, np.array([[600, 400, 0], [600, 399, 1], [550, 400, 50]])).p_value
    assert chances[0] == 1.0
    assert chances[1] > 0.1
    assert chances[2] < 1e-10


def test_no_rows_say_nothing_and_no_categories_neither() -> None:
    found = new_category_rate.measure(np.array([[0, 0], [3, 0]]), np.array([[1, 1], [0, 0]]))
    assert np.isnan([found.value, found.p_value, found.low, found.high]).all()
    assert np.isnan(new_category_rate.measure(np.zeros((1, 0), int), np.zeros((1, 0), int)).p_value).all()


def test_the_interval_covers_the_populations_rate_given_the_references_categories() -> None:
    rng = np.random.default_rng(1)
    reference = np.tile([500, 300, 0, 0], (1000, 1))
    found = new_category_rate.measure(reference, rng.multinomial(400, [0.5, 0.45, 0.03, 0.02], 1000))
    assert 0.94 <= np.mean((found.low <= 0.05) & (found.high >= 0.05)) <= 0.99
