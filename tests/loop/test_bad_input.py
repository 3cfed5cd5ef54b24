"""Whatever a data supplier gets wrong ends in one clear sentence, and the next good window is served."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toy import ROWS, Toy, one, rows, the_next_good_window_is_served

from engine.configuration import ConfigurationError
from engine.loop import Loop

DAYS = itertools.count(100)
Change = Callable[[pl.DataFrame], pl.DataFrame]


def some(column: str, value: object, share: float = 0.01) -> Change:
    """The same rows with `value` in a few of them."""
    chosen = pl.int_range(pl.len()) < share * pl.len()
    return lambda frame: frame.with_columns(pl.when(chosen).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))


@pytest.fixture(scope="module")
def at_work(founded: Toy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Toy, Loop]]:
    """One engine at work through all of this, as it would be."""
    project = founded.copy(tmp_path_factory.mktemp("bad") / "project")
    with project.served() as toy, toy.engine() as engine:
        yield toy, engine


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda f: f.drop("speed"), "speed: the column is missing; the window has at, load", id="missing"),
        pytest.param(
            lambda f: f.rename({"speed": "Speed"}),
            "speed: the column is missing; did the supplier rename it to 'Speed'?",
            id="renamed",
        ),
        pytest.param(lambda f: f.cast({"speed": pl.String}), "speed: holds String, expected a number", id="retyped"),
        pytest.param(lambda f: f.cast({"kind": pl.Binary}), "kind: holds Binary, expected a category", id="bytes"),
        pytest.param(
            lambda f: f.with_columns(pl.lit(None, pl.Float64).alias("load")),
            f"load: {ROWS} of {ROWS} rows are missing; at most ",  # what the windows before have taught, or 99%
            id="all null",
        ),
        pytest.param(
            some("wear", float("nan"), 0.1), f"wear: the target is null, NaN or infinite in 80 of {ROWS} rows", id="target NaN"
        ),
        pytest.param(
            some("wear", float("inf"), 0.1), f"wear: the target is null, NaN or infinite in 80 of {ROWS} rows", id="target inf"
        ),
        pytest.param(
            some("wear", None, 0.1), f"wear: the target is null, NaN or infinite in 80 of {ROWS} rows", id="target null"
        ),
        pytest.param(lambda f: f.drop("wear"), "wear: the column is missing", id="no target"),
        pytest.param(
            lambda f: f.with_columns(pl.lit(20.0).alias("wear")),
            f"wear: the target is 20.0 in all {ROWS} rows: nothing can be learnt from it (`stream.contract.constant_target=true`",
            id="constant target",
        ),
        pytest.param(some("at", None), "at: the time is null in 8 rows", id="time null"),
        pytest.param(
            lambda f: f.with_columns(pl.col("at").to_physical()),
            "at: the time column holds Int64, and Datetime(time_unit='us', time_zone=None) in the windows before (",
            id="time by another clock",
        ),
        pytest.param(lambda f: f.clear(), "0 rows; at least 100 are needed (`stream.contract.min_rows`)", id="empty"),
    ],
)
def test_a_broken_window_is_quarantined_with_its_reason(at_work: tuple[Toy, Loop], change: Change, message: str) -> None:
    toy, engine = at_work
    day = next(DAYS)
    toy.land(f"day-{day}", change(rows(day)))
    closing = one(engine)
    assert closing.outcome == "quarantined"
    assert closing.reason.startswith(message)
    the_next_good_window_is_served(toy, engine, next(DAYS))


def test_what_nobody_can_accept_is_named_beside_a_broken_limit(at_work: tuple[Toy, Loop]) -> None:
    toy, engine = at_work
    day = next(DAYS)
    toy.land(f"day-{day}", rows(day).with_columns(pl.col("at").to_physical(), pl.lit(20.0).alias("wear")))
    closing = one(engine)
    assert closing.reason.startswith(f"wear: the target is 20.0 in all {ROWS} rows")
    assert "numbers and dates or times have no order together" in closing.reason
    with pytest.raises(ConfigurationError, match=r"cannot be accepted, nothing .* on it: at: the time column holds"):
        toy("retry", f"day-{day}", "--accept")
    the_next_good_window_is_served(toy, engine, next(DAYS))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda f: f.with_columns(pl.lit("x").alias("note")), id="an extra column"),
        pytest.param(lambda f: f.select(reversed(f.columns)), id="another order of columns"),
        pytest.param(some("kind", "never seen"), id="a new category"),
        pytest.param(some("load", float("inf")), id="an infinity"),
        pytest.param(some("load", float("-inf")), id="a negative infinity"),
        pytest.param(some("load", 2**62 + 1.0), id="a number beyond FP32"),
        pytest.param(some("kind", None), id="a null category"),
        pytest.param(lambda f: f.cast({"kind": pl.Categorical, "speed": pl.Float32}), id="narrower types"),
        pytest.param(lambda f: f.cast({"kind": pl.Enum(["a", "b", "c"]), "at": pl.Datetime("ms", "UTC")}), id="other types"),
    ],
)
def test_what_can_be_borne_is_borne(at_work: tuple[Toy, Loop], change: Change) -> None:
    toy, engine = at_work
    day = next(DAYS)
    toy.land(f"day-{day}", change(rows(day)))
    closing = one(engine)
    assert (closing.outcome, closing.reason) == ("kept", "0 columns drifted, 1 needed")
    the_next_good_window_is_served(toy, engine, next(DAYS))


def test_a_file_cut_short_is_waited_for_and_then_quarantined(
    at_work: tuple[Toy, Loop], capsys: pytest.CaptureFixture[str]
) -> None:
    toy, engine = at_work
    day = next(DAYS)
    path = toy.land(f"day-{day}", rows(day))
    path.write_bytes(path.read_bytes()[:-30])
    assert list(engine.carry_pending()) == []
    assert toy("status") == 0
    assert f"  day-{day} cannot be read yet: left until " in capsys.readouterr().out
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))
    closing = one(engine)
    assert closing.outcome == "quarantined"
    assert closing.reason.startswith("the file cannot be read as Parquet (")
    assert "deliver it again" in closing.reason
    the_next_good_window_is_served(toy, engine, next(DAYS))


def test_a_file_whose_middle_is_damaged_is_quarantined(at_work: tuple[Toy, Loop]) -> None:
    toy, engine = at_work
    day = next(DAYS)
    path = toy.land(f"day-{day}", rows(day))
    whole = bytearray(path.read_bytes())
    whole[40:4000] = bytes(3960)
    path.write_bytes(whole)
    closing = one(engine)
    assert closing.outcome == "quarantined"
    assert closing.reason.startswith("the file cannot be read as Parquet (")
    the_next_good_window_is_served(toy, engine, next(DAYS))


def test_text_that_is_no_utf8_is_quarantined(at_work: tuple[Toy, Loop]) -> None:
    toy, engine = at_work
    day = next(DAYS)
    table = rows(day).to_arrow()
    latin = pa.array([b"caf\xe9"] * ROWS, pa.binary())
    text = pa.Array.from_buffers(pa.utf8(), ROWS, latin.buffers())
    path = toy.root / "windows" / f".day-{day}.parquet"
    pq.write_table(table.set_column(table.schema.get_field_index("kind"), "kind", text), path, use_dictionary=False)
    path.rename(path.with_name(f"day-{day}.parquet"))
    closing = one(engine)
    assert closing.outcome == "quarantined"
    assert closing.reason.startswith("the file cannot be read as Parquet (")
    the_next_good_window_is_served(toy, engine, next(DAYS))


def test_too_few_rows_wait_for_the_next_window_and_go_with_it(at_work: tuple[Toy, Loop]) -> None:
    toy, engine = at_work
    first, second = next(DAYS), next(DAYS)
    toy.land(f"day-{first}", rows(first).head(40))
    assert list(engine.carry_pending()) == []
    toy.land(f"day-{second}", rows(second))
    assert one(engine).outcome == "kept"
    window = toy.cycles()[-1].window
    assert (window.id, window.rows) == (f"day-{first}..day-{second}", 40 + ROWS)
    assert list(engine.carry_pending()) == []
    the_next_good_window_is_served(toy, engine, next(DAYS))


def test_the_same_window_twice_is_worked_on_once(at_work: tuple[Toy, Loop]) -> None:
    toy, engine = at_work
    day = next(DAYS)
    toy.land(f"day-{day}", rows(day))
    toy.land(f"day-{day}-again", rows(day))
    assert one(engine).outcome == "kept"
    assert list(engine.carry_pending()) == []
    the_next_good_window_is_served(toy, engine, next(DAYS))


def test_a_loss_that_turns_nan_rejects_the_challenger_and_says_what_to_do(toy: Toy) -> None:
    toy.land("day-2", rows(2, turned=True))
    with toy.engine("model.learning_rate=1e30") as engine:
        closing = one(engine)
    assert closing.outcome == "rejected"
    assert closing.reason.startswith("the loss on day-2 became nan by step ")
    assert "lower model.learning_rate" in closing.reason
    with toy.engine() as engine:
        the_next_good_window_is_served(toy, engine, next(DAYS))


# classes

SORTED = """
# @package _global_
defaults:
  - override /trigger: drift
stream:
  name: toy
  source: {_target_: engine.windows.ParquetFolder, folder: windows}
  target: grade
  task: multiclass
  classes: [low, middle, high]
  time: at
  columns: {speed: number, load: number, kind: category}
model: {width: 16, members: 2, bins: 8, learning_rate: 0.01}
gate: {min_rows: 100, max_latency_ratio: 1000}
"""


def graded(seed: int) -> pl.DataFrame:
    frame = rows(seed)
    wear = pl.col("wear")
    grade = pl.when(wear < 19).then(pl.lit("low")).when(wear < 23).then(pl.lit("middle")).otherwise(pl.lit("high"))
    return frame.select("at", "speed", "load", "kind", grade.alias("grade"))


def test_classes_are_served_and_windows_with_strange_ones_are_quarantined(empty: Toy) -> None:
    toy = empty
    (toy.root / "stream" / "toy.yaml").write_text(SORTED)
    with toy.engine() as engine:
        toy.land("day-1", graded(1))
        assert one(engine).reason.startswith("there is no champion yet → log_loss ")
        for day, change, message in (
            (2, some("grade", "hihg"), "grade: 8 of 800 rows hold 'hihg', which is none of the classes low, middle, high"),
            (3, lambda f: f.with_columns(pl.lit("low").alias("grade")), "grade: the target is low in all 800 rows"),
            (4, lambda f: f.with_columns(pl.col("at").alias("grade")), "grade: the target holds Datetime"),
            (5, some("grade", None, 0.1), "grade: the target is null, NaN or infinite in 80 of 800 rows"),
        ):
            toy.land(f"day-{day}", change(graded(day)))
            closing = one(engine)
            assert closing.outcome == "quarantined"
            assert closing.reason.startswith(message)
        toy.land("day-6", graded(6))
        assert one(engine).outcome == "kept"
        chances = toy.answer().outputs["grade"]
    assert chances.shape == (4, 3)
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)
    metrics = toy.result(toy.cycles()[-1], "score")["score"]["metrics"]  # type: ignore[index]
    assert metrics["accuracy"] > 0.8


def test_other_columns_than_those_of_the_live_version_are_refused_before_any_window_is_begun(toy: Toy) -> None:
    path = toy.root / "stream" / "toy.yaml"
    before = path.read_text()
    path.write_text(before.replace("    kind: category\n", "    weight: number\n"))
    toy.land("day-2", rows(2))
    with pytest.raises(
        ConfigurationError,
        match=r"'toy' has a live version that was made with other settings of columns\.kind, columns\.weight \(`stream`\)\. Put",
    ):
        toy("update")
    path.write_text(before)
    assert toy("update") == 0
    assert toy.outcomes()[-1] == ("day-2", "kept", 1)
    path.write_text(before.replace("target: wear", "target: waer"))
    with pytest.raises(ConfigurationError, match=r"; there is no 'waer' in window day-2; did you mean 'wear'\? Put them back"):
        toy("update")


def test_rows_without_a_target_are_answered_and_left_out_of_all_else(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    holes = (pl.int_range(pl.len()) % 25 == 3) | (pl.int_range(pl.len()) >= 796)  # every slice has some
    frame = rows(2).with_columns(pl.when(~holes).then("wear").alias("wear"))
    toy.land("day-2", frame)
    with toy.engine("trigger=always", "gate.margin=-1") as engine:
        closing = one(engine)
    assert (closing.outcome, closing.version) == ("promoted", 2)
    cycle = toy.cycles()[-1]
    answers = np.load(toy.result(cycle, "predict")["answers"])  # type: ignore[index]
    assert answers.shape == (800,)
    truth = frame["wear"].to_numpy()
    rmse = float(np.sqrt(np.nanmean((answers - truth) ** 2)))
    score = toy.result(cycle, "score")["score"]  # type: ignore[index]
    missing = frame["wear"].null_count()
    assert score["rows"] == 800 - missing
    assert score["metrics"]["rmse"] == pytest.approx(rmse, rel=1e-12)
    assert toy.result(cycle, "drift")["rows_current"] == 800  # type: ignore[index]
    training = toy.result(cycle, "train")
    assert training["rows_fit"] + training["rows_stop"] + training["rows_judge"] == 800 - missing  # type: ignore[index]
    assert toy.result(cycle, "judge.1")["rows"] == training["rows_judge"]  # type: ignore[index]
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("day-2 "))
    assert toy("status") == 0
    assert f"\n  {line}\n" in capsys.readouterr().out
    assert toy("explain", "day-2") == 0
    told = capsys.readouterr().out
    left_out = f"{missing} rows without a target, or with one outside of its limits, left out"
    assert f"on {800 - missing} rows before anybody trained on them, {left_out}: " in told
    assert f" to stop, {left_out}\n" in told


def test_a_target_outside_of_its_limits_costs_no_window_and_spoils_no_training(toy: Toy) -> None:
    """One in two hundred is a typing error: 1e30. It is answered and told of, and the fine-tune after it is as good as ever."""
    wrong = pl.int_range(pl.len()) % 200 == 199  # the last one among the rows that judge
    frame = rows(2).with_columns(pl.when(wrong).then(1e30).otherwise("wear").alias("wear"))
    toy.land("day-2", frame)
    limits = "+stream.contract.columns.wear={min: -50, max: 100}"
    with toy.engine("trigger=always", "gate.margin=-1", limits) as engine:
        closing = one(engine)
    assert (closing.outcome, closing.version) == ("promoted", 2)
    cycle = toy.cycles()[-1]
    score = toy.result(cycle, "score")["score"]  # type: ignore[index]
    assert (score["rows"], score["metrics"]["rmse"] < 3) == (796, True)
    training = toy.result(cycle, "train")
    assert training["rows_fit"] + training["rows_stop"] + training["rows_judge"] == 796  # type: ignore[index]
    assert toy.result(cycle, "judge.1")["challenger"]["metrics"]["rmse"] < 3  # type: ignore[index]


def test_targets_that_a_person_accepted_are_trained_and_scored_on(toy: Toy) -> None:
    frame = rows(2).with_columns(pl.when(pl.int_range(pl.len()) % 20 == 19).then(60.0).otherwise("wear").alias("wear"))
    toy.land("day-2", frame)
    limits = "+stream.contract.columns.wear={min: -50, max: 50}"
    with toy.engine(limits) as engine:
        assert one(engine).outcome == "quarantined"
    assert toy("retry", "day-2", "--accept", limits, "trigger=always", "gate.margin=-1") == 0
    cycle = toy.cycles()[-1]
    assert cycle.window.accepted
    assert toy.result(cycle, "score")["score"]["rows"] == 800  # type: ignore[index]
    training = toy.result(cycle, "train")
    assert training["rows_fit"] + training["rows_stop"] + training["rows_judge"] == 800  # type: ignore[index]
