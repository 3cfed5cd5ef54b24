"""A challenger that is better on the whole and worse for a group, with a real Triton, a real MLflow and a real training job."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from toy import Toy, rows

SLICED = ("stream.slice_by=[kind, site, {column: speed, edges: [0]}]", "trigger=always", "strategy=warm")


def turned_but_for_c(seed: int, count: int = 2000) -> pl.DataFrame:
    """`speed` wears the other way round, save that the last fifth of the rows of kind c, which judge, are as they were."""
    frame = rows(seed, count=count)
    as_it_was = (np.arange(count) >= 0.8 * count) & (frame["kind"] == "c").to_numpy()
    wear = frame["wear"].to_numpy() + np.where(as_it_was, 0, -7) * frame["speed"].to_numpy()
    return frame.with_columns(pl.Series("wear", wear), pl.Series("site", ["north", "south"] * (count // 2)))


def test_a_challenger_that_is_worse_for_one_kind_is_rejected_by_its_name(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.land("day-2", turned_but_for_c(2))
    with toy.engine(*SLICED) as engine:
        (closing,) = engine.carry_pending()
        assert toy.answer().version == 1
    assert (closing.outcome, closing.version) == ("rejected", None)
    assert closing.reason.startswith("rmse on ")
    assert " rows with kind=c is " in closing.reason
    assert closing.reason.endswith("-10.0% allowed)")

    (cycle,) = [c for c in toy.cycles() if c.window.id == "day-2"]
    quality = {rule["name"]: rule["passed"] for rule in toy.result(cycle, "quality.1")["rules"]}  # type: ignore[index]
    assert quality == {"rows": True, "quality": True, "worst_slice": False}
    live = toy.result(cycle, "score")
    sliced = {(s["column"], s["value"]): s["rows"] for s in live["score"]["slices"]}  # type: ignore[index]
    assert sum(n for (column, _), n in sliced.items() if column == "kind") == 2000
    assert [key for key in sliced if key[0] != "kind"] == [
        ("site", "north"),
        ("site", "south"),
        ("speed", "below 0"),
        ("speed", "0 and over"),
    ]

    told = {str(name) for (name,) in toy.registry("select key from latest_metrics")}
    assert {"slice/kind: c/rmse", "slice/speed: 0 and over/rmse", "worst_slice", "gap/rmse over kind"} <= told
    assert toy("explain", "day-2") == 0
    said = capsys.readouterr().out
    assert "worst of site: " in said
    assert "FAILED  worst_slice: rmse on " in said
    assert toy("report") == 0
    assert "<h2>Slices: rmse, group by group" in (toy.state / "reports" / "toy.html").read_text()

    # the person who knows that kind c is no longer made lets it pass
    assert toy("retry", "day-2", *SLICED, "gate.worst_slice=null") == 0
    assert toy.outcomes()[-1] == ("day-2", "promoted", 2)


def test_a_window_without_a_column_to_slice_by_is_quarantined_and_a_broken_rule_promotes_nothing(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    (toy.root / "broken_rules.py").write_text("class Forgetful:\n    def judge(self, card):\n        return card.forgotten\n")
    monkeypatch.syspath_prepend(str(toy.root))
    toy.land("day-2", rows(2, turned=True))
    with toy.engine(*SLICED) as engine:
        (closing,) = engine.carry_pending()
    assert closing.outcome == "quarantined"
    assert closing.reason.startswith("site: the column is missing")

    toy.land("day-3", rows(3, turned=True))
    with toy.engine("gate.rules=[{_target_: broken_rules.Forgetful}]") as engine:
        (closing,) = engine.carry_pending()
        assert toy.answer().version == 1
    assert (closing.outcome, closing.version) == ("rejected", None)
    assert closing.reason.startswith("the rule broken_rules.Forgetful failed with AttributeError: 'Scorecard' object has no ")
