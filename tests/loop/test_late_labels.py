"""Windows that are answered when they land and scored and trained on when their labels come, with a real Triton and MLflow."""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from toy import ROWS, STREAM, Toy, one, rows

from engine import app
from engine.configuration import resolve
from engine.ledger import Ledger
from engine.loop import Loop
from engine.windows import SourceError

LATER = STREAM.replace("  target: wear\n", "  target: wear\n  labels: {folder: labels, key: id, coverage: 0.75}\n")
DAYS = itertools.count(100)


def measured(day: int, turned: bool = False, count: int = ROWS) -> pl.DataFrame:
    """The whole truth about a day, which nobody has in one piece."""
    return rows(day, turned, count).with_columns(id=pl.int_range(pl.len()) + 10_000 * day)


def land(toy: Toy, day: int, turned: bool = False) -> pl.DataFrame:
    """Let the features of a day arrive; returns the whole truth about it."""
    frame = measured(day, turned)
    toy.land(f"day-{day}", frame.drop("wear"))
    return frame


def deliver(toy: Toy, name: str, *frames: pl.DataFrame) -> Path:
    """Let a label file arrive, its rows in no order."""
    path = toy.root / "labels" / f"{name}.parquet"
    whole = pl.concat([frame.select("id", "wear") for frame in frames])
    whole.sample(fraction=1, shuffle=True, seed=1).write_parquet(path.with_name(f".{path.name}"))
    return path.with_name(f".{path.name}").rename(path)


def carried(engine: Loop) -> list[tuple[str, str]]:
    """Which windows ended, and how."""
    ended: list[str] = []
    engine.listener.closed = lambda window, closing, seconds: ended.append(window.id)  # type: ignore[method-assign]
    return [(ended[-1], closing.outcome.value) for closing in engine.carry_pending()]


def step(toy: Toy, day: int, name: str) -> dict[str, object]:
    cycle = [cycle for cycle in toy.cycles() if cycle.window.id == f"day-{day}"][-1]
    found = toy.result(cycle, name)
    assert isinstance(found, dict), name
    return found


def rmse_by_hand(toy: Toy, day: int, truth: pl.DataFrame) -> float:
    """From the file of what Triton said when the day landed; the toy's rows are in order of time."""
    said = np.load(str(step(toy, day, "predict")["answers"]))
    assert said.shape == (ROWS,)
    first = int(truth["id"].min()) // 10_000 * 10_000
    error = said[truth["id"].to_numpy() - first] - truth["wear"].to_numpy()
    return float(np.sqrt(np.mean(error**2)))


def make(root: Path) -> Toy:
    toy = Toy(root).make()
    (toy.root / "stream" / "toy.yaml").write_text(LATER)
    (toy.root / "labels").mkdir()
    return toy


@pytest.fixture(scope="module")
def begun(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A project whose first window got its labels and was promoted as version 1; to be copied, not used."""
    toy = make(tmp_path_factory.mktemp("begun") / "project")
    deliver(toy, "day-1", land(toy, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(toy.root)
        toy("update")
    assert toy.outcomes() == [("day-1", "promoted", 1)]
    return toy


@pytest.fixture
def later(begun: Toy, tmp_path: Path) -> Iterator[Toy]:
    """A project with version 1 live. It is the current folder."""
    with begun.copy(tmp_path / "project").served() as toy:
        yield toy


@pytest.fixture(scope="module")
def at_work(begun: Toy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Toy, Loop]]:
    """One engine at work through all the tests that leave version 1 live."""
    with begun.copy(tmp_path_factory.mktemp("later") / "project").served() as toy, toy.engine() as engine:
        yield toy, engine


# one engine, version 1 live


def test_a_window_is_answered_when_it_lands_and_scored_when_its_labels_come(
    at_work: tuple[Toy, Loop], capsys: pytest.CaptureFixture[str]
):
    toy, engine = at_work
    day = next(DAYS)
    truth = land(toy, day)
    assert carried(engine) == []
    assert step(toy, day, "predict")["version"] == 1
    assert carried(engine) == []

    capsys.readouterr()
    toy("status")
    assert f"1 window waits for labels: day-{day}\n" in capsys.readouterr().out
    toy("explain", f"day-{day}")
    told = capsys.readouterr().out
    assert "predicted by version 1 at " in told
    assert ", not labelled yet" in told
    toy("report", "--output", "page.html")
    page = (toy.root / "page.html").read_text()
    assert f'<div class="alert">1 window waits for labels: day-{day}.</div>' in page
    assert "is unfinished" not in page

    known = truth.sample(640, seed=day)
    deliver(toy, f"day-{day}", known)
    assert carried(engine) == [(f"day-{day}", "kept")]
    live = step(toy, day, "score")
    assert live["version"] == 1
    assert live["score"]["rows"] == 640
    assert live["score"]["metrics"]["rmse"] == pytest.approx(rmse_by_hand(toy, day, known), rel=1e-12)

    capsys.readouterr()
    toy("explain", f"day-{day}")
    told = capsys.readouterr().out
    assert ", labelled at " in told
    assert "640 of 800 rows, from " in told
    toy("status")
    assert "for labels" not in capsys.readouterr().out


def test_labels_of_many_windows_may_come_in_one_file(at_work: tuple[Toy, Loop]):
    toy, engine = at_work
    days = [next(DAYS) for _ in range(3)]
    truths = []
    for day in days:
        truths.append(land(toy, day))
        assert carried(engine) == []
    deliver(toy, f"week-{days[0]}", *truths)
    assert carried(engine) == [(f"day-{day}", "kept") for day in days]


def test_of_two_windows_that_wait_the_second_may_be_labelled_first(at_work: tuple[Toy, Loop]):
    toy, engine = at_work
    first, second = next(DAYS), next(DAYS)
    truths = {day: land(toy, day) for day in (first, second)}
    assert carried(engine) == []
    deliver(toy, f"day-{second}", truths[second])
    assert carried(engine) == [(f"day-{second}", "kept")]
    deliver(toy, f"day-{first}", truths[first])
    assert carried(engine) == [(f"day-{first}", "kept")]
    for day, truth in truths.items():
        assert step(toy, day, "score")["score"]["metrics"]["rmse"] == pytest.approx(rmse_by_hand(toy, day, truth), rel=1e-12)


def test_labels_may_come_before_their_window(at_work: tuple[Toy, Loop]):
    toy, engine = at_work
    day = next(DAYS)
    deliver(toy, f"day-{day}", measured(day))
    assert carried(engine) == []
    land(toy, day)
    assert carried(engine) == [(f"day-{day}", "kept")]


def test_labels_come_in_parts_and_may_be_corrected_until_enough_are_there(at_work: tuple[Toy, Loop]):
    toy, engine = at_work
    day = next(DAYS)
    truth = land(toy, day)
    wrong = truth.with_columns(pl.col("wear") + 1000)
    deliver(toy, f"day-{day}-a", wrong[:400])
    assert carried(engine) == []
    deliver(toy, f"day-{day}-a", truth[:400])
    assert carried(engine) == []
    deliver(toy, f"day-{day}-b", truth[300:])
    assert carried(engine) == [(f"day-{day}", "kept")]
    score = step(toy, day, "score")["score"]
    assert score["metrics"]["rmse"] == pytest.approx(rmse_by_hand(toy, day, truth), rel=1e-12)
    deliver(toy, f"day-{day}-b", wrong[300:])
    assert carried(engine) == []
    assert step(toy, day, "score")["score"] == score


def test_a_label_file_cut_short_is_waited_for_then_named_and_delivered_again(
    at_work: tuple[Toy, Loop], capsys: pytest.CaptureFixture[str]
):
    toy, engine = at_work
    day = next(DAYS)
    path = deliver(toy, f"day-{day}", land(toy, day))
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    capsys.readouterr()
    assert carried(engine) == []
    assert capsys.readouterr().out.endswith("  waits for labels: 0 of 800 rows have one, 75% needed\n")
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))
    engine.waiting.clear()  # as a process that starts then
    assert carried(engine) == []
    assert f"; the label file {path} cannot be used (" in capsys.readouterr().out
    path.write_bytes(whole)
    assert carried(engine) == [(f"day-{day}", "kept")]


def test_labels_that_are_wrong_quarantine_the_window_until_it_is_tried_again(at_work: tuple[Toy, Loop]):
    toy, engine = at_work
    day = next(DAYS)
    truth = land(toy, day)
    assert carried(engine) == []
    good = deliver(toy, f"day-{day}", truth)
    bad = deliver(toy, f"day-{day}-too", truth[:3].with_columns(pl.col("wear") + 1))
    closing = one(engine)
    assert closing.outcome == "quarantined"
    assert closing.reason.startswith("id: 3 of 800 rows have labels that contradict each other (")
    assert f" in {bad}, {good}: " in closing.reason or f" in {good}, {bad}: " in closing.reason
    (report,) = (toy.state / "quarantine" / "toy").glob(f"day-{day}.*.json")
    assert json.loads(report.read_text())["breaches"][0]["column"] == "id"
    bad.unlink()
    assert carried(engine) == []
    assert toy("retry", f"day-{day}") == 0
    assert carried(engine) == [(f"day-{day}", "kept")]


def test_a_label_that_is_no_number_quarantines_the_window(at_work: tuple[Toy, Loop]):
    toy, engine = at_work
    day = next(DAYS)
    truth = land(toy, day)
    deliver(toy, f"day-{day}", truth.with_columns(pl.when(pl.col("id") % 10 == 0).then(None).otherwise("wear").alias("wear")))
    assert one(engine).reason.startswith("wear: the target is null, NaN or infinite in 80 of 800 rows")


def test_a_window_whose_keys_are_not_unique_is_quarantined_at_once(at_work: tuple[Toy, Loop]):
    toy, engine = at_work
    day = next(DAYS)
    toy.land(f"day-{day}", measured(day).drop("wear").with_columns(pl.col("id") // 2 * 2))
    assert one(engine).reason.startswith("id: the key is not unique: 400 of 800 rows repeat one (")


def test_a_waiting_window_can_be_begun_again_with_todays_configuration(at_work: tuple[Toy, Loop]):
    toy, engine = at_work
    day = next(DAYS)
    truth = land(toy, day)
    assert carried(engine) == []
    assert toy("retry", f"day-{day}") == 0
    assert carried(engine) == []
    deliver(toy, f"day-{day}", truth)
    assert carried(engine) == [(f"day-{day}", "kept")]
    attempts = [(c.attempt, c.outcome) for c in toy.cycles() if c.window.id == f"day-{day}"]
    assert attempts == [(1, "interrupted"), (2, "kept")]


def test_a_label_folder_that_is_not_there_is_said_so(at_work: tuple[Toy, Loop]):
    toy, engine = at_work
    (toy.root / "labels").rename(toy.root / "elsewhere")
    with pytest.raises(
        SourceError, match=r"the label folder .*labels does not exist: create it, or set `stream\.labels\.folder`"
    ):
        carried(engine)
    (toy.root / "elsewhere").rename(toy.root / "labels")


# an engine of its own


def test_killed_while_it_waits_a_new_engine_goes_on(later: Toy, monkeypatch: pytest.MonkeyPatch):
    truth = land(later, 2)
    with later.engine() as engine:
        assert carried(engine) == []
    assert later("update") == 0  # ends with the window still open
    assert later.outcomes()[-1] == ("day-2", None, None)
    answered = Path(str(step(later, 2, "predict")["answers"])).stat().st_mtime_ns
    deliver(later, "day-2", truth)
    record = Ledger.record

    def killed(self: Ledger, cycle: object, name: str, *rest: object) -> None:
        if name == "label":
            raise KeyboardInterrupt
        record(self, cycle, name, *rest)  # type: ignore[arg-type]

    with later.engine() as engine:
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "record", killed)
            with pytest.raises(KeyboardInterrupt):
                carried(engine)
        assert len(list((later.state / "labelled" / "toy").glob("day-2.*.parquet"))) == 1
    with later.engine() as engine:
        assert carried(engine) == [("day-2", "kept")]
    assert len(list((later.state / "labelled" / "toy").glob("day-2.*.parquet"))) == 1
    assert Path(str(step(later, 2, "predict")["answers"])).stat().st_mtime_ns == answered
    assert step(later, 2, "score")["score"]["metrics"]["rmse"] == pytest.approx(rmse_by_hand(later, 2, truth), rel=1e-12)


@pytest.mark.slow
def test_a_score_belongs_to_the_version_that_answered_though_another_is_live_by_then(
    later: Toy, capsys: pytest.CaptureFixture[str]
):
    with later.engine() as engine:
        truths = {day: land(later, day, turned=True) for day in (2, 3, 4)}
        assert carried(engine) == []
        # Of the two that are labelled the later one retrains, for both; the third still waits.
        deliver(later, "days-2-3", truths[2], truths[3])
        assert carried(engine) == [("day-2", "kept"), ("day-3", "promoted")]
        assert later.cycles()[1].reason.endswith("left to the latest window of the backlog")
        assert later.answer().version == 2
        trained = step(later, 3, "train")
        assert trained["windows"][-2:] == ["day-2", "day-3"]
        assert sum(trained[f"rows_{part}"] for part in ("fit", "stop", "judge")) == 2 * ROWS

        deliver(later, "day-4", truths[4])
        assert one(engine).reason == (
            "version 1 answered this window; version 2, live by now, is judged by those that it answers"
        )
        live = step(later, 4, "score")
        assert live["version"] == 1
        assert live["score"]["metrics"]["rmse"] == pytest.approx(rmse_by_hand(later, 4, truths[4]), rel=1e-12)

        # What came too late for version 2 is fresh to the next fine-tune.
        later("trigger", "--reason", "new tariff")
        deliver(later, "day-5", land(later, 5, turned=True))
        closing = one(engine)
        assert step(later, 5, "score")["version"] == 2
        assert closing.outcome in ("promoted", "rejected")
        trained = step(later, 5, "train")
        assert sum(trained[f"rows_{part}"] for part in ("fit", "stop", "judge")) == 2 * ROWS

    capsys.readouterr()
    later("explain", "2")
    told = capsys.readouterr().out
    assert "day-3: 800 rows" in told
    assert "version 1, from window day-1: there is no champion yet" in told
    later("report", "--output", "page.html")
    assert re.search(r"<title>day-4: the first model left alone, rmse [0-9.]+", (later.root / "page.html").read_text())

    # The lineage of version 2 names the labelled files by digest.
    named = dict(later.registry("select version, value from model_version_tags where key = 'warmstart.windows'"))
    lineage = json.loads(str(named[2] if 2 in named else named["2"]))
    for day in (2, 3):
        window = step(later, day, "label")["window"]
        assert lineage[f"day-{day}"] == window["digest"]
        assert Path(window["uri"]).name == f"day-{day}.{window['digest'][:12]}.parquet"


@pytest.mark.slow
def test_the_first_window_waits_for_its_labels_and_the_ones_behind_it_do_not_train_a_second_first_version(
    runtime: Path, tmp_path: Path
):
    with make(tmp_path / "project").served() as toy:
        with toy.engine() as engine:
            truths = {day: land(toy, day) for day in (1, 2, 3)}
            assert carried(engine) == []
            deliver(toy, "day-1", truths[1])
            assert one(engine).reason.startswith("there is no champion yet → rmse ")
            deliver(toy, "day-2", truths[2])
            assert one(engine).reason.startswith("no version answered this window; version 1, live by now")
        # With patience at its end, what is there is enough or it is not.
        deliver(toy, "day-3", truths[3][:40])
        assert toy("update") == 0
        assert toy("retry", "day-3", "stream.labels.patience=0s") == 3
        assert toy.cycles()[-1].reason.startswith(
            "wear: 40 rows have a label; at least 100 are needed (`stream.contract.min_rows`) (report: "
        )
        deliver(toy, "day-3", truths[3][:200])
        assert toy("retry", "day-3", "stream.labels.patience=0s") == 0
        assert toy.outcomes()[-1] == ("day-3", "kept", 1)
        assert step(toy, 3, "score")["score"]["rows"] == 200


@pytest.mark.slow
def test_a_drafted_stream_with_labels_works_as_it_is(later: Toy, monkeypatch: pytest.MonkeyPatch):
    deliver(later, "day-2", land(later, 2))
    (later.root / "stream" / "toy.yaml").unlink()
    app.cli(["init", "windows", "--target", "wear", "--labels", "labels", "--key", "id", "--name", "mine"], standalone_mode=False)
    drafted = (later.root / "stream" / "mine.yaml").read_text()
    assert len(drafted.splitlines()) <= 25
    assert "labels: {folder: labels, key: id}" in drafted
    assert set(resolve(["stream=mine"])["stream"]["columns"]) == {"speed", "load", "kind"}
    with pytest.raises(SystemExit) as end:
        app.cli(["update", "stream=mine"], standalone_mode=False)
    assert end.value.code == 0
    with later.ledger() as ledger:
        assert [(c.window.id, c.outcome) for c in ledger.cycles("mine")] == [("day-1", "promoted"), ("day-2", "kept")]


# the page that tells of it


@pytest.mark.slow
def test_the_example_of_the_page_does_what_the_page_says(runtime: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    page = (Path(__file__).parents[2] / "docs" / "labels.md").read_text()
    toy = Toy(tmp_path / "project")
    for folder in ("stream", "windows", "labels"):
        (toy.root / folder).mkdir(parents=True)
    with toy.served():
        for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
            if kind == "yaml":
                Path("stream/wear.yaml").write_text(block)
            elif kind == "python":
                exec(compile(block, "docs/labels.md", "exec"), {})
            else:
                for line in block.splitlines():
                    typed, _, shown = line.partition("#")
                    follow(typed.split())
                    said = capsys.readouterr().out
                    for words in filter(None, (part.strip() for part in shown.split("…"))):
                        assert words in said
    with toy.ledger() as ledger:
        assert [(c.window.id, c.outcome) for c in ledger.cycles("wear")] == [("week-1", "promoted"), ("week-2", "kept")]


def follow(typed: list[str]) -> None:
    """Do what somebody types in a shell."""
    if typed[0] == "mv":
        Path(typed[1]).rename(typed[2])
        return
    code: object = 0
    try:
        app.cli(typed[1:], standalone_mode=False)
    except SystemExit as end:
        code = end.code
    assert (typed[0], code) == ("warmstart", 0)
