"""Windows and contracts: what is picked up, in which order, and what is turned away in which words."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import polars as pl
import pytest

from engine import windows
from engine.contracts import quarantine
from engine.contracts.contract import Contract
from engine.data.table import read
from engine.nouns import Column, Schema, Window
from engine.windows import ParquetFolder, SourceError, digest_of

SCHEMA = Schema(
    (Column("speed", "number"), Column("late", "boolean", nullable=False), Column("city", "category")), "minutes", time="at"
)
ROWS = 120


def frame() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "at": [f"2013-01-01T{i // 60:02d}:{i % 60:02d}:00" for i in range(ROWS)],
            "speed": [float(i) for i in range(ROWS)],
            "late": [i % 2 == 0 for i in range(ROWS)],
            "city": ["a"] * ROWS,
            "minutes": [1.0 * i for i in range(ROWS)],
        }
    ).with_columns(pl.col("at").str.to_datetime())


def breaches(table: pl.DataFrame, **limits: float) -> list[str]:
    return [f"{b.column}: {b.message}" for b in Contract(**limits).check_frame(table, SCHEMA)]  # type: ignore[arg-type]


def test_windows_come_in_natural_order_with_rows_digest_and_span(tmp_path: Path) -> None:
    for name in ("part-10", "part-2", ".part-3", "_part-4"):
        frame().write_parquet(tmp_path / f"{name}.parquet")
    found = ParquetFolder(str(tmp_path)).list("s", "at")
    assert [w.id for w in found] == ["part-2", "part-10"]
    assert (found[0].rows, found[0].start, found[0].end) == (ROWS, "2013-01-01T00:00:00", "2013-01-01T01:59:00")
    assert found[0].digest == found[1].digest


def test_a_file_still_being_written_waits_and_a_broken_one_is_listed_when_it_has_settled(tmp_path: Path) -> None:
    path = tmp_path / "w.parquet"
    frame().write_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert ParquetFolder(str(tmp_path), settle=60).list("s", None) == []
    old = time.time() - 61
    os.utime(path, (old, old))
    (window,) = ParquetFolder(str(tmp_path), settle=60).list("s", None)
    (breach,) = Contract().check(window, SCHEMA)
    assert "cannot be read as Parquet" in breach.message


def test_a_file_from_the_future_has_settled_when_it_was_watched_for_as_long(tmp_path: Path) -> None:
    path = tmp_path / "w.parquet"
    path.write_bytes(b"cut short")
    later = time.time() + 3600  # or the clock was set back
    os.utime(path, (later, later))
    source = ParquetFolder(str(tmp_path), settle=0.1)
    assert source.list("s", None) == []
    time.sleep(0.11)
    assert [window.id for window in source.list("s", None)] == ["w"]


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"does not exist: create it, or set `stream\.source\.folder`"):
        ParquetFolder(str(tmp_path / "no")).list("s", None)


def test_a_good_window_has_no_breach() -> None:
    assert breaches(frame()) == []


def test_a_renamed_column_is_suggested() -> None:
    assert breaches(frame().rename({"speed": "sped"})) == ["speed: the column is missing; did the supplier rename it to 'sped'?"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pl.lit("x").alias("speed"), "speed: holds String, expected a number"),
        (pl.lit(1).alias("city"), "city: holds Int32, expected a category"),
        (pl.lit(None, dtype=pl.Boolean).alias("late"), f"late: {ROWS} of {ROWS} rows are null; none may be"),
        (pl.lit(None, dtype=pl.Float64).alias("speed"), f"speed: {ROWS} of {ROWS} rows are missing; at most 99% may be"),
        (pl.lit(float("inf")).alias("minutes"), f"minutes: the target is null, NaN or infinite in all {ROWS} rows"),
        (pl.lit("x").alias("minutes"), "minutes: the target holds String, expected numbers"),
        (pl.lit("x").alias("at"), "at: the time column holds String, expected a date, a time or a number"),
    ],
)
def test_each_breach_is_said_in_words(change: pl.Expr, message: str) -> None:
    assert breaches(frame().with_columns(change)) == [message]


def test_too_few_rows_are_a_breach() -> None:
    assert breaches(frame().head(7), min_rows=10) == ["None: 7 rows; at least 10 are needed (`stream.contract.min_rows`)"]


def test_a_quarantined_window_is_kept_with_its_reasons(tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "w.parquet")
    (window,) = ParquetFolder(str(tmp_path)).list("s", None)
    found = Contract(min_rows=1000).check(window, SCHEMA)
    for _ in range(2):
        report = Path(quarantine.keep(window, found, tmp_path / "quarantine"))
    assert "at least 1000 are needed" in report.read_text()
    assert report.with_suffix(".parquet").read_bytes() == (tmp_path / "w.parquet").read_bytes()
    assert len(list((tmp_path / "quarantine").iterdir())) == 2


def partition(folder: Path, name: str, parts: int = 2, finished: bool = True) -> Path:
    inside = folder / name
    inside.mkdir(parents=True)
    for number in range(parts):
        frame()[number * 60 : (number + 1) * 60].write_parquet(inside / f"part-{number}.parquet")
    if finished:
        (inside / "_SUCCESS").touch()
    return inside


def test_each_partition_is_one_window_of_all_its_files(tmp_path: Path) -> None:
    for day in (10, 2):
        partition(tmp_path, f"year=2013/day={day}")
    found = ParquetFolder(str(tmp_path)).list("s", "at")
    assert [w.id for w in found] == ["year=2013,day=2", "year=2013,day=10"]
    assert (found[0].rows, found[0].start, found[0].end) == (ROWS, "2013-01-01T00:00:00", "2013-01-01T01:59:00")
    assert read(found[0], SCHEMA)["speed"].to_list() == frame()["speed"].to_list()
    assert Contract().check(found[0], SCHEMA) == ()


def test_a_partition_is_finished_when_it_says_so_or_has_settled(tmp_path: Path) -> None:
    inside = partition(tmp_path, "day=1", finished=False)
    assert ParquetFolder(str(tmp_path)).list("s", None) == []
    old = time.time() - 61
    for path in inside.iterdir():
        os.utime(path, (old, old))
    (window,) = ParquetFolder(str(tmp_path)).list("s", None)
    frame().write_parquet(inside / "part-2.parquet")
    assert ParquetFolder(str(tmp_path)).list("s", None) == []
    (inside / "_SUCCESS").touch()
    (again,) = ParquetFolder(str(tmp_path)).list("s", None)
    assert (again.rows, again.digest == window.digest) == (2 * ROWS, False)


def test_a_quarantined_partition_is_kept_with_all_its_files(tmp_path: Path) -> None:
    inside = partition(tmp_path, "day=1")
    (window,) = ParquetFolder(str(tmp_path)).list("s", None)
    found = Contract(min_rows=1000).check(window, SCHEMA)
    for _ in range(2):
        report = Path(quarantine.keep(window, found, tmp_path / "quarantine"))
    assert "at least 1000 are needed" in report.read_text()
    kept = tmp_path / "quarantine" / f"day=1.{window.digest[:12]}"
    assert (kept / "part-1.parquet").read_bytes() == (inside / "part-1.parquet").read_bytes()


# a long history

READ = pytest.mark.parametrize("change", ["nothing", "a file", "the time column", "the end of the memory"])


@READ
def test_the_next_process_reads_again_only_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    for number in range(3):
        frame().head(100 + number).write_parquet(tmp_path / f"part-{number}.parquet")
    partition(tmp_path, "day=1")
    memory = tmp_path / "state" / "known.jsonl"

    def look(time_column: str = "at") -> list[Window]:
        source = ParquetFolder(str(tmp_path))
        source.remember(memory)
        return source.list("s", time_column)

    before = look()
    read = []
    monkeypatch.setattr(windows, "digest_of", lambda path: read.append(path.name) or digest_of(path))
    if change == "a file":
        frame().head(110).write_parquet(tmp_path / "part-1.parquet")
    if change == "the end of the memory":
        memory.write_bytes(memory.read_bytes()[:-20])
    after = look("speed" if change == "the time column" else "at")
    assert len(after) == 4
    assert (after == before) == (change in ("nothing", "the end of the memory"))
    assert len(read) == {"nothing": 0, "a file": 1, "the time column": 5, "the end of the memory": 1}[change]
    read.clear()
    assert look("speed" if change == "the time column" else "at") == after
    assert read == []


def test_what_is_removed_from_the_folder_is_forgotten(tmp_path: Path) -> None:
    memory = tmp_path / "known.jsonl"
    paths = [tmp_path / f"part-{number}.parquet" for number in range(3)]
    for path in paths:
        frame().write_parquet(path)
    partition(tmp_path, "day=1")
    source = ParquetFolder(str(tmp_path))
    source.remember(memory)
    assert len(source.list("s", None)) == 4
    paths[1].unlink()
    shutil.rmtree(tmp_path / "day=1")
    assert [w.id for w in source.list("s", None)] == ["part-0", "part-2"]
    again = ParquetFolder(str(tmp_path))
    again.remember(memory)
    again.list("s", None)
    assert len(memory.read_text().splitlines()) == 1 + 2


def test_a_window_that_lands_takes_its_place_among_those_that_are_known(tmp_path: Path) -> None:
    source = ParquetFolder(str(tmp_path))
    for number in (10, 2, 1, 30, 3):
        frame().write_parquet(tmp_path / f"part-{number}.parquet")
        found = [int(w.id.removeprefix("part-")) for w in source.list("s", None)]
        assert found == sorted(found)
    assert found == [1, 2, 3, 10, 30]


def test_a_broken_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.parquet"
    path.write_bytes(b"no table")
    old = time.time() - 61
    os.utime(path, (old, old))
    read = []
    monkeypatch.setattr(windows, "digest_of", lambda path: read.append(path) or digest_of(path))
    source = ParquetFolder(str(tmp_path))
    assert [[w.rows for w in source.list("s", None)] for _ in range(3)] == [[0], [0], [0]]
    assert len(read) == 1
