"""Detectors over time: seeded numbers in, the very alarms out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.alarms.overtime import ADWIN, CUSUM, KSWIN, Detector, PageHinkley, alarm

DETECTORS: tuple[Detector, ...] = (CUSUM(), PageHinkley(), ADWIN())
every = pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: type(detector).__name__)


def metric(shift: float, seed: int = 0, before: int = 60, after: int = 40) -> list[float]:
    """An RMSE around 10 that rises by so many of its standard deviations."""
    random = np.random.default_rng(seed)
    return [*random.normal(10, 0.3, before), *random.normal(10 + 0.3 * shift, 0.3, after)]


@every
def test_an_unchanged_metric_is_left_alone(detector: Detector) -> None:
    assert detector.alarms(metric(0)) == ()


@every
@pytest.mark.parametrize("shift", [3, -3])
def test_a_shift_of_three_deviations_is_found_soon_after_it_came(detector: Detector, shift: float) -> None:
    found = alarm(detector, metric(shift))
    assert found is not None
    assert 60 <= found < 75


@every
def test_the_past_does_not_depend_on_what_comes_later(detector: Detector) -> None:
    values = metric(3)
    whole = detector.alarms(values)
    for end in (10, 61, 70, 99):
        assert detector.alarms(values[:end]) == tuple(place for place in whole if place < end)


@every
def test_the_unit_of_the_metric_does_not_matter(detector: Detector) -> None:
    values = metric(3)
    assert detector.alarms([1e6 * value - 5 for value in values]) == detector.alarms(values)


@every
def test_windows_without_a_number_are_passed_over(detector: Detector) -> None:
    values = metric(3)
    gaps = [number for value in values for number in (value, math.nan)]
    assert detector.alarms(gaps) == tuple(2 * place for place in detector.alarms(values))


@every
def test_a_constant_metric_that_moves_alarms_and_before_does_not(detector: Detector) -> None:
    found = alarm(detector, [0.5] * 60 + [0.6] * 30)
    assert found is not None
    assert found >= 60
    assert detector.alarms([0.5] * 90) == ()


@every
def test_too_few_numbers_say_nothing(detector: Detector) -> None:
    for values in ([], [1.0], [1.0, 100.0], [math.nan] * 50):
        assert detector.alarms(values) == ()


def test_cusum_with_a_given_target_is_the_textbooks_tabular_one() -> None:
    # Montgomery, table 9.1: 20 numbers around 10, then 10 around 11; target 10, deviation 1, slack 0.5, limit 5: period 29.
    values = "9.45 7.99 9.29 11.66 12.16 10.18 8.04 11.46 9.20 10.34 9.03 11.47 10.51 9.40 10.08 9.37 10.62 10.31 8.52 10.84 "
    values += "10.90 9.33 12.29 11.50 10.60 11.08 10.38 11.62 11.31 10.52"
    numbers = [float(value) for value in values.split()]
    assert CUSUM(limit=5, known=(10, 1)).alarms(numbers) == (28,)


def test_cusum_learns_anew_after_an_alarm() -> None:
    random = np.random.default_rng(1)
    values = [*random.normal(0, 1, 60), *random.normal(5, 1, 60), *random.normal(0, 1, 20)]
    first, second = CUSUM().alarms(values)
    assert (60 <= first < 64, 120 <= second < 124) == (True, True)


def test_kswin_finds_numbers_that_draw_together_around_the_same_mean() -> None:
    random = np.random.default_rng(0)
    values = [*random.normal(0, 1, 100), *random.normal(0, 0.05, 40)]
    assert KSWIN(alpha=0.005).alarms(values[:100]) == ()
    found = alarm(KSWIN(alpha=0.005), values)
    assert found is not None
    assert 110 <= found < 140
    assert KSWIN(alpha=0.005).alarms(values)[0] == found


def test_adwin_takes_an_accuracy_as_it_is() -> None:
    random = np.random.default_rng(2)
    values = [*random.normal(0.9, 0.01, 100), *random.normal(0.5, 0.01, 100)]
    found = alarm(ADWIN(learn=0), values)
    assert found is not None
    assert 100 <= found < 140


def test_false_alarms_in_ten_thousand_normal_numbers_are_few_and_adwin_has_none() -> None:
    values = np.random.default_rng(3).normal(size=10_000).tolist()
    assert ADWIN().alarms(values) == ()
    assert len(CUSUM(known=(0, 1)).alarms(values)) == 5
    assert len(CUSUM().alarms(values[:3000])) <= 1
    assert len(PageHinkley().alarms(values)) <= 20


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=80))
def test_alarms_ascend_and_lie_on_numbers(values: list[float]) -> None:
    for detector in DETECTORS:
        found = detector.alarms(values)
        assert list(found) == sorted(set(found))
        assert not any(math.isnan(values[place]) for place in found)
