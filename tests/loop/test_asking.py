"""What a person asks of a stream between windows: retrain because of an event, pause, show the drift of a window."""

from __future__ import annotations

import json
import re

import pytest
from toy import Toy, rows

from engine.configuration import ConfigurationError
from engine.explain import NothingToExplain
from engine.ledger import Ledger
from engine.loop import Loop


def carried(engine: Loop) -> list[tuple[str, int | None]]:
    return [(closing.outcome.value, closing.version) for closing in engine.carry_pending()]


def test_an_event_retrains_the_next_window_once(toy: Toy):
    assert toy("trigger", "--reason", "new tariff") == 0
    toy.land("day-2", rows(2))
    with toy.engine("gate.margin=-1") as engine:
        assert carried(engine) == [("promoted", 2)]
        toy.land("day-3", rows(3))
        assert carried(engine) == [("kept", 2)]
    decision = toy.result(toy.cycles()[1], "decide")
    assert decision["cause"] == "event"
    assert decision["reason"].startswith("new tariff (said by ")


def test_a_process_killed_between_taking_an_event_and_deciding_uses_it_once(toy: Toy, monkeypatch: pytest.MonkeyPatch):
    toy("trigger", "--reason", "new tariff")
    toy.land("day-2", rows(2))
    record = Ledger.record

    def killed(self: Ledger, cycle: object, name: str, *rest: object) -> None:
        if name == "decide":
            raise KeyboardInterrupt
        record(self, cycle, name, *rest)  # type: ignore[arg-type]

    with toy.engine("gate.margin=1000") as engine:
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "record", killed)
            with pytest.raises(KeyboardInterrupt):
                carried(engine)
        assert carried(engine) == [("rejected", None)]
        toy.land("day-3", rows(3))
        assert carried(engine) == [("kept", 1)]
    assert toy.result(toy.cycles()[1], "decide")["cause"] == "event"


def test_of_a_backlog_the_latest_window_gets_the_event(toy: Toy):
    toy("trigger", "--reason", "new tariff")
    for day in (2, 3):
        toy.land(f"day-{day}", rows(day))
    with toy.engine("gate.margin=-1") as engine:
        assert carried(engine) == [("kept", 1), ("promoted", 2)]


def test_a_paused_stream_keeps_its_events_until_it_goes_on(toy: Toy, capsys: pytest.CaptureFixture[str]):
    assert toy("pause", "--reason", "audit") == 0
    toy("trigger", "--reason", "new tariff")
    said = capsys.readouterr().out
    assert said.startswith(
        "the stream is held: `warmstart resume` lets it go on\nthe next window of toy retrains once the stream"
    )
    with pytest.raises(ConfigurationError, match=r"the stream is held already \(paused by .*: audit\); `warmstart resume`"):
        toy("pause")
    toy.land("day-2", rows(2, turned=True))
    with toy.engine("gate.margin=-1") as engine:
        assert carried(engine) == [("kept", 1)]
        toy("status")
        said = capsys.readouterr().out
        assert "held: paused by " in said
        assert "the next window retrains: new tariff" in said
        assert toy("resume") == 0
        assert capsys.readouterr().out.endswith(
            "kept because of it: day-2; the next training has their rows, `warmstart retry day-2 stream=toy` decides about one "
            "anew now\n"
        )
        toy.land("day-3", rows(3))
        assert carried(engine) == [("promoted", 2)]
        with pytest.raises(NothingToExplain, match=r"The latest versions: 1, 2; windows: day-1, day-2, day-3$"):
            toy("explain", "99")
    assert toy.cycles()[1].reason.startswith("the stream is held (paused by ")


def test_the_drift_of_a_window_is_shown_for_people_and_for_programs(toy: Toy, capsys: pytest.CaptureFixture[str]):
    toy.land("day-2", rows(2, turned=True))
    with toy.engine("gate.margin=1000") as engine:
        carried(engine)
    capsys.readouterr()
    assert toy("drift", "day-2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "against version 1's training data: 800 rows against 800"
    assert lines[1].split()[:2] == ["drifted", "speed"]
    assert toy("drift", "day-2", "--json") == 0
    found = {c["column"]: c["drifted"] for c in json.loads(capsys.readouterr().out)["columns"]}
    assert found == {"speed": True, "load": False, "kind": False, "wear": True, "wear (predicted)": True}
    with pytest.raises(NothingToExplain, match="window day-1 was not compared with any champion; it is promoted: there is no"):
        toy("drift", "day-1")
    with pytest.raises(NothingToExplain, match="stream 'toy' has no version or window 'day-9'"):
        toy("drift", "day-9")


def test_the_report_holds_the_live_model_against_the_first_one_left_alone(toy: Toy, capsys: pytest.CaptureFixture[str]):
    with toy.engine() as engine:
        for day in (2, 3):
            toy.land(f"day-{day}", rows(day, turned=True))
            carried(engine)
    (toy.root / "windows" / "day-2.parquet").unlink()
    capsys.readouterr()
    assert toy("report", "--output", "page.html") == 0
    assert capsys.readouterr().out == "page.html\n"
    page = (toy.root / "page.html").read_text()
    told = dict(re.findall(r"<title>(day-3: [a-z0-9 ]+), rmse ([0-9.]+)", page))
    assert list(told) == ["day-3: the first model left alone", "day-3: version 2 live"]
    first, live = map(float, told.values())
    assert live == pytest.approx(toy.result(toy.cycles()[-1], "score")["score"]["metrics"]["rmse"], rel=1e-3)
    assert first > 2 * live
    assert "day-2: the first model left alone, rmse –" not in page  # its file is gone: no mark at all


def test_the_report_of_a_stream_says_nothing_of_a_first_model_that_is_gone(toy: Toy):
    (toy.models / "1" / "model.onnx").rename(toy.root / "elsewhere.onnx")
    assert toy("report", "--output", "page.html") == 0
    assert "The first model's files are not kept here" in (toy.root / "page.html").read_text()
