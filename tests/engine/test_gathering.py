"""Small windows wait for the next ones; what was joined is one window whose rows nobody joins again."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.gathering import Gathering
from engine.nouns import Column, Schema, Small
from engine.report import small_in
from engine.windows import ParquetFolder

SCHEMA = Schema((Column("speed", "number"), Column("city", "category")), "minutes", time="at")


def land(folder: Path, name: str, rows: int, first: int = 0) -> None:
    n = range(first, first + rows)
    table = pl.DataFrame(
        {
            "at": [datetime(2024, 1, 1) + timedelta(minutes=k) for k in n],
            "speed": [float(k) for k in n],
            "city": ["Oslo"] * rows,
            "minutes": [float(k % 7) for k in n],
        }
    )
    table.write_parquet(folder / f"{name}.parquet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "windows").mkdir()
    return tmp_path / "windows"


def gathering(folder: Path) -> Gathering:
    return Gathering(100, SCHEMA, folder.parent / "gathered")


def found(folder: Path) -> list[tuple[str, int]]:
    return [(w.id, w.rows) for w in gathering(folder).ready(ParquetFolder(str(folder)).list("s", "at"))]


def test_small_windows_wait_until_together_they_are_enough(folder: Path) -> None:
    land(folder, "w-1", 40)
    assert found(folder) == []
    land(folder, "w-2", 40, 40)
    assert found(folder) == []
    assert small_in(folder.parent / "gathered") == Small(("w-1", "w-2"), 80, 100)
    land(folder, "w-3", 40, 80)
    land(folder, "w-4", 40, 120)
    at_work = gathering(folder)
    (window,) = at_work.ready(ParquetFolder(str(folder)).list("s", "at"))
    assert (window.id, window.rows, window.start, window.end) == ("w-1..w-3", 120, "2024-01-01T00:00:00", "2024-01-01T01:59:00")
    assert pl.read_parquet(window.uri)["speed"].to_list() == [float(k) for k in range(120)]
    assert len(window.parts) == 3
    assert str(at_work.small) == "window w-4 waits for more rows: 40 of 100 (`stream.contract.min_rows`)"


def test_the_next_window_of_the_usual_size_takes_the_small_ones_before_it_along(folder: Path) -> None:
    land(folder, "w-1", 200)
    land(folder, "w-2", 40, 200)
    land(folder, "w-3", 200, 240)
    assert found(folder) == [("w-1", 200), ("w-2..w-3", 240)]
    assert small_in(folder.parent / "gathered") is None


def test_windows_large_enough_are_not_even_read(folder: Path) -> None:
    land(folder, "w-1", 200)
    path = folder / "w-1.parquet"
    listed = ParquetFolder(str(folder)).list("s", "at")
    path.unlink()
    assert gathering(folder).ready(listed) == listed


def test_a_broken_one_goes_alone_and_spoils_no_neighbour(folder: Path) -> None:
    land(folder, "w-1", 40)
    pl.DataFrame({"speed": ["x"] * 30}).write_parquet(folder / "w-2.parquet")
    land(folder, "w-3", 70, 40)
    pl.DataFrame(schema={"speed": pl.Float64}).write_parquet(folder / "w-4.parquet")
    assert found(folder) == [("w-2", 30), ("w-1..w-3", 110), ("w-4", 0)]


def test_a_broken_large_one_does_not_take_a_good_small_one_with_it(folder: Path) -> None:
    land(folder, "w-1", 40)
    pl.DataFrame({"speed": ["x"] * 500}).write_parquet(folder / "w-2.parquet")
    assert found(folder) == [("w-2", 500)]
    assert small_in(folder.parent / "gathered") == Small(("w-1",), 40, 100)


def test_columns_in_excess_and_other_types_of_text_do_not_hinder(folder: Path) -> None:
    land(folder, "w-1", 60)
    table = pl.read_parquet(folder / "w-1.parquet").with_columns(pl.lit("x").alias("note"), pl.col("speed").cast(pl.Float32))
    table.cast({"city": pl.Categorical}).write_parquet(folder / "w-2.parquet")
    assert found(folder) == [("w-1..w-2", 120)]


def test_columns_that_cannot_be_joined_leave_each_window_as_it_is(folder: Path) -> None:
    land(folder, "w-1", 60)
    table = pl.read_parquet(folder / "w-1.parquet")
    table.with_columns(pl.concat_list("speed").alias("note")).write_parquet(folder / "w-1.parquet")
    table.with_columns(pl.lit("x").alias("note")).write_parquet(folder / "w-2.parquet")
    assert found(folder) == [("w-1", 60), ("w-2", 60)]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=12))
def test_every_row_is_in_exactly_one_window_or_waits(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    folder = tmp_path_factory.mktemp("sizes") / "windows"
    folder.mkdir()
    first = 0
    for number, rows in enumerate(sizes):
        land(folder, f"w-{number}", rows, first)
        first += rows
    at_work = gathering(folder)
    listed = ParquetFolder(str(folder)).list("s", "at")
    ready = at_work.ready(listed)
    assert all(window.rows >= 100 for window in ready)
    carried = [value for window in ready for value in pl.read_parquet(window.uri)["speed"].to_list()]
    waiting = at_work.small.rows if at_work.small else 0
    assert carried == [float(k) for k in range(first - waiting)]
    assert waiting < 100
    assert [w.digest for w in gathering(folder).ready(listed)] == [w.digest for w in ready]
