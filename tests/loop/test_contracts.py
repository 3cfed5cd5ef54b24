"""The door: rows are named, a person may let a window pass, limits are learnt, small windows wait."""

from __future__ import annotations

import json
from collections.abc import Iterator

import polars as pl
import pytest
from toy import ROWS, Toy, one, rows

from engine.configuration import ConfigurationError
from engine.contracts import learning

LIMIT = "+stream.contract.columns.speed={max: 8}"


def fast(day: int) -> pl.DataFrame:
    """A day on which every 40th row is too fast."""
    too_fast = pl.when(pl.int_range(pl.len()) % 40 == 5).then(99.0).otherwise(pl.col("speed"))
    return rows(day).with_columns(too_fast.alias("speed"))


@pytest.fixture(scope="module")
def project(founded: Toy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    """A project for all of this, its server started by another process."""
    with founded.copy(tmp_path_factory.mktemp("contracts") / "project").served() as toy:
        yield toy


def test_a_window_that_breaks_a_limit_is_put_aside_with_its_rows_and_passes_when_a_person_accepts_it(
    project: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = project
    toy.land("day-2", fast(2))
    with toy.engine(LIMIT) as engine:
        closing = one(engine)
    assert closing.outcome == "quarantined"
    message = "20 of 800 rows lie above 8 (`stream.contract.columns.speed`): 99.0; at most 1% may; rows 5, 45, 85, …"
    assert closing.reason.startswith(f"speed: {message}")

    (path,) = (toy.state / "quarantine" / "toy").glob("day-2.*.json")
    (breach,) = json.loads(path.read_text())["breaches"]
    assert (breach["count"], breach["rows"], breach["values"]) == (20, list(range(5, 800, 40)), ["99.0"] * 20)

    assert toy("retry", "day-2", LIMIT) == 3, "without --accept it is the same again"
    assert toy("retry", "day-2", "--accept", "--reason", "a test drive", LIMIT) == 0
    assert [outcome for name, outcome, _ in toy.outcomes() if name == "day-2"] == ["quarantined", "quarantined", "kept"]

    capsys.readouterr()
    toy("explain", "day-2")
    told = capsys.readouterr().out
    assert message in told
    assert ": a test drive" in told.split("accepted by ")[1].splitlines()[0]
    assert toy.result(toy.cycles()[-1], "learn") is None, "what a person had to accept teaches nothing"


def test_what_nothing_could_be_trained_on_cannot_be_accepted(project: Toy) -> None:
    toy = project
    toy.land("day-3", rows(3).drop("speed"))
    assert toy("update") == 3
    with pytest.raises(
        ConfigurationError, match="window day-3 cannot be accepted, nothing could be trained on it: speed: the col"
    ):
        toy("retry", "day-3", "--accept")
    with pytest.raises(ConfigurationError, match="window day-2 is kept; quarantined ones can be accepted"):
        toy("retry", "day-2", "--accept")


def test_limits_are_learnt_from_the_first_good_windows_and_stop_what_is_broken_but_not_drift(
    project: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = project
    toy.land("day-4", rows(4))
    toy.land("day-5", rows(5))
    broken = rows(6).with_columns(pl.col("speed") * 1000)
    with toy.engine() as engine:
        assert [closing.outcome for closing in engine.carry_pending()] == ["kept", "kept"]
        toy.land("day-6", broken)
        closing = one(engine)
        assert closing.outcome == "quarantined"
        assert closing.reason.startswith("speed: ")
        assert "(learnt from the windows day-1, day-4, day-5)" in closing.reason
        toy.land("day-7", rows(7, turned=True))
        assert one(engine).outcome == "promoted"
    with toy.ledger() as ledger:
        assert [lesson.window for lesson in learning.remembered(ledger, "toy", 3)] == ["day-1", "day-4", "day-5"]
        assert len(ledger.results("toy", "learn", learning.Lesson)) == 3

    capsys.readouterr()
    toy("contract", "show", "--json")
    found = {(each["column"], each["limit"]): each for each in json.loads(capsys.readouterr().out)["limits"]}
    assert found["speed", "max"]["from"] == "learnt from the windows day-1, day-4, day-5"
    assert 8 < found["speed", "max"]["value"] < 14
    assert found["kind", "categories"]["value"] == ["a", "b", "c"]
    assert found[None, "min_rows"] == {"column": None, "limit": "min_rows", "value": 100, "from": "default"}


def test_small_windows_wait_are_shown_and_are_carried_once(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy = project
    whole = rows(8, turned=True)
    toy.land("day-8-part-1", whole[:40])
    toy.land("day-8-part-3", whole[50:90])
    capsys.readouterr()
    assert toy("update") == 0
    wait = "windows day-8-part-1 to day-8-part-3 wait for more rows: 80 of 100 (`stream.contract.min_rows`)"
    assert wait in capsys.readouterr().out
    toy("status", "--json")
    (stream,) = json.loads(capsys.readouterr().out)["streams"]
    assert stream["small"] == {"windows": ["day-8-part-1", "day-8-part-3"], "rows": 80, "needed": 100}
    toy("status")
    assert wait in capsys.readouterr().out

    toy.land("day-8-part-4", whole[90:140])
    assert toy("update") == 0
    window = toy.cycles()[-1].window
    assert (window.id, window.rows, len(window.parts)) == ("day-8-part-1..day-8-part-4", 130, 3)

    toy.land("day-8-part-2", whole[40:50])  # sorts between what was carried, and waits for what follows
    toy.land("day-9", rows(9, turned=True))
    with toy.engine() as engine:
        one(engine)
        assert list(engine.carry_pending()) == []
    window = toy.cycles()[-1].window
    assert (window.id, window.rows) == ("day-8-part-2..day-9", 10 + ROWS)
    capsys.readouterr()
    toy("status", "--json")
    assert json.loads(capsys.readouterr().out)["streams"][0]["small"] is None


def test_a_joined_window_that_was_begun_goes_on_as_it_was_begun(project: Toy) -> None:
    toy = project
    whole = rows(10, turned=True)
    toy.land("day-10-part-1", whole[:60])
    toy.land("day-10-part-2", whole[60:120])
    with toy.engine() as engine:
        (window,) = engine.pending()
        engine.ledger.open(window)  # and killed here
    toy.land("day-10-part-1b", whole[120:160])
    with toy.engine() as engine:
        assert [w.id for w in engine.pending()] == ["day-10-part-1..day-10-part-2"]
        one(engine)
        assert engine.pending() == []
        assert str(engine.gathering.small).startswith("window day-10-part-1b waits for more rows: 40 of 100")
