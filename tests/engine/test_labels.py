"""Windows and label files, joined: what is known of which row, whatever comes in which order."""

from __future__ import annotations

import math
import os
import tempfile
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import labels
from engine.configuration import ConfigurationError, resolve
from engine.contracts.contract import Contract
from engine.labels import ROW, LabelFolder, Labels, LabelsPending, join
from engine.nouns import Column, Labelled, Schema, Window
from engine.windows import ParquetFolder
from engine.wiring import parts

SCHEMA = Schema((Column("x", "number"),), target="y", time="at", key="id")
CLASSES = Schema((Column("x", "number"),), target="y", task="multiclass", classes=("0", "1", "2"), key="id")
KEYS = ["a", "b", "c", "d"]

words = st.sampled_from([*KEYS, "elsewhere"])
numbers = st.sampled_from([1.0, 2.0, -0.0, 0.0, math.nan, math.inf, None])
said_rows = st.lists(st.tuples(words, numbers, st.sampled_from(["1", "2"])), max_size=12)


def table(rows: list[tuple[str, float | None, str]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"key": pl.String, "label": pl.Float64, "file": pl.String}, orient="row")


def same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))


@given(rows=said_rows, keys=st.permutations(KEYS))
def test_every_row_has_the_label_that_was_said_of_it_or_is_unknown_or_disputed(rows, keys) -> None:  # type: ignore[no-untyped-def]
    joined = join(pl.Series(keys), table(rows))
    about = {key: [label for k, label, _ in rows if k == key] for key in keys}
    assert joined.known.to_list() == [bool(about[key]) for key in keys]
    assert joined.count == sum(map(bool, about.values()))
    disputed = {key for key, said in about.items() if any(not same(said[0], other) for other in said)}
    assert set(joined.disputed) == disputed
    for key, label in zip(keys, joined.labels.to_list(), strict=True):
        if key not in disputed:
            assert same(label, about[key][0] if about[key] else None)
    assert joined.files == tuple(sorted({file for key, _, file in rows if key in about}))


@given(rows=said_rows, data=st.data())
def test_order_and_repetition_change_nothing(rows, data) -> None:  # type: ignore[no-untyped-def]
    again = data.draw(st.permutations(rows + rows[:3]))
    one, other = (join(pl.Series(KEYS), table(list(each))) for each in (rows, again))
    assert one.known.to_list() == other.known.to_list()
    assert one.disputed == other.disputed
    undisputed = [key not in one.disputed for key in KEYS]
    assert one.labels.filter(undisputed).equals(other.labels.filter(undisputed), null_equal=True)


files = st.dictionaries(words, st.sampled_from([1.0, 2.0]), max_size=4)
happens = st.lists(st.tuples(st.sampled_from(["f", "g"]), st.none() | files), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(happens=happens)
def test_a_folder_looked_at_again_and_again_says_what_one_look_at_it_now_would(happens) -> None:  # type: ignore[no-untyped-def]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        window = landed(root, KEYS)
        watched = LabelFolder(Labels(str(root / "labels"), "id"), SCHEMA)
        for moment, (name, content) in enumerate(happens):
            path = root / "labels" / f"{name}.parquet"
            if content is None:
                path.unlink(missing_ok=True)
            else:
                pl.DataFrame(
                    {"id": list(content), "y": list(content.values())}, schema={"id": pl.String, "y": pl.Float64}
                ).write_parquet(path)
                os.utime(path, (moment, moment))
            fresh = LabelFolder(Labels(str(root / "labels"), "id"), SCHEMA)
            assert watched.ready([window], {}) == fresh.ready([window], {})
            assert outcome(watched, window, root) == outcome(fresh, window, root)


def outcome(folder: LabelFolder, window: Window, root: Path) -> object:
    try:
        found = folder.label(window, Contract(min_rows=1), 0.0, root)
    except LabelsPending as pending:
        return str(pending)
    return found.window, found.breaches, found.files


# one folder, step by step


def landed(root: Path, keys: list[object]) -> Window:
    (root / "windows").mkdir(exist_ok=True)
    (root / "labels").mkdir(exist_ok=True)
    # Later rows first: a labelled file is in the order of time.
    frame = pl.DataFrame({"id": keys, "at": range(len(keys), 0, -1), "x": [0.5 * k for k in range(len(keys))]})
    frame.write_parquet(root / "windows" / "w.parquet")
    (window,) = ParquetFolder(str(root / "windows")).list("toy", None)
    return window


def deliver(root: Path, name: str, ids: list[object], values: list[object], **more: object) -> Path:
    path = root / "labels" / f"{name}.parquet"
    pl.DataFrame({"id": ids, "y": values, **more}).write_parquet(path)
    return path


def labelled(root: Path, window: Window, schema: Schema = SCHEMA, waited: float = 0.0, **given: object) -> Labelled:
    limits = Labels(str(root / "labels"), "id", **given)  # type: ignore[arg-type]
    return LabelFolder(limits, schema).label(window, Contract(min_rows=2), waited, root)


def test_a_labelled_file_is_named_by_its_digest_and_holds_the_rows_that_have_a_label_in_order_of_time(tmp_path: Path) -> None:
    window = landed(tmp_path, [1, 2, 3, 4])
    deliver(tmp_path, "some", [4, 2, 99, 1], [40.0, 20.0, 0.0, 10.0], note=["x"] * 4)
    found = labelled(tmp_path, window, coverage=0.75)
    assert (found.window.id, found.window.rows, found.breaches) == ("w", 3, ())
    assert found.window.uri == str(tmp_path / f"w.{found.window.digest[:12]}.parquet")
    frame = pl.read_parquet(found.window.uri)
    assert frame.select(ROW, "id", "y", "x", "at").rows() == [(0, 4, 40.0, 1.5, 1), (2, 2, 20.0, 0.5, 3), (3, 1, 10.0, 0.0, 4)]
    assert found.files == (str(tmp_path / "labels" / "some.parquet"),)
    again = labelled(tmp_path, window, coverage=0.75)
    assert again.window == found.window


@pytest.mark.parametrize(
    ("stored", "delivered"),
    [(pl.Int32, pl.UInt64), (pl.Int64, pl.String), (pl.String, pl.Categorical), (pl.String, pl.Int64)],
)
def test_a_key_is_the_same_whatever_it_is_stored_as(tmp_path: Path, stored: pl.DataType, delivered: pl.DataType) -> None:
    window = landed(tmp_path, pl.Series([1, 2, 3]).cast(stored))  # type: ignore[arg-type]
    keys = pl.Series([3, 1, 2]).cast(pl.String).cast(delivered)
    deliver(tmp_path, "all", keys, [3.0, 1.0, 2.0])  # type: ignore[arg-type]
    assert pl.read_parquet(labelled(tmp_path, window).window.uri)["y"].to_list() == [3.0, 2.0, 1.0]


def test_what_is_missing_is_said_with_the_files_that_are_of_no_use(tmp_path: Path) -> None:
    window = landed(tmp_path, [1, 2, 3, 4])
    deliver(tmp_path, "good", [1], [1.0])
    deliver(tmp_path, "floats", [2.0], [1.0])
    deliver(tmp_path, "other", [2], [1.0]).write_bytes((tmp_path / "windows" / "w.parquet").read_bytes())
    with pytest.raises(LabelsPending) as pending:
        labelled(tmp_path, window, coverage=0.9)
    said = str(pending.value)
    assert said.startswith("waits for labels: 1 of 4 rows have one, 90% needed; the label file ")
    assert "floats.parquet cannot be used (the key id holds Float64, expected whole numbers or text): deliver it again" in said
    assert "other.parquet cannot be used (" in said


def test_a_file_that_is_being_written_waits_and_one_that_stays_broken_is_named(tmp_path: Path) -> None:
    window = landed(tmp_path, [1, 2])
    path = deliver(tmp_path, "all", [1, 2], [1.0, 2.0])
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(LabelsPending, match=r"waits for labels: 0 of 2 rows have one$"):
        labelled(tmp_path, window)
    os.utime(path, (time.time() - 61,) * 2)
    with pytest.raises(LabelsPending, match=r"all\.parquet cannot be used \(.*\): deliver it again$"):
        labelled(tmp_path, window)
    path.write_bytes(whole)
    assert labelled(tmp_path, window).window.rows == 2


def test_labels_that_contradict_each_other_are_named_with_their_files(tmp_path: Path) -> None:
    window = landed(tmp_path, [1, 2, 3])
    deliver(tmp_path, "first", [1, 2, 3, 77], [1.0, 2.0, 3.0, 0.0])
    deliver(tmp_path, "second", [3, 2, 77], [3.0, 2.5, 1.0])
    (breach,) = labelled(tmp_path, window).breaches
    assert breach.column == "id"
    assert breach.message == (
        f"1 of 3 rows have labels that contradict each other (2) in {tmp_path}/labels/first.parquet, "
        f"{tmp_path}/labels/second.parquet: leave one label for each, then `warmstart retry w`"
    )


@pytest.mark.parametrize(
    ("schema", "values", "message"),
    [
        (SCHEMA, [1.0, None, 2.0], "the target is null, NaN or infinite in 1 of 3 rows"),
        (SCHEMA, [1.0, math.inf, math.nan], "the target is null, NaN or infinite in 2 of 3 rows"),
        (SCHEMA, [1.0, 1.0, 1.0], "the target is 1.0 in all 3 rows: nothing can be learnt from it"),
        (SCHEMA, ["a", "b", "c"], "the target holds String, expected numbers"),
        (CLASSES, [0, 1, 7], "1 of 3 rows hold '7', which is none of the classes 0, 1, 2"),
        (SCHEMA, [[1], [2], [3]], "the target holds List(Int64), expected numbers"),
        (CLASSES, [0, 1, None], "the target is null, NaN or infinite in 1 of 3 rows"),
    ],
)
def test_labels_meet_the_contract_as_targets_in_windows_do(
    tmp_path: Path, schema: Schema, values: list[object], message: str
) -> None:
    window = landed(tmp_path, [1, 2, 3])
    deliver(tmp_path, "all", [1, 2, 3], values)
    (breach,) = labelled(tmp_path, window, schema).breaches
    assert breach.message.startswith(message)


@pytest.mark.parametrize(
    ("odd", "message"),
    [(["three"], "the target holds String, expected numbers"), ([[3]], "what the label files say cannot be joined: ")],
)
def test_files_that_store_labels_as_different_things_are_said_so(tmp_path: Path, odd: list[object], message: str) -> None:
    window = landed(tmp_path, [1, 2, 3])
    deliver(tmp_path, "numbers", [1, 2], [1.0, 2.0])
    deliver(tmp_path, "odd", [3], odd)
    (breach,) = labelled(tmp_path, window).breaches
    assert breach.message.startswith(message)


def test_classes_that_are_no_text_are_named_with_their_file(tmp_path: Path) -> None:
    window = landed(tmp_path, [1, 2, 3])
    deliver(tmp_path, "odd", [1, 2, 3], [[1], [2], [0]])
    with pytest.raises(LabelsPending, match=r"labels/odd\.parquet cannot be used \(cannot cast List type"):
        labelled(tmp_path, window, CLASSES)


def test_classes_are_the_same_whatever_they_are_stored_as(tmp_path: Path) -> None:
    window = landed(tmp_path, [1, 2, 3])
    deliver(tmp_path, "whole", [1, 2], [0, 1])
    deliver(tmp_path, "floats", [2, 3], [1.0, 2.0])
    found = labelled(tmp_path, window, CLASSES)
    assert (found.breaches, pl.read_parquet(found.window.uri)["y"].to_list()) == ((), ["0", "1", "2"])


def test_after_its_patience_a_window_goes_on_with_the_labels_that_are_there_if_they_suffice(tmp_path: Path) -> None:
    window = landed(tmp_path, [1, 2, 3, 4])
    deliver(tmp_path, "one", [1], [1.0])
    with pytest.raises(LabelsPending):
        labelled(tmp_path, window, waited=86_399, patience="1d")
    (breach,) = labelled(tmp_path, window, waited=86_400, patience="1d").breaches
    assert breach.message == "1 rows have a label; at least 2 are needed (`stream.contract.min_rows`)"
    deliver(tmp_path, "two", [2], [2.0])
    assert labelled(tmp_path, window, waited=86_400, patience="1d").window.rows == 2


@pytest.mark.parametrize("seen", [False, True], ids=["by a new process", "by the one that waited"])
def test_a_window_that_is_gone_or_another_when_its_labels_come_is_said_so(tmp_path: Path, seen: bool) -> None:
    window = landed(tmp_path, [1, 2])
    deliver(tmp_path, "all", [1, 2], [1.0, 2.0])

    def breach() -> str:
        (found,) = folder.label(window, Contract(min_rows=2), 0.0, tmp_path).breaches
        return found.message

    folder = LabelFolder(Labels(str(tmp_path / "labels"), "id"), SCHEMA)
    if seen:
        assert folder.ready([window], {}) == {window.digest}
        landed(tmp_path, [1, 2, 3])
        assert breach() == "other bytes are there now than those that landed: deliver it again"
    Path(window.uri).unlink()
    assert breach() == ("it is gone: deliver it again" if seen else "the window's file cannot be read any more: deliver it again")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([1, 2, 2, 1], "id: the key is not unique: 2 of 4 rows repeat one (1, 2)"),
        ([1, None, 3, 4], "id: the key is null in 1 of 4 rows: no label can be found for them"),
        ([1.5, 2.0, 3.0, 4.0], "id: the key holds Float64, expected whole numbers or text (`stream.labels.key`)"),
    ],
)
def test_a_window_whose_rows_cannot_be_told_apart_breaks_its_contract(keys: list[object], message: str) -> None:
    frame = pl.DataFrame({"id": keys, "at": [1, 2, 3, 4], "x": [0.5] * 4})
    (breach,) = Contract(min_rows=2).check_frame(frame, SCHEMA)
    assert f"{breach.column}: {breach.message}" == message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["folder=labels"], "`folder`, where labels land, and `key`, what names a row, belong together"),
        (
            ["folder=labels", "key=id", "patience=soon"],
            "patience is 'soon'; write a number and one of s, m, h, d, w, such as 30d",
        ),
        (["folder=labels", "key=id", "coverage=0"], "coverage is 0; it is a share of the rows, over 0 and up to 1"),
    ],
)
def test_a_wrong_setting_is_named(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^stream\.labels: ") as refused:
        parts(resolve(["stream=flights", *(f"stream.labels.{setting}" for setting in settings)]))
    assert message in str(refused.value)


def test_reading_is_shared_between_the_loop_and_its_cycles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = labels.folder_of(Labels("labels", "id"), SCHEMA)
    assert one is labels.folder_of(Labels(str(tmp_path / "labels"), "id"), SCHEMA)
