"""The monitor over a stream, drift in segments and of predictions, in the whole loop."""

from __future__ import annotations

import shutil

import polars as pl
import pytest
from scipy import stats
from toy import Toy, rows

from engine import profiling
from engine.ledger import Ledger
from engine.loop import Loop

WATCHED = ("stream.drift.alarms=stream", "stream.drift.limit=0.05", "gate.margin=-1")


def carried(engine: Loop) -> list[tuple[str, int | None]]:
    return [(closing.outcome.value, closing.version) for closing in engine.carry_pending()]


def watched(toy: Toy, place: int) -> dict[str, int]:
    """Of the cycle in that place: how many windows the monitor has seen of each column."""
    columns = toy.result(toy.cycles()[place], "watch")["watch"]["columns"]
    return {name: column["windows"] for name, column in columns.items()}


def test_the_monitor_goes_on_from_window_to_window_and_starts_again_with_the_next_champion(toy: Toy):
    with toy.engine(*WATCHED) as engine:
        for day in (2, 3):
            toy.land(f"day-{day}", rows(day))
            assert carried(engine) == [("kept", 1)]
    with toy.engine(*WATCHED) as engine:  # another process
        toy.land("day-4", rows(4, turned=True))
        assert carried(engine) == [("promoted", 2)]
        toy.land("day-5", rows(5, turned=True))  # far from what version 2 was trained on: both kinds of days
        assert carried(engine) == [("promoted", 3)]
    seen = [watched(toy, place) for place in (1, 2, 3, 4)]
    assert [counts["speed"] for counts in seen] == [1, 2, 3, 1]
    assert set(seen[0]) == {"speed", "load", "kind", "wear", "wear (predicted)"}
    assert toy.result(toy.cycles()[3], "decide")["reason"].startswith("drift in ")


def test_a_process_killed_behind_the_monitor_counts_a_window_once(toy: Toy, monkeypatch: pytest.MonkeyPatch):
    record = Ledger.record

    def killed(self: Ledger, cycle: object, name: str, *rest: object) -> None:
        if name == "drift":
            raise KeyboardInterrupt
        record(self, cycle, name, *rest)  # type: ignore[arg-type]

    toy.land("day-2", rows(2))
    with toy.engine(*WATCHED) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "record", killed)
            with pytest.raises(KeyboardInterrupt):
                carried(engine)
        assert carried(engine) == [("kept", 1)]
    assert toy("retry", "day-2", *WATCHED) == 0  # another attempt at the same rows
    toy.land("day-3", rows(3))
    with toy.engine(*WATCHED) as engine:
        assert carried(engine) == [("kept", 1)]
    assert watched(toy, -1)["speed"] == 2


def test_exact_drift_is_of_every_row_until_a_window_is_lost_which_is_told(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(profiling, "SAMPLE", 300)
    settings = ("stream.drift.exact=true", "stream.drift.limit=0.05", "gate.margin=-1")
    toy.land("day-2", rows(2, turned=True))
    with toy.engine(*settings) as engine:
        assert carried(engine) == [("promoted", 2)]
        toy.land("day-3", rows(3, turned=True))
        assert carried(engine) == [("promoted", 3)]
    report = toy.result(toy.cycles()[-1], "drift")
    speeds = [pl.concat([rows(1), rows(2, turned=True)])["speed"], rows(3, turned=True)["speed"]]
    effect = {column["column"]: column["statistics"]["ks"] for column in report["columns"] if column["kind"] == "number"}
    assert effect["speed"] == pytest.approx(stats.ks_2samp(*speeds).statistic, rel=1e-9)
    (note,) = report["notes"]
    assert note.startswith("statistics over sorted values of wear (predicted) are of samples")
    kept = {path.parent.name for path in (toy.state / "sorted" / "toy").glob("*/*")}
    assert {cycle.window.digest for cycle in toy.cycles()} < kept  # and the merged one of day 1 and day 2

    shutil.rmtree(toy.state / "sorted")
    (toy.root / "windows" / "day-2.parquet").unlink()
    toy.land("day-4", rows(4, turned=True))
    with toy.engine(*settings) as engine:
        carried(engine)
    capsys.readouterr()
    toy("drift", "day-4")
    said = capsys.readouterr().out
    assert "window day-2 of toy cannot be read" in said
    assert "day-2.parquet: it is gone; the profile's sample stands in for every value" in said

    for path in (toy.state / "artifacts").rglob("job.json"):
        path.unlink()
    toy.land("day-5", rows(5, turned=True))
    with toy.engine(*settings) as engine:
        carried(engine)
    toy("drift", "day-5")
    assert "job.json, which says what version 4 was trained on, is gone; the profile's" in capsys.readouterr().out
    assert toy("gc", "retention.sorted_mb=1") == 0
    assert "nothing is too much" in capsys.readouterr().out


def test_segments_are_compared_once_the_champion_was_profiled_by_them(toy: Toy):
    segments = ("stream.drift.segments=kind", "gate.margin=-1")
    toy.land("day-2", rows(2, turned=True))
    with toy.engine(*segments) as engine:
        assert carried(engine) == [("promoted", 2)]
        toy.land("day-3", rows(3, turned=True))
        assert carried(engine) == [("promoted", 3)]
    first, second = (toy.result(toy.cycles()[place], "drift")["columns"] for place in (1, 2))
    assert {c["segment"] for c in first} == {""}
    assert {(c["column"], c["segment"]) for c in second if c["column"] == "speed"} == {
        ("speed", ""),
        ("speed", "a"),
        ("speed", "b"),
        ("speed", "c"),
    }
