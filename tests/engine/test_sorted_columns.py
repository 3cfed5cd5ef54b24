"""The sorted columns of a window on disk: right, within their budget, whole whatever happens, and shared."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine import exact
from engine.exact import sorted_columns, window_of
from engine.intact import WindowLost
from engine.nouns import Window

ROWS = 1000
COLUMN = ROWS * 8 + 128  # bytes of a file


@pytest.fixture
def window(tmp_path: Path) -> Window:
    return written(tmp_path / "w.parquet", seed=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sorted"


def written(path: Path, seed: int) -> Window:
    values = np.random.default_rng(seed).normal(size=(4, ROWS))
    pl.DataFrame(dict(zip("abcd", values, strict=True)) | {"text": ["t"] * ROWS}).write_parquet(path)
    return window_of(path)


def kept(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*/*"))


def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The columns that are sorted from now on."""
    names: list[str] = []
    values = exact._Sorted._values
    monkeypatch.setattr(exact._Sorted, "_values", lambda self, name: names.append(name) or values(self, name))
    return names


def test_a_column_is_sorted_once_and_then_mapped(window: Window, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = made(monkeypatch)
    frame = pl.read_parquet(window.uri)
    for _ in range(2):
        columns = sorted_columns(window, ["a", "b"], folder, 10**6)
        assert dict(columns).keys() == {"a", "b"}
        np.testing.assert_array_equal(columns["a"], frame["a"].sort().to_numpy())
    assert names == ["a", "b"]
    assert isinstance(columns["a"].base, np.memmap)
    assert [path.name for path in folder.iterdir()] == [window.digest]
    with pytest.raises(KeyError):
        columns["c"]


def test_values_keep_their_type_infinities_stay_and_missing_ones_go(tmp_path: Path, folder: Path) -> None:
    x = pl.Series("x", [2.0, np.nan, np.inf, None, -np.inf, 1.0], dtype=pl.Float32)
    pl.DataFrame([x, pl.Series("gone", [None] * 6, dtype=pl.Float64), pl.Series("b", [True, None] * 3)]).write_parquet(
        tmp_path / "w"
    )
    for _ in range(2):
        columns = sorted_columns(window_of(tmp_path / "w"), ["x", "gone", "b"], folder, 10**6)
        assert columns["x"].tolist() == [-np.inf, 1, 2, np.inf]
        assert columns["x"].dtype == np.float32
        assert columns["gone"].tolist() == []
        assert columns["b"].tolist() == [1, 1, 1]


def test_what_was_asked_for_the_longest_time_ago_goes_first(
    window: Window, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = made(monkeypatch)
    columns = sorted_columns(window, list("abcd"), folder, 3 * COLUMN)
    before = {name: np.array(columns[name]) for name in "abc"}
    opened = columns["b"]
    for name in "aca":
        columns[name]
        time.sleep(0.01)
    columns["d"]
    assert kept(folder) <= 3 * COLUMN
    assert names == list("abcd")
    np.testing.assert_array_equal(opened, before["b"])  # whoever reads it goes on reading it
    columns["a"], columns["c"], columns["d"]
    assert names == list("abcd")
    columns["b"]
    assert names == list("abcdb")


def test_the_budget_is_that_of_all_windows_together(window: Window, folder: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "v.parquet", seed=1)
    dict(sorted_columns(window, list("abcd"), folder, 5 * COLUMN))
    time.sleep(0.01)
    dict(sorted_columns(other, list("abcd"), folder, 5 * COLUMN))
    assert kept(folder) <= 5 * COLUMN
    assert len(list((folder / other.digest).iterdir())) == 4
    dict(sorted_columns(other, list("abcd"), folder, 4 * COLUMN))
    dict(sorted_columns(written(tmp_path / "u.parquet", seed=2), list("abcd"), folder, 4 * COLUMN))
    assert len(list(folder.iterdir())) == 1  # and no empty folder stays


def test_many_small_files_are_looked_through_once_in_a_while(
    window: Window, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Path | None] = []
    too_much = exact.too_much
    monkeypatch.setattr(
        exact, "too_much", lambda folder, budget, newest: looks.append(newest) or too_much(folder, budget, newest)
    )
    for seed in range(25):
        dict(sorted_columns(written(tmp_path / f"{seed}.parquet", seed), list("abcd"), folder, 1000 * COLUMN))
    assert len(looks) == 10  # of 100 columns: after the first, and then with each hundredth of the budget
    dict(sorted_columns(written(tmp_path / "last.parquet", 99), list("abcd"), folder, 20 * COLUMN))
    assert kept(folder) <= 20 * COLUMN


def test_several_windows_are_one_whose_sorted_columns_are_merged_and_kept(
    window: Window, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = made(monkeypatch)
    other = written(tmp_path / "v.parquet", seed=1)
    both = np.sort(np.concatenate([pl.read_parquet(each.uri)["a"].to_numpy() for each in (window, other)]))
    for _ in range(2):
        np.testing.assert_array_equal(sorted_columns([window, other], ["a"], folder, 10**6)["a"], both)
    assert names == ["a"] * 3
    assert len(list(folder.iterdir())) == 3
    for path in (window.uri, other.uri):
        Path(path).unlink()
    np.testing.assert_array_equal(sorted_columns([window, other], ["a"], folder, 10**6)["a"], both)


def test_a_lost_window_costs_its_columns_and_is_told_once(window: Window, folder: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "v.parquet", seed=1)
    asked = exact.WhileThere(sorted_columns([window, other], list("abc"), folder, 10**6))
    assert asked("a") is not None
    assert asked("predicted") is None
    assert not asked.notes
    Path(other.uri).unlink()
    assert asked("a") is not None  # kept, and still right
    assert asked("b") is None
    assert asked("c") is None
    (note,) = asked.notes
    assert note.endswith("v.parquet: it is gone; the profile's sample stands in for every value")


def test_a_column_larger_than_the_budget_is_sorted_and_not_kept(window: Window, folder: Path) -> None:
    columns = sorted_columns(window, ["a"], folder, ROWS)
    np.testing.assert_array_equal(columns["a"], pl.read_parquet(window.uri)["a"].sort().to_numpy())
    assert not folder.exists()


@pytest.mark.parametrize("torn", [b"", b"\x93NUMPY", b"no array at all", None])
def test_a_torn_file_is_made_again(window: Window, folder: Path, torn: bytes | None) -> None:
    expected = np.array(sorted_columns(window, ["a"], folder, 10**6)["a"])
    (path,) = folder.glob("*/*")
    path.write_bytes(path.read_bytes()[:-8] if torn is None else torn)
    np.testing.assert_array_equal(sorted_columns(window, ["a"], folder, 10**6)["a"], expected)
    assert path.stat().st_size == COLUMN


def test_what_a_killed_process_left_is_removed_in_time(window: Window, folder: Path) -> None:
    sorted_columns(window, ["a"], folder, 10**6)["a"]
    young, old = folder / window.digest / ".young", folder / window.digest / ".old"
    for path in (young, old):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * exact.ABANDONED,) * 2)
    sorted_columns(window, ["b"], folder, 50 * COLUMN)["b"]
    assert young.exists()
    assert not old.exists()


def test_other_bytes_are_another_window_and_never_sorted_for_this_one(window: Window, folder: Path) -> None:
    path = Path(window.uri)
    old = np.array(sorted_columns(window, ["a"], folder, 10**6)["a"])
    changed = written(path, seed=9)
    assert changed.digest != window.digest
    new = sorted_columns(changed, ["a"], folder, 10**6)["a"]
    assert not np.array_equal(new, old)
    np.testing.assert_array_equal(sorted_columns(window, ["a"], folder, 10**6)["a"], old)  # what is kept is still right
    with pytest.raises(WindowLost, match="other bytes are there now"):
        sorted_columns(window, ["b"], folder, 10**6)["b"]
    path.unlink()
    with pytest.raises(WindowLost, match="it is gone"):
        sorted_columns(replace(changed, id="x"), ["b"], folder, 10**6)["b"]


def test_columns_that_are_no_numbers_or_not_there_are_named(window: Window, folder: Path) -> None:
    columns = sorted_columns(window, ["text", "none"], folder, 10**6)
    with pytest.raises(ValueError, match="column text holds text"):
        columns["text"]
    with pytest.raises(ValueError, match="has no column none"):
        columns["none"]


def test_threads_may_ask_at_once_within_the_tightest_budget(window: Window, folder: Path) -> None:
    frame = pl.read_parquet(window.uri)
    columns = sorted_columns(window, list("abcd"), folder, COLUMN)
    with ThreadPoolExecutor(4) as pool:
        for name, values in zip("abcd" * 25, pool.map(columns.__getitem__, "abcd" * 25), strict=True):
            np.testing.assert_array_equal(values, frame[name].sort().to_numpy())


ASK = """
import sys
from pathlib import Path
import numpy as np, polars as pl
from engine.exact import sorted_columns, window_of
window, folder, budget = window_of(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
frame = pl.read_parquet(window.uri)
for name in "abcd" * 50:
    assert np.array_equal(sorted_columns(window, list("abcd"), folder, budget)[name], frame[name].sort().to_numpy())
"""


@pytest.mark.parametrize("room", [2, 100])
def test_two_processes_may_ask_at_once(window: Window, folder: Path, room: int) -> None:
    command = [sys.executable, "-c", ASK, window.uri, str(folder), str(room * COLUMN)]
    asking = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in asking:
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    assert kept(folder) <= (room + 1) * COLUMN  # each counts what the other has just made
    assert not list(folder.glob("*/.*"))
