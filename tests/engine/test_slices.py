"""Slices: every group has the metrics of its rows alone, the worst one is found, and the gate says which it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import torchmetrics.functional as tm
import torchmetrics.functional.classification as tmc
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as textbook

from engine import evaluate, metrics, profiling, slices
from engine.contracts.contract import Contract
from engine.data import table
from engine.gate import Gate
from engine.ledger.codec import decode, encode
from engine.nouns import Column, Schema, Scorecard, Window
from engine.slices import MISSING, OTHER, Cut, SliceBy
from engine.windows import digest_of

TASKS = ("regression", "binary", "multiclass")
EVERY = SliceBy("group", kind="category", min_rows=1, most=1000)


def answers(task: str, rows: int, seed: int = 0, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Truth and answer; some probabilities are equal, as with few distinct rows."""
    random = np.random.default_rng(seed)
    if task == "regression":
        truth = random.normal(50, 10, rows)
        return truth, truth + random.normal(0, 4 * noise, rows)
    count = 2 if task == "binary" else 4
    classes = random.integers(0, count, rows)
    raw = random.normal(0, noise, (rows, count)).round(1)
    raw[np.arange(rows), classes] += 1
    chances = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    return classes.astype(float), chances[:, 1] if count == 2 else chances


def cut(groups: object, by: SliceBy = EVERY) -> Cut:
    return slices.cut(pl.DataFrame({"group": groups}), [by], None)[0]


def rows_of(groups: object, by: SliceBy = EVERY) -> dict[str, int]:
    found = cut(groups, by)
    return dict(zip(found.values, found.rows, strict=True))


# every slice has the metrics of its rows alone


@settings(max_examples=60, deadline=None)
@given(
    task=st.sampled_from(TASKS),
    seed=st.integers(0, 2**31 - 1),
    rows=st.integers(1, 400),
    count=st.integers(1, 9),
    lone=st.booleans(),
)
def test_the_metrics_of_a_slice_are_those_of_its_rows_alone(task: str, seed: int, rows: int, count: int, lone: bool) -> None:
    truth, said = answers(task, rows, seed)
    groups = np.random.default_rng(seed).integers(0, count, rows)
    if lone:
        truth[groups == 0] = truth[0]  # one value or class alone
    found = evaluate.score(truth, said, task, [cut(groups)])  # type: ignore[arg-type]
    assert sum(s.rows for s in found.slices) == rows
    for s in found.slices:
        mine = groups == int(s.value)
        alone = evaluate.score(truth[mine], said[mine], task)  # type: ignore[arg-type]
        assert s.rows == alone.rows
        shared = {name: s.metrics[name] for name in alone.metrics}
        assert shared == pytest.approx(alone.metrics, rel=1e-12, abs=1e-12, nan_ok=True)


def test_an_answer_that_is_no_number_spoils_its_own_slice_alone() -> None:
    for task in ("binary", "multiclass"):
        truth, said = answers(task, 300)
        groups = np.arange(300) % 3
        broken = said.copy()
        broken[4] = np.nan
        sound = evaluate.score(truth, said, task, [cut(groups)])  # type: ignore[arg-type]
        found = evaluate.score(truth, broken, task, [cut(groups)])  # type: ignore[arg-type]
        for before, after in zip(sound.slices, found.slices, strict=True):
            assert np.isnan(list(after.metrics.values())).all() if after.value == "1" else after == before


TORCH: dict[str, dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    "regression": {
        "rmse": lambda said, truth: tm.mean_squared_error(said, truth, squared=False),
        "mae": tm.mean_absolute_error,
        "r2": tm.r2_score,
    },
    "binary": {
        "log_loss": lambda said, truth: torch.nn.functional.binary_cross_entropy(said, truth.double()),
        "accuracy": tmc.binary_accuracy,
        "precision": tmc.binary_precision,
        "recall": tmc.binary_recall,
        "f1": tmc.binary_f1_score,
        "auroc": tmc.binary_auroc,
        "ece": tmc.binary_calibration_error,
    },
    "multiclass": {
        "log_loss": lambda said, truth: torch.nn.functional.nll_loss(said.log(), truth),
        "accuracy": lambda said, truth: tmc.multiclass_accuracy(said, truth, 4, average="micro"),
        "precision": lambda said, truth: tmc.multiclass_precision(said, truth, 4, average="macro"),
        "recall": lambda said, truth: tmc.multiclass_recall(said, truth, 4, average="macro"),
        "f1": lambda said, truth: tmc.multiclass_f1_score(said, truth, 4, average="macro"),
        "auroc": lambda said, truth: tmc.multiclass_auroc(said, truth, 4, average="macro"),
        "ece": lambda said, truth: tmc.multiclass_calibration_error(said, truth, 4),
    },
}


@pytest.mark.parametrize("task", TASKS)
def test_the_metrics_are_those_of_torchmetrics_overall_and_on_every_slice(task: str) -> None:
    truth, said = answers(task, 900)
    groups = np.arange(900) % 3
    found = evaluate.score(truth, said, task, [cut(groups)])  # type: ignore[arg-type]
    parts = [(found.metrics, np.ones(900, dtype=bool)), *((s.metrics, groups == int(s.value)) for s in found.slices)]
    assert set(TORCH[task]) == set(metrics.NAMES[task])  # type: ignore[index]
    for ours, rows in parts:
        wanted = torch.tensor(truth[rows]) if task == "regression" else torch.tensor(truth[rows]).long()
        theirs = {name: float(metric(torch.tensor(said[rows]), wanted)) for name, metric in TORCH[task].items()}
        assert {name: ours[name] for name in theirs} == pytest.approx(theirs, abs=1e-6)


# which rows are a slice


def test_values_are_slices_the_most_frequent_first_and_nulls_are_their_own() -> None:
    assert rows_of(["b", "a", "a", None, "b", "b", ""]) == {"b": 3, "a": 2, MISSING: 2}
    assert rows_of([True, None, False, True], SliceBy("group")) == {"true": 2, "false": 1, MISSING: 1}
    assert rows_of([1.0, 2.0, 1.0, float("nan")]) == {"1": 2, "2": 1, MISSING: 1}
    assert rows_of([None, None]) == {MISSING: 2}


def test_rare_values_and_those_beyond_the_most_are_pooled() -> None:
    groups = ["a"] * 50 + ["b"] * 40 + ["c"] * 30 + ["d"] * 7 + ["e"] * 5
    assert rows_of(groups, SliceBy("group")) == {"a": 50, "b": 40, "c": 30, OTHER: 12}
    assert rows_of(groups, SliceBy("group", most=1)) == {"a": 50, OTHER: 82}
    truth, said = answers("regression", len(groups))
    found = evaluate.score(truth, said, cuts=[cut(groups, SliceBy("group"))])
    assert [(s.value, s.enough) for s in found.slices] == [("a", True), ("b", True), ("c", True), (OTHER, False)]


def test_numbers_are_cut_at_edges_that_belong_to_the_upper_slice() -> None:
    by = SliceBy("group", edges=(500.0, 1500.0))
    found = rows_of([499.9, 500, 1500, None, float("nan"), float("inf"), 7], by)
    assert found == {"below 500": 2, "500 to 1500": 1, "1500 and over": 2, MISSING: 2}
    assert rows_of([1, 2], by) == {"below 500": 2}


def test_without_edges_the_quartiles_are_those_of_what_the_champion_was_trained_on() -> None:
    trained = pl.DataFrame({"group": np.arange(1000.0), "y": np.arange(1000.0)})
    reference = profiling.build(trained, Schema((Column("group", "number"),), target="y"))
    frame = pl.DataFrame({"group": [0.0, 100.0, 300.0, 900.0, 901.0]})
    (found,) = slices.cut(frame, [SliceBy("group")], reference)
    assert (found.values, found.rows) == (("Q1", "Q2", "Q4"), [2, 1, 2])
    assert found.spans == ("below 249.75", "249.75 to 499.5", "749.25 and over")
    (own,) = slices.cut(frame, [SliceBy("group")], None)  # nothing was trained yet
    assert own.rows == [1, 1, 1, 2]


def test_a_column_that_only_slices_is_read_and_null_where_a_window_has_not_got_it(tmp_path: Path) -> None:
    schema = Schema((Column("x", "number"),), target="y", sliced=("site",))
    frame = pl.DataFrame({"site": ["north"] * 3, "y": [1.0, 2.0, 3.0], "x": [1.0, 2.0, 3.0]})
    windows = []
    for name, rows in (("old", frame.drop("site")), ("new", frame)):
        rows.write_parquet(tmp_path / name)
        windows.append(Window("s", name, str(tmp_path / name), digest_of(tmp_path / name), 3))
    assert table.read(windows, schema)["site"].to_list() == [None] * 3 + ["north"] * 3
    check = Contract(min_rows=1).check_frame
    assert check(frame, schema) == ()
    assert [b.column for b in check(frame.drop("site"), schema)] == ["site"]
    assert "no values to slice by" in check(frame.with_columns(pl.lit([1]).alias("site")), schema)[0].message


# the worst slice


def judged(seed: int, bad: float, rows: int = 1200, count: int = 6, **changes: object) -> Scorecard:
    """A challenger 20% better than the champion, but on the group "0", where its errors are `bad` times the champion's."""
    random = np.random.default_rng(seed)
    groups = random.integers(0, count, rows)
    truth = random.normal(0, 30, rows)
    mine = random.normal(0, 1, rows) * np.where(groups == 0, 10 * bad, 8)
    by = SliceBy("group", kind="category")
    return evaluate.compare("rmse", truth, truth + mine, truth + random.normal(0, 10, rows), 4, cuts=[cut(groups, by)], **changes)  # type: ignore[arg-type]


def test_a_challenger_that_is_better_overall_and_worse_on_a_slice_does_not_pass() -> None:
    card = judged(0, bad=1.5)
    assert card.low is not None
    assert card.low > 0
    verdict = Gate().judge(card)
    (failed,) = [rule for rule in verdict.rules if not rule.passed]
    assert failed.name == "worst_slice"
    assert failed.message.startswith(f"rmse on {card.worst.rows:,} rows with group=0 is ")  # type: ignore[union-attr]
    assert "gain -28.2%, surely at most -17.0%" in failed.message
    assert failed.message.endswith("-10.0% allowed)")
    assert Gate(worst_slice=-0.2).judge(card).passed
    assert Gate(worst_slice=None).judge(card).passed


def test_the_worst_slice_has_the_least_gain_and_the_worst_value_is_another_thing() -> None:
    card = judged(1, bad=1.5)
    assert card.worst == min(card.slices, key=lambda s: s.gain)
    assert card.worst.value == "0"
    assert all(s.low < s.gain < s.high for s in card.slices)
    assert metrics.worst(card.challenger, "rmse") == max(card.challenger.slices, key=lambda s: s.metrics["rmse"])
    assert decode(Scorecard, encode(card)) == card


def test_a_slice_that_looks_bad_by_chance_passes() -> None:
    """Of 60 challengers exactly as good as the champion on 12 slices, a tenth at most have a slice that is surely worse."""
    failed = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        truth, one, two = random.normal(0, 10, (3, 900))
        groups = cut(random.integers(0, 12, 900), SliceBy("group", kind="category"))
        card = evaluate.compare("rmse", truth, truth + one, truth + two, 1, resamples=300, seed=seed, cuts=[groups])
        failed += any(s.high < 0 for s in card.slices)
    assert failed <= 10


@pytest.mark.parametrize("task", TASKS)
def test_every_metric_has_its_bounds_on_every_slice(task: str) -> None:
    truth, mine = answers(task, 600, noise=0.5)
    _, theirs = answers(task, 600, noise=2.0)
    groups = cut(np.arange(600) % 4, SliceBy("group", kind="category"))
    for name in metrics.NAMES[task]:  # type: ignore[index]
        card = evaluate.compare(name, truth, mine, theirs, 1, resamples=100, task=task, cuts=[groups])  # type: ignore[arg-type]
        assert len(card.slices) == 4
        assert all(s.low <= s.high and np.isfinite([s.low, s.gain, s.high]).all() for s in card.slices)


def test_without_slices_and_for_a_first_model_there_is_no_such_rule() -> None:
    truth, said = answers("regression", 400)
    plain = evaluate.compare("rmse", truth, said, said, 1)
    first = evaluate.compare("rmse", truth, said, None, cuts=[cut(np.arange(400) % 3)])
    assert [rule.name for card in (plain, first) for rule in Gate().judge(card).rules] == ["rows", "quality"] * 2
    small = evaluate.compare("rmse", truth, said, said, 1, cuts=[cut(np.arange(400) % 40, SliceBy("group", kind="number"))])
    assert [rule.passed for rule in Gate().judge(small).rules] == [True] * 3
    scarce = cut(np.arange(400) % 2, SliceBy("group", edges=(1.0,), min_rows=300))
    verdict = Gate().judge(evaluate.compare("rmse", truth, said, said, 1, cuts=[scarce]))
    assert verdict.rules[-1].message == "no slice has rows enough to judge (`min_rows` in `stream.slice_by`)"


# the gap between groups


def test_the_differences_between_groups_are_those_of_the_literature() -> None:
    """Two groups of 40: of a, 30 are answered positive and 18 of its 20 positives; of b, 10 and 8 of 20."""
    truth = np.array(([1] * 20 + [0] * 20) * 2, dtype=float)
    said = np.array([1] * 18 + [0] * 2 + [1] * 12 + [0] * 8 + [1] * 8 + [0] * 12 + [1] * 2 + [0] * 18, dtype=float)
    groups = cut(["a"] * 40 + ["b"] * 40)
    card = evaluate.compare("accuracy", truth, 0.1 + 0.8 * said, None, task="binary", cuts=[groups])
    found = {gap.name: gap for gap in card.gaps}
    parity, opportunity = found["demographic_parity_difference"], found["equal_opportunity_difference"]
    assert (parity.value, parity.lowest, parity.highest) == (0.5, "b", "a")
    assert opportunity.value == pytest.approx(0.5)
    recalls = [textbook.recall_score(truth[part], said[part]) for part in (slice(0, 40), slice(40, 80))]
    assert opportunity.value == pytest.approx(max(recalls) - min(recalls))
    assert found["accuracy"].value == pytest.approx(abs((18 + 8) / 40 - (8 + 18) / 40))


def test_a_gap_that_is_too_wide_does_not_pass_and_names_its_groups() -> None:
    truth = np.tile([1.0, 0.0], 60)
    said = np.where(np.arange(120) < 60, 0.9, 0.1)
    groups = cut(["a"] * 60 + ["b"] * 60)
    card = evaluate.compare("log_loss", truth, said, said, 3, task="binary", cuts=[groups])
    limits = {"demographic_parity_difference": 0.4, "log_loss": 0.01}
    rules = [rule for rule in Gate(min_rows=1, max_gap=limits).judge(card).rules if rule.name == "max_gap"]
    assert [rule.passed for rule in rules] == [False, True]
    assert rules[0].message == (
        "demographic_parity_difference is 1 apart over group, from b to a (the champion's 1), 0.4 allowed"
    )
    assert [rule.limit for rule in Gate(max_gap=0.01).judge(card).rules if rule.name == "max_gap"] == [0.01]
    assert all(rule.name != "max_gap" for rule in Gate().judge(card).rules)


def test_a_group_without_positives_has_no_opportunity_to_compare() -> None:
    truth = np.array([1.0, 0.0] * 30 + [0.0] * 40)
    said = np.full(100, 0.7)
    card = evaluate.compare("log_loss", truth, said, None, task="binary", cuts=[cut(["a"] * 60 + ["b"] * 40)])
    assert "equal_opportunity_difference" not in {gap.name for gap in card.gaps}
    assert np.isnan(card.challenger.slices[1].metrics["true_positive_rate"])
