"""Scorecards and the gate: the challenger must beat the champion by more than chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import evaluate
from engine.gate import Gate, Served, no_better


def errors(seed: int, rows: int, champion: float, challenger: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.normal(0, 30, rows)
    return truth, truth + random.normal(0, challenger, rows), truth + random.normal(0, champion, rows)


def test_metrics_have_their_textbook_values() -> None:
    found = evaluate.score(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 2.0]))
    assert found.rows == 3
    assert found.metrics["rmse"] == pytest.approx((5 / 3) ** 0.5)
    assert found.metrics["mae"] == 1.0


def test_a_clearly_better_challenger_passes_and_a_tie_does_not() -> None:
    better = evaluate.compare("rmse", *errors(0, 1200, champion=11, challenger=9), champion_version=4)
    assert Gate().judge(better).passed
    assert better.low is not None
    assert 0.1 < better.low < better.gain < 0.35  # type: ignore[operator]
    same = evaluate.compare("rmse", *errors(0, 1200, champion=10, challenger=10.0), champion_version=4)
    assert not Gate().judge(same).passed


def test_the_verdict_says_the_number_and_the_limit() -> None:
    card = evaluate.compare("rmse", *errors(1, 400, champion=8, challenger=10), champion_version=4)
    verdict = Gate(margin=0.01).judge(card)
    assert not verdict.passed
    assert "does not beat version 4's" in verdict.reason
    assert "+1.0% needed" in verdict.reason


def test_too_few_rows_decide_nothing() -> None:
    card = evaluate.compare("rmse", *errors(0, 150, champion=11, challenger=5), champion_version=4)
    assert Gate(min_rows=200).judge(card).reason == "judged on 150 rows, 200 needed (`gate.min_rows`)"


def test_a_challenger_that_answers_nan_is_rejected_first_or_later() -> None:
    truth, challenger, champion = errors(0, 400, 10, 5)
    challenger[7] = np.nan
    assert not Gate().judge(evaluate.compare("rmse", truth, challenger, champion, 1)).passed
    assert not Gate().judge(evaluate.compare("rmse", truth, challenger, None)).passed


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), rows=st.integers(2, 700))
def test_the_bound_is_deterministic_and_never_above_the_best_resample(seed: int, rows: int) -> None:
    arguments = ("rmse", *errors(seed, rows, 10, 9.5))
    one, two = evaluate.compare(*arguments, seed=3), evaluate.compare(*arguments, seed=3)
    assert one == two


def test_the_bound_keeps_its_confidence() -> None:
    """Of 300 challengers that are exactly as good as the champion, about a tenth pass a bound of 90%."""
    passed = sum(
        evaluate.compare("rmse", *errors(seed, 400, 10, 10), resamples=300, seed=seed).low >= 0  # type: ignore[operator]
        for seed in range(300)
    )
    assert 12 <= passed <= 52


@pytest.mark.parametrize(
    ("served", "rule"),
    [
        (Served(1e-2, 0, 0, 1.0), "parity"),
        (Served(1e-7, 0, 2, 1.0), "parity"),
        (Served(1e-7, 3, 0, 1.0), "finite"),
        (Served(1e-7, 0, 0, 2.0), "latency"),
        (Served(float("inf"), 0, 0, None, "no such model"), "load"),
    ],
)
def test_each_fault_of_a_staged_version_fails_its_own_rule(served: Served, rule: str) -> None:
    verdict = Gate().verify(served)
    assert [r.name for r in verdict.rules if not r.passed] == [rule]


def test_a_first_version_has_no_latency_to_compare_with() -> None:
    assert Gate().verify(Served(1e-7, 0, 0, None)).passed


def test_a_first_model_that_learnt_nothing_is_told_so_by_the_gates_metric_and_by_accuracy() -> None:
    truth = np.array([0.0] * 90 + [1.0] * 10)
    for said, words in (
        (np.where(truth == 1, 0.9, 0.1), ""),
        (
            np.where(truth == 1, 0.4, 0.05),  # it tells them apart, and says yes to nobody
            "no better than always answering the most frequent class (accuracy 0.9 against 0.9)",
        ),
        (
            np.full(100, 0.3),
            "no better than always answering each class's share (log_loss 0.4414 against 0.3251) "
            "or the most frequent class (accuracy 0.9 against 0.9)",
        ),
    ):
        card = evaluate.compare("log_loss", truth, said, None, task="binary")
        assert no_better(card) == ""
        assert no_better(replace(card, constant=evaluate.constant(truth, truth, "binary", 2))) == words


def test_the_constant_answer_is_the_mean_or_the_shares_of_what_came_before() -> None:
    before, truth = np.array([1.0, 3.0]), np.array([2.0, 4.0])
    assert evaluate.constant(before, truth, "regression", 0).metrics["rmse"] == pytest.approx(np.sqrt(2))
    several = evaluate.constant(np.array([0.0, 2.0, 2.0, 1.0]), np.array([2.0, 0.0]), "multiclass", 3)
    assert several.metrics["log_loss"] == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert several.metrics["accuracy"] == 0.5
