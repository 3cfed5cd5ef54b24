from __future__ import annotations

import itertools
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.contracts import shape
from engine.data import golden, table
from engine.nouns import Column, Schema, Slices, Window
from engine.windows import digest_of


def schema(*columns: Column, **more: str) -> Schema:
    return Schema(columns, target="y", **more)  # type: ignore[arg-type]


def test_each_kind_of_column_has_its_type_on_the_wire() -> None:
    kinds = schema(Column("n", "number"), Column("b", "boolean", nullable=False), Column("m", "boolean"), Column("c", "category"))
    assert [(s.name, s.datatype, s.width) for s in table.signature(kinds)] == [
        ("n", "FP64", 1),
        ("b", "BOOL", 1),
        ("m", "FP64", 1),
        ("c", "BYTES", 1),
    ]
    frame = pl.DataFrame({"n": [1, None], "b": [True, False], "m": [None, True], "c": [None, "Zürich"]})
    arrays = table.inputs(frame, kinds)
    assert {name: (a.dtype, a.shape) for name, a in arrays.items()} == {
        "n": (np.dtype("float64"), (2, 1)),
        "b": (np.dtype("bool"), (2, 1)),
        "m": (np.dtype("float64"), (2, 1)),
        "c": (np.dtype("object"), (2, 1)),
    }
    np.testing.assert_array_equal(arrays["n"], [[1.0], [np.nan]])
    np.testing.assert_array_equal(arrays["m"], [[np.nan], [1.0]])
    assert arrays["c"].tolist() == [[""], ["Zürich"]]


def test_identifiers_and_epoch_times_keep_their_digits() -> None:
    ids = [1_700_000_000_123, 1_700_000_000_124]
    arrays = table.inputs(pl.DataFrame({"id": ids}), schema(Column("id", "number")))
    assert arrays["id"][:, 0].astype(np.int64).tolist() == ids
    moment = datetime(2013, 1, 1, 5, 15)
    arrays = table.inputs(pl.DataFrame({"id": [moment]}), schema(Column("id", "number")))
    assert arrays["id"][0, 0] == (moment - datetime(1970, 1, 1)).total_seconds() * 1e6


def test_numbers_as_categories_are_their_digits() -> None:
    assert table.inputs(pl.DataFrame({"c": [7, None]}), schema(Column("c", "category")))["c"].tolist() == [["7"], [""]]


def test_sixty_numbers_travel_in_one_input() -> None:
    many = schema(*(Column(f"n{i}", "number") for i in range(60)), Column("c", "category"))
    assert [(s.name, s.width) for s in table.signature(many)] == [("numbers", 60), ("c", 1)]
    frame = pl.DataFrame({f"n{i}": [float(i)] for i in range(60)} | {"c": ["a"]})
    arrays = table.inputs(frame, many)
    assert list(arrays) == ["numbers", "c"]
    assert arrays["numbers"].tolist() == [[float(i) for i in range(60)]]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"m": [1]}), "lacks the columns n"),
        (pl.DataFrame({"n": ["far"]}), r"column n \(String\) does not hold a number"),
    ],
)
def test_what_does_not_fit_is_named(frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        table.inputs(frame, schema(Column("n", "number")))


def test_a_null_in_a_boolean_that_excludes_it_is_named() -> None:
    with pytest.raises(ValueError, match=r"column b .* 1 values are null"):
        table.inputs(pl.DataFrame({"b": [True, None]}), schema(Column("b", "boolean", nullable=False)))


def test_a_name_used_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"used twice.* y"):
        table.signature(schema(Column("y", "number")))


def test_a_missing_target_is_counted() -> None:
    with pytest.raises(ValueError, match="missing or infinite in 2 of 3 rows"):
        table.target(pl.DataFrame({"y": [1.0, None, float("inf")]}), schema())


def test_a_binary_target_is_zero_or_one() -> None:
    assert table.target(pl.DataFrame({"y": [True, False]}), schema(task="binary")).tolist() == [[1.0], [0.0]]
    with pytest.raises(ValueError, match="none of the classes 0 and 1, or false and true, in 1 rows"):
        table.target(pl.DataFrame({"y": [2]}), schema(task="binary"))


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["no", "yes", "no"], ("no", "yes")),
        ([False, True, False], ("false", "true")),
        ([1, 10, 1], ("1", "10")),
        ([1.0, 10.0, 1.0], ("1", "10")),
    ],
)
def test_classes_are_numbered_in_the_order_of_the_schema(values: list[object], classes: tuple[str, ...]) -> None:
    frame = pl.DataFrame({"y": values})
    assert table.target(frame, schema(task="binary", classes=classes)).tolist() == [[0.0], [1.0], [0.0]]
    assert table.target(frame, schema(task="multiclass", classes=classes[::-1])).tolist() == [[1.0], [0.0], [1.0]]
    with pytest.raises(ValueError, match="none of the classes a, b in 3 rows"):
        table.target(frame, schema(task="binary", classes=("a", "b")))


def test_windows_are_read_in_order_of_time_and_ties_stay_as_they_are(tmp_path: Path) -> None:
    pl.DataFrame({"t": [3, 1, 1], "x": [30, 10, 11], "y": [0, 0, 0]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"t": [2.5], "x": [25], "y": [0.5]}).write_parquet(tmp_path / "b.parquet")
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    windows = [Window("s", path.stem, str(path), digest_of(path), 0) for path in paths]
    frame = table.read(windows, schema(Column("x", "number"), time="t"))
    assert frame.columns == ["x", "y", "t"]
    assert frame["x"].to_list() == [10, 11, 25, 30]
    assert table.read(windows[0], schema(Column("x", "number"), time="t"), columns=["x"]).columns == ["x"]


def test_a_supplier_that_begins_to_say_the_time_zone_parts_no_windows(tmp_path: Path) -> None:
    frame = pl.DataFrame({"t": [datetime(2024, 1, 1, 12), datetime(2024, 1, 1, 11)], "y": [2.0, 1.0]})
    frame.write_parquet(tmp_path / "a.parquet")
    zoned = frame.with_columns(pl.col("t").dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Oslo"))
    zoned.write_parquet(tmp_path / "b.parquet")
    windows = [Window("s", path.stem, str(path), digest_of(path), 2) for path in sorted(tmp_path.iterdir())]
    assert table.read(windows, Schema((), "y", time="t"))["y"].to_list() == [1.0, 1.0, 2.0, 2.0]


def test_a_window_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="window w1 of s cannot be read from"):
        table.read(Window("s", "w1", str(tmp_path / "gone.parquet"), "d", 1), schema(Column("x", "number")))


MOMENT = datetime(2024, 1, 1)
NUMBERS = [pl.Series([1, 0, 1]).cast(t) for t in (pl.UInt8, pl.Int64, pl.UInt64, pl.Float32, pl.Float64, pl.Decimal(20, 3))]
WORDS = [pl.Series(["b", "a", "b"]).cast(t) for t in (pl.String, pl.Categorical, pl.Enum(["a", "b"]), pl.Enum(["b", "a"]))]
TIMES = [
    pl.Series([MOMENT] * 3).cast(pl.Datetime(unit, zone)) for unit in ("ms", "us", "ns") for zone in (None, "UTC", "Asia/Tokyo")
]
TIMES.append(pl.Series([MOMENT.date()] * 3))
YES_OR_NO = [*NUMBERS[:-1], pl.Series([True, False, True]), pl.Series(["1", "0", "1"]), pl.Series(["true", "false", "true"])]
YES_OR_NO.append(YES_OR_NO[-1].cast(pl.Categorical))


@pytest.mark.parametrize(
    ("name", "stored", "asked"),
    [
        ("x", NUMBERS, schema(Column("x", "number"), time="t")),
        ("x", WORDS, schema(Column("x", "category"), time="t")),
        ("y", NUMBERS, schema(time="t")),
        ("y", YES_OR_NO, schema(time="t", task="binary")),
        ("y", [each for each in YES_OR_NO if each.dtype != pl.Boolean][:-2], schema(time="t", task="binary", classes=("0", "1"))),
        ("y", WORDS, schema(time="t", task="multiclass", classes=("a", "b"))),
        ("t", NUMBERS, schema(time="t")),
        ("t", TIMES, schema(time="t")),
        ("s", [*NUMBERS, *WORDS, *TIMES, *YES_OR_NO, pl.Series([None] * 3)], Schema((), "y", time="t", sliced=("s",))),
    ],
    ids=["number", "category", "target", "binary", "named classes", "multiclass", "counter", "time", "only slices"],
)
def test_whatever_the_door_lets_pass_is_read_together(name: str, stored: list[pl.Series], asked: Schema, tmp_path: Path) -> None:
    """One window stored in one way and the next in another: a pair that could not be read would end every training after it."""
    windows = []
    for place, values in enumerate(stored):
        frame = pl.DataFrame({"x": [1.0, 0.0, 1.0], "y": [1, 0, 1], "t": [1, 1, 1], "s": [1, 1, 1]}).with_columns(
            values.alias(name)
        )
        assert shape.broken(frame, asked) == []
        path = tmp_path / f"{place}.parquet"
        frame.write_parquet(path)
        windows.append(Window("s", path.stem, str(path), digest_of(path), 3))
    alone = {window.id: table.read(window, asked) for window in windows}
    for one, other in itertools.product(windows, repeat=2):
        frame = table.labelled([one, other], asked)
        assert frame.height == 6
        assert sorted(table.target(frame, asked)[:, 0]) == [0, 0, 1, 1, 1, 1]
        if name == "x":
            both = np.concatenate([table.inputs(alone[each.id], asked)["x"] for each in (one, other)])
            assert table.inputs(frame, asked)["x"].tolist() == both.tolist()


@pytest.mark.parametrize("rows", [1, 2, 7, 1000, 6549])
def test_slices_follow_each_other_and_leave_nothing_out(rows: int) -> None:
    fit, stop, judge = table.slices(rows, Slices(stop=0.1, judge=0.2, min_stop_rows=50))
    assert [*fit, *stop, *judge] == list(range(rows))
    assert len(judge) == int(rows * 0.2)
    assert len(stop) == (int(rows * 0.1) if rows >= 500 else 0)
    assert len(fit) > 0


def test_slices_that_leave_nothing_to_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="leave no rows to fit on"):
        table.slices(100, Slices(stop=0.5, judge=0.5))


def test_golden_rows_hold_the_edges_and_survive_their_file(tmp_path: Path) -> None:
    inputs = {
        "n": np.arange(1000.0)[:, None],
        "c": np.array([f"ä{i}" for i in range(1000)], dtype=object)[:, None],
        "b": np.ones((1000, 1), dtype=bool),
    }
    rows = golden.rows(inputs)
    assert rows["n"].shape == (68, 1)
    np.testing.assert_array_equal(rows["n"][-4:, 0], [np.nan, np.nan, np.inf, -np.inf])
    assert rows["c"][-4:, 0].tolist() == ["", golden.UNSEEN, "", golden.UNSEEN]
    golden.write(tmp_path / "golden.npz", rows, {"y": np.zeros((68, 1), dtype=np.float32)})
    read, outputs = golden.read(tmp_path / "golden.npz")
    assert read["c"].dtype == object
    assert all(np.array_equal(read[name], rows[name], equal_nan=name == "n") for name in rows)
    assert outputs["y"].shape == (68, 1)


def test_reading_tables_does_not_import_torch() -> None:
    code = "import sys, engine.data.table, engine.data.golden, engine.flights; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
