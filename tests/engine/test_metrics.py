"""Metrics have their textbook values, and each of them can judge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as textbook
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from engine import evaluate, metrics
from engine.gate import Gate, amount
from engine.nouns import DriftReport, LiveScore, Score
from engine.triggers import Degradation, Evidence

ROWS = 700
ALL = [(task, name) for task, names in metrics.NAMES.items() for name in names]


def regression(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.normal(50, 10, ROWS)
    return truth, truth + random.normal(0, 4, ROWS)


def classes(count: int, skill: float = 1.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth, and probabilities that know it the better the higher `skill` is; some are equal, as with few distinct rows."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, count, ROWS)
    raw = random.normal(0, 1, (ROWS, count)).round(1)
    raw[np.arange(ROWS), truth] += skill
    chances = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    return truth.astype(float), chances[:, 1] if count == 2 else chances


def answers(task: str, skill: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    if task == "regression":
        truth, said = regression()
        return truth, truth + (said - truth) / skill + np.random.default_rng(round(skill * 10)).normal(0, 0.1, ROWS)
    return classes(2 if task == "binary" else 4, skill)


def test_regression_metrics_are_the_textbooks() -> None:
    truth, said = regression()
    assert evaluate.score(truth, said).metrics == pytest.approx(
        {
            "rmse": textbook.root_mean_squared_error(truth, said),
            "mae": textbook.mean_absolute_error(truth, said),
            "r2": textbook.r2_score(truth, said),
        }
    )


def test_binary_metrics_are_the_textbooks() -> None:
    truth, chance = classes(2)
    said = chance > 0.5
    assert evaluate.score(truth, chance, "binary").metrics == pytest.approx(
        {
            "log_loss": textbook.log_loss(truth, chance),
            "accuracy": textbook.accuracy_score(truth, said),
            "precision": textbook.precision_score(truth, said),
            "recall": textbook.recall_score(truth, said),
            "f1": textbook.f1_score(truth, said),
            "auroc": textbook.roc_auc_score(truth, chance),
            "ece": float(binary_calibration_error(torch.tensor(chance), torch.tensor(truth).long())),
        },
        abs=1e-6,
    )


def test_multiclass_metrics_are_the_textbooks() -> None:
    truth, chances = classes(4)
    said = chances.argmax(axis=1)
    ece = multiclass_calibration_error(torch.tensor(chances), torch.tensor(truth).long(), num_classes=4)
    assert evaluate.score(truth, chances, "multiclass").metrics == pytest.approx(
        {
            "log_loss": textbook.log_loss(truth, chances),
            "accuracy": textbook.accuracy_score(truth, said),
            "precision": textbook.precision_score(truth, said, average="macro"),
            "recall": textbook.recall_score(truth, said, average="macro"),
            "f1": textbook.f1_score(truth, said, average="macro"),
            "auroc": textbook.roc_auc_score(truth, chances, multi_class="ovr"),
            "ece": float(ece),
        },
        abs=1e-6,
    )


def test_a_class_that_is_not_there_leaves_the_others_their_metrics() -> None:
    truth, chances = classes(4)
    kept = truth < 3
    found = evaluate.score(truth[kept], chances[kept], "multiclass").metrics
    assert 0.7 < found["auroc"] < 1
    assert found["recall"] == pytest.approx(
        textbook.recall_score(truth[kept], chances[kept].argmax(axis=1), average="macro", zero_division=0)
    )


def test_auroc_of_one_class_alone_has_no_meaning_and_passes_no_gate() -> None:
    truth, chance = classes(2)
    only = evaluate.compare("auroc", np.ones(ROWS), chance, chance, 1, task="binary")
    assert np.isnan(only.challenger.metrics["auroc"])
    assert not Gate().judge(only).passed
    assert np.isfinite(evaluate.score(np.ones(ROWS), chance, "binary").metrics["log_loss"])
    assert truth.size == ROWS


@pytest.mark.parametrize(("task", "name"), ALL)
def test_by_every_metric_the_better_model_wins_and_the_worse_one_loses(task: str, name: str) -> None:
    truth, good = answers(task, skill=4.0)
    _, bad = answers(task, skill=0.8)
    won = evaluate.compare(name, truth, good, bad, 1, task=task)  # type: ignore[arg-type]
    lost = evaluate.compare(name, truth, bad, good, 1, task=task)  # type: ignore[arg-type]
    assert won.gain is not None
    assert won.low is not None
    if name != "ece":  # a model may know more and know less well how much it knows
        assert 0 < won.low < won.gain
        assert Gate().judge(won).passed
        assert not Gate().judge(lost).passed
    same = evaluate.compare(name, truth, good, good, 1, task=task)  # type: ignore[arg-type]
    assert (same.gain, same.low) == (0, 0)


@pytest.mark.parametrize(("task", "name"), ALL)
def test_a_resample_of_all_blocks_once_is_the_metric_itself(task: str, name: str) -> None:
    truth, said = answers(task)
    metric = metrics.of_task(task, said)[name]  # type: ignore[arg-type]
    blocks = metrics.Blocks(np.arange(ROWS) // 7, 100)
    of_blocks = float(metric.of(metric.sums(truth, said, blocks).sum(axis=0)))
    # only AUROC counts ranks in places, and then these are finer than what it would be judged by
    assert of_blocks == pytest.approx(evaluate.score(truth, said, task).metrics[name], abs=2e-3 if name == "auroc" else 1e-9)  # type: ignore[arg-type]


def test_the_bound_of_a_metric_that_is_no_mean_keeps_its_confidence() -> None:
    """Of 60 challengers that are exactly as good as the champion, about a tenth pass a bound of 90% of their AUROC."""
    passed = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        truth = random.integers(0, 2, 200).astype(float)
        one, two = (1 / (1 + np.exp(-(truth + random.normal(0, 1.5, 200)))) for _ in range(2))
        low = evaluate.compare("auroc", truth, one, two, 1, resamples=100, seed=seed, task="binary").low
        passed += low is not None and low > 0
    assert 1 <= passed <= 14


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_classifier_that_answers_nan_is_rejected_by_every_metric(task: str) -> None:
    truth, said = answers(task)
    broken = said.copy()
    broken[3] = np.nan
    for name in metrics.NAMES[task]:  # type: ignore[index]
        assert not Gate().judge(evaluate.compare(name, truth, broken, said, 1, task=task)).passed  # type: ignore[arg-type]
        assert not Gate().judge(evaluate.compare(name, truth, broken, None, task=task)).passed  # type: ignore[arg-type]


def test_a_margin_is_a_share_of_a_loss_and_points_of_a_score() -> None:
    assert amount("log_loss", 0.02) == "+2.0%"
    truth, good = classes(2, skill=3.0)
    _, fair = classes(2, skill=2.0)
    card = evaluate.compare("accuracy", truth, good, fair, 4, task="binary")
    assert card.champion is not None
    assert card.gain == pytest.approx(card.challenger.metrics["accuracy"] - card.champion.metrics["accuracy"])
    assert "+50.0 points needed" in Gate(margin=0.5).judge(card).reason


@pytest.mark.parametrize(
    ("name", "live", "fires", "words"),
    [
        ("accuracy", 0.79, True, "live accuracy 0.79 < 0.8 (0.9 when it was judged)"),
        ("accuracy", 0.95, False, "live accuracy 0.95 within 0.8"),
        ("log_loss", 0.34, True, "live log_loss 0.34 > 0.33 (0.3 when it was judged)"),
        ("log_loss", 0.32, False, "live log_loss 0.32 within 0.33"),
        ("auto", 0.34, True, "live log_loss 0.34 > 0.33 (0.3 when it was judged)"),
    ],
)
def test_degradation_knows_which_way_is_worse(name: str, live: float, fires: bool, words: str) -> None:
    baseline = {"accuracy": 0.9, "log_loss": 0.3}
    report = DriftReport("w", 3, 1000, 500, ())
    metric = "log_loss" if name == "auto" else name
    score = LiveScore(3, Score(500, baseline | {metric: live}), "f")
    decision = Degradation(name).decide(Evidence(report, score, baseline, 500, None, None))
    assert (decision.retrain, decision.reason) == (fires, words)
