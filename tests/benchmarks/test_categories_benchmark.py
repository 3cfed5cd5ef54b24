"""The benchmark of words, booleans and dates, small: ours beside scipy, which needs no environment of its own here."""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import categories, result
from benchmarks.categories import OURS, Asked, agreed, counts
from benchmarks.peers import beside, process
from benchmarks.peers.categories import columns, ours

ROWS = 20_000


def test_scipy_gives_our_values_and_ours_are_those_of_numpys_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "environment", lambda name: Path(sys.executable))
    monkeypatch.setattr(result, "FOLDER", tmp_path)
    monkeypatch.setattr(beside, "RUNS", 1)
    categories.main(["--rows", str(ROWS), "--peers", "scipy", "--json", str(tmp_path / "categories.json")])
    report = (tmp_path / "categories.md").read_text()
    assert "targets" not in report  # they are nannyml's
    assert "held: values agree in 5 comparisons of 5" in report
    assert "held: ours from the raw column is ours over NumPy's counts in 5 comparisons" in report
    found = json.loads((tmp_path / "categories.json").read_text())
    assert [one["call"] for one in found["comparisons"]] == [
        *(f"{name}: chi2" for name in columns.CATEGORIES),
        "dates: kolmogorov_smirnov",
    ]
    assert found["polars"].keys() == {f"polars {column.name}: all" for column in columns.COLUMNS}


def test_every_peers_calls_are_those_that_are_compared() -> None:
    for peer in categories.PEERS:
        asked = {(one.form, one.comparison.theirs) for one in categories.EVERY if one.peer == peer}
        assert len(asked) == sum(one.peer == peer for one in categories.EVERY)
        assert (Path(columns.__file__).parent / f"{peer}.py").exists()


def test_the_columns_are_seeded_and_hold_what_their_names_say(tmp_path: Path) -> None:
    columns.write(tmp_path, ROWS)
    table = np.load(tmp_path / "reference.npy")
    columns.write(tmp_path, ROWS)
    assert np.array_equal(table, np.load(tmp_path / "reference.npy"))
    made = columns.raw(table)
    assert (len(set(made["20 words"])), None in set(made["20 words"])) == (20, False)
    assert sum(value is None for value in made["20 words, 5% missing"]) / ROWS == pytest.approx(0.05, abs=0.01)
    assert (made["booleans"].dtype, made["dates"].dtype) == (np.dtype(bool), np.dtype("datetime64[D]"))
    assert made["booleans"].mean() == pytest.approx(2 / 3, abs=0.02)


def test_a_column_whose_first_value_is_missing_is_text() -> None:
    made = ours.series("city", np.array([None, "Oslo", None], dtype=object))
    assert (made.dtype, made.to_list()) == (pl.String, [None, "Oslo", None])
    assert ours.series("day", np.array(["2024-01-01"], "datetime64[D]")).dtype == pl.Date


def test_counts_are_those_of_the_values(tmp_path: Path) -> None:
    columns.write(tmp_path, ROWS)
    table = np.load(tmp_path / "current.npy")
    for name, values in columns.raw(table).items():
        assert sorted(counts(table, name, True)[counts(table, name, True) > 0]) == sorted(Counter(values.tolist()).values())
    name = "20 words, 5% missing"
    assert counts(table, name, False).sum() == ROWS - counts(table, name, True)[0, 0] < ROWS


def test_a_value_that_is_off_does_not_agree(tmp_path: Path) -> None:
    columns.write(tmp_path, ROWS)
    tables = [np.load(tmp_path / f"{side}.npy") for side in ("reference", "current")]
    one = Asked("scipy", "20 words", "chi2", "chi2", OURS["chi2"])
    right = float(OURS["chi2"](*(counts(table, "20 words", False) for table in tables))[0])
    said = [agreed(one, value, tables) for value in (right, 1.001 * right)]
    assert [each is not None and each.holds for each in said] == [True, False]
    assert agreed(Asked("evidently", "20 words", "chi2", "chi2", None), 0.0, tables) is None
