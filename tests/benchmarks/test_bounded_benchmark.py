"""The benchmark of bounded memory, small: its processes for real, and what it says of their figures."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import bounded, result


def test_a_quick_run_measures_three_sizes_and_mmd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(result, "FOLDER", tmp_path)
    monkeypatch.setattr(bounded, "GROWTH", 100.0)  # so few rows take no time to speak of
    bounded.main(["--rows", "2000", "--mmd-rows", "150"])
    report = (tmp_path / "bounded.md").read_text()
    assert capsys.readouterr().out == report + "\n"
    assert [line.split(" ×")[0] for line in report.splitlines() if "× 100" in line] == ["| 500", "| 1,000", "| 2,000"]
    assert "MMD of 150 against 150 rows × 64, every pair of them" in report
    assert report.count("- held:") == 3


GOOD = {"seconds": 10.0, "cpu": 20.0, "peak": 0.9e9}


@pytest.mark.parametrize(
    ("last", "mmd", "held"),
    [
        ({"cpu": 80.0}, {}, [True, True, True]),
        ({"cpu": 101.0}, {}, [True, False, True]),
        ({"cpu": 80.0, "peak": 2.1e9}, {}, [False, True, True]),
        ({"cpu": 80.0}, {"peak": 2.1e9}, [True, True, False]),
    ],
    ids=["all held", "more than linear", "too much memory", "too much memory for MMD"],
)
def test_what_was_promised_is_held_against_the_figures(last: dict[str, float], mmd: dict[str, float], held: list[bool]) -> None:
    said = bounded.claims([(100, GOOD), (400, GOOD | last)], GOOD | mmd, 50)
    assert [good for good, _ in said] == held
    assert said[1][1] == f"4.0 times the rows take {last['cpu'] / 20:.2f} times the core time"


def test_the_table_has_as_many_rows_as_asked_for_and_is_written_by_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "GROUP", 400)
    bounded.table(tmp_path / "t.parquet", 1_000)
    written = pq.ParquetFile(tmp_path / "t.parquet")
    assert (written.metadata.num_rows, written.metadata.num_columns, written.num_row_groups) == (1_000, bounded.COLUMNS, 3)
    assert pq.read_table(tmp_path / "t.parquet", columns=["x0"])["x0"].to_pylist()[:2] != [0.0, 0.0]
