"""Limits learnt from quiet windows: where they lie, and what they are not taught by."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.alarms.quiet import QuietLimits
from engine.nouns import ColumnDrift, DriftReport

LEARN = QuietLimits()


def report(name: str = "psi", drifted: bool = False, **effects: float) -> DriftReport:
    columns = tuple(ColumnDrift(c, "number", {name: e}, 0.5, 0.5, name, e, 0.2, drifted) for c, e in effects.items())
    return DriftReport("w", 1, 100, 100, columns)


def test_below_twenty_quiet_windows_the_floor_is_the_limit() -> None:
    assert LEARN.limit([0.3] * 19, floor=0.2) == 0.2
    assert LEARN.limit([0.3] * 20, floor=0.2) == pytest.approx(0.36)  # 1.2 times what was seen, as there is no tail


def test_of_a_thousand_quiet_windows_to_come_about_one_is_over_the_limit_before_slack() -> None:
    random = np.random.default_rng(0)
    rule = QuietLimits(slack=1.0, ceiling=math.inf)
    # The effects of an unchanged column over 32 bins are chi-squared with 31 degrees of freedom, in some unit.
    over = []
    for _ in range(300):
        limit = rule.limit((random.chisquare(31, 200) / 1000).tolist(), floor=0.0)
        over.append(np.mean(random.chisquare(31, 2000) / 1000 > limit))
    assert 0.0002 < np.mean(over) < 0.002


def test_a_column_that_breathes_gets_a_higher_limit_than_one_that_does_not() -> None:
    days = [report(steady=0.02 + 0.001 * (d % 3), weekly=0.35 if d % 7 == 0 else 0.05) for d in range(60)]
    # A window in which a column was over the fixed limit is no quiet one unless nothing was called drifted.
    limits = LEARN.limits(days, {"steady": 0.2, "weekly": 0.2})
    assert limits["steady"] == 0.2
    assert 0.35 < limits["weekly"] <= 0.6


def test_windows_that_drifted_teach_nothing() -> None:
    quiet = [report(a=0.1) for _ in range(30)]
    loud = [report(a=5.0, drifted=True) for _ in range(30)]
    assert LEARN.limits(quiet + loud, {"a": 0.01}) == LEARN.limits(quiet, {"a": 0.01})


def test_an_effect_of_another_name_teaches_nothing() -> None:
    assert LEARN.limits([report("ks", a=0.9)] * 30 + [report("psi", a=0.1)] * 19, {"a": 0.2}) == {"a": 0.2}


def test_a_slow_rise_lifts_the_limit_no_higher_than_the_ceiling() -> None:
    assert LEARN.limit(list(np.linspace(0.1, 50, 400)), floor=0.2) == pytest.approx(0.6)


def test_a_column_without_past_has_its_floor() -> None:
    assert LEARN.limits([], {"a": 0.1}) == {"a": 0.1}
    assert LEARN.limits([report(b=1.0)] * 40, {"a": 0.1}) == {"a": 0.1}


@given(st.lists(st.floats(0, 10) | st.just(math.nan) | st.just(math.inf), max_size=60), st.floats(0.01, 1))
def test_a_limit_is_a_number_between_floor_and_ceiling(effects: list[float], floor: float) -> None:
    limit = LEARN.limit(effects, floor)
    assert floor <= limit <= LEARN.ceiling * floor
    assert limit == LEARN.limit(list(effects), floor)
