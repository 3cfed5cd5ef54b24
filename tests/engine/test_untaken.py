"""What lies where windows land and was not taken up is said once, and written down for `status`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import polars as pl

from engine.untaken import Noticing, Unfinished, Untaken, kept
from engine.windows import ParquetFolder


def test_a_file_that_cannot_be_read_yet_is_named_until_it_settles(tmp_path: Path) -> None:
    path = tmp_path / "week-12.parquet"
    path.write_bytes(b"cut short")
    now = time.time()
    os.utime(path, (now, now))
    source = ParquetFolder(str(tmp_path), settle=60)
    for _ in range(2):
        assert source.list("s", None) == []
        (left,) = source.untaken.unfinished
        assert (left.id, left.why) == ("week-12", "cannot be read yet")
        assert abs(left.until - now - 60) < 1
    os.utime(path, (now - 61, now - 61))
    assert [window.id for window in source.list("s", None)] == ["week-12"]
    assert source.untaken == Untaken(pattern="*.parquet")


def test_a_partition_without_its_mark_and_files_of_another_pattern_are_told(tmp_path: Path) -> None:
    (tmp_path / "day=1").mkdir()
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "day=1" / "0.parquet")
    for name in ("notes.csv", "day=1/more.csv", ".hidden.csv", "_wip.csv"):
        (tmp_path / name).touch()
    source = ParquetFolder(str(tmp_path))
    assert source.list("s", None) == []
    assert [(left.id, left.why) for left in source.untaken.unfinished] == [("day=1", "holds no _SUCCESS yet")]
    assert source.untaken.others == (
        "2 files are passed over, day=1/more.csv among them: no window, by `stream.source.pattern` *.parquet"
    )
    (tmp_path / "day=1" / "_SUCCESS").touch()
    assert [window.id for window in source.list("s", None)] == ["day=1"]
    assert source.untaken.unfinished == ()


def test_each_is_said_once_and_what_holds_now_is_kept(tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "untaken" / "s.json"
    notice = Noticing(path, said.append)
    soon = time.time() + 60
    found = Untaken((Unfinished("week-12", "cannot be read yet", soon),), 1, "notes.csv", "*.parquet")
    notice(found)
    notice(Untaken((Unfinished("week-12", "cannot be read yet", soon + 5),), 3, "notes.csv", "*.parquet"))
    left, others = said
    assert left.startswith("week-12 cannot be read yet: left until ")
    assert left.endswith(" in case it is still being written (`stream.source.settle`)")
    assert others == "notes.csv is passed over: no window, by `stream.source.pattern` *.parquet"
    assert kept(path).passed_over == 3
    notice(Untaken())
    assert kept(path) == Untaken()


def test_of_a_time_that_has_passed_the_next_look_is_named() -> None:
    assert str(Unfinished("week-12", "cannot be read yet", 0.0)) == (
        "week-12 cannot be read yet, when it was last looked at: the next look takes it up as it is"
    )
