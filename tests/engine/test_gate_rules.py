"""Gate rules of one's own: the documented example works, and no mistake in one promotes anything."""

from __future__ import annotations

import itertools
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from engine import evaluate, slices, wiring
from engine.configuration import ConfigurationError, resolve
from engine.gate import Gate
from engine.ledger.codec import decode, encode
from engine.nouns import Rule, Scorecard, Verdict
from engine.slices import SliceBy

PAGE = Path(__file__).parents[2] / "docs" / "gate.md"


def card(worst: float = 2.0, rows: int = 600) -> Scorecard:
    """Of three kinds "c" is answered with errors of `worst`, the others of 1; the champion's are 9 everywhere."""
    random = np.random.default_rng(0)
    kind = np.array(["a", "b", "c"])[np.arange(rows) % 3]
    truth = random.normal(0, 30, rows)
    size = np.where(kind == "c", worst, 1.0)
    signs = random.choice([-1, 1], rows)
    cuts = slices.cut(pl.DataFrame({"kind": kind}), [SliceBy("kind")], None)
    return evaluate.compare("rmse", truth, truth + signs * size, truth + signs * 9.0, 3, cuts=cuts)


@pytest.fixture
def documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The gate that the page builds, from the code and the YAML as they stand there."""
    code, text = (re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL).group(1) for language in ("python", "yaml"))  # type: ignore[union-attr]
    (tmp_path / "my_rules.py").write_text(code)
    (tmp_path / "stream").mkdir()
    settings = yaml.safe_load(text)
    settings["stream"] |= {
        "name": "mine",
        "target": "y",
        "columns": {"kind": "category"},
        "source": {"_target_": "engine.windows.ParquetFolder", "folder": "windows"},
    }
    (tmp_path / "stream" / "mine.yaml").write_text("# @package _global_\n" + yaml.safe_dump(settings))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_rules", raising=False)
    return wiring.parts(resolve(["stream=mine"])).gate


def test_the_rule_of_the_page_judges(documented: Gate) -> None:
    assert [rule.name for rule in documented.judge(card()).rules] == ["rows", "quality", "worst_slice", "no_slice_above"]
    assert documented.judge(card(worst=2.0)).passed
    verdict = documented.judge(card(worst=5.0))
    assert not verdict.passed
    assert verdict.reason == "mae of kind=c is 5, 3 allowed"


def test_the_rule_of_the_page_that_finds_no_slice_rejects_and_says_why(documented: Gate) -> None:
    verdict = documented.judge(evaluate.compare("rmse", np.arange(300.0), np.arange(300.0), None))
    (failed,) = [rule for rule in verdict.rules if not rule.passed]
    assert failed.name == "my_rules.NoSliceAbove"
    assert failed.message.startswith("the rule my_rules.NoSliceAbove failed with ValueError: max() ")
    assert failed.message.endswith("; mend it, then `warmstart retry` the window")


@dataclass(frozen=True)
class Says:
    """A rule that returns whatever it was made with, or raises it."""

    what: object

    def judge(self, card: Scorecard) -> Rule:
        if isinstance(self.what, Exception):
            raise self.what
        return self.what  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (ZeroDivisionError("division by zero"), "failed with ZeroDivisionError: division by zero"),
        (KeyError("mea"), "failed with KeyError: 'mea'"),
        (None, "it returned None, where an engine.nouns.Rule is wanted"),
        (True, "it returned True, where an engine.nouns.Rule is wanted"),
        (Rule("x", float("nan"), None, None, ""), "`passed` is nan, where True or False is wanted"),  # type: ignore[arg-type]
        (Rule("x", None, None, None, ""), "`passed` is None, where True or False is wanted"),  # type: ignore[arg-type]
        (Rule("x", "no", None, None, ""), "`passed` is 'no', where True or False is wanted"),  # type: ignore[arg-type]
        (Rule("x", True, "much", None, ""), "could not convert string to float: 'much'"),  # type: ignore[arg-type]
        (Rule("x", np.array([True, True]), None, None, ""), "failed with ValueError: The truth value of an array"),  # type: ignore[arg-type]
    ],
)
def test_a_mistake_in_a_rule_rejects_and_names_rule_and_mistake(what: object, words: str) -> None:
    verdict = Gate(rules=(Says(what),)).judge(card())
    (failed,) = [rule for rule in verdict.rules if not rule.passed]
    assert failed.name == "test_gate_rules.Says"
    assert words in verdict.reason
    assert decode(Verdict, encode(verdict)) == verdict


def test_the_numbers_of_numpy_are_numbers() -> None:
    said = Rule("mine", np.bool_(True), np.float32(0.5), np.int64(1), "good")  # type: ignore[arg-type]
    verdict = Gate(rules=(Says(said),)).judge(card())
    assert verdict.passed
    assert decode(Verdict, encode(verdict)).rules[-1] == Rule("mine", True, 0.5, 1.0, "good")


def test_every_rule_must_pass() -> None:
    good, bad = Says(Rule("a", True, None, None, "good")), Says(Rule("b", False, None, None, "bad"))
    for rules in itertools.product((good, bad), repeat=2):
        assert Gate(rules=rules).judge(card()).passed == (rules == (good, good))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("gate.rules=[{_target_: no_such_module.Rule}]", r"`no_such_module\.Rule`: there is no module 'no_such_module'"),
        ("gate.rules=[{_target_: fractions.Fraction}]", r"gate\.rules\[0\]: Fraction has no method `judge\(card\)`"),
        ("gate.max_gap=0.1", r"gate\.max_gap: there are no groups to compare; name their columns in `stream\.slice_by`"),
        ("stream.slice_by=carrier", r"`stream\.slice_by` is 'carrier'; it must be a list"),
        ("stream.slice_by=[carrier,carrier]", r"stream\.slice_by: carrier is there twice"),
        ("stream.slice_by=[{column: seats, edge: [1]}]", r"there is no setting 'edge'; did you mean 'edges'"),
        ("stream.slice_by=[{edges: [1]}]", r"it does not say which `column`"),
        ("stream.slice_by=[{column: seats, edges: [2, 1]}]", r"stream\.slice_by: seats: edges must rise: 2, 1"),
        ("stream.slice_by=[{column: seats, edges: [few]}]", r"stream\.slice_by: seats: could not convert string to float: 'few'"),
        ("stream.slice_by=[{column: seats, kind: text}]", r"stream\.slice_by: seats: 'text' is no kind of column"),
    ],
)
def test_what_is_set_wrongly_is_told_before_any_work(override: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        wiring.parts(resolve(["stream=flights", override]))


def test_a_gap_that_the_task_has_not_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"there is no gap of a regression task 'accuracy'.*\(`gate\.max_gap`\)"):
        wiring.parts(resolve(["stream=flights", "stream.slice_by=[carrier]", "gate.max_gap={accuracy: 0.1}"]))


def test_the_columns_to_slice_by_are_read_once() -> None:
    parts = wiring.parts(resolve(["stream=flights", "stream.slice_by=[carrier, tailnum, {column: distance, edges: [500]}]"]))
    assert [by.column for by in parts.slice_by] == ["carrier", "tailnum", "distance"]
    assert parts.slice_by[2].edges == (500.0,)
    assert parts.schema.sliced == ("tailnum",)
