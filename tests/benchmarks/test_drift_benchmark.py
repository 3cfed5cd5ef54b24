"""The drift benchmark, small: ours alone, and ours beside scipy, which needs no environment of its own here."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import drift, result
from benchmarks.peers import agreement, beside, process, tables
from benchmarks.peers.agreement import over, same

ROWS, COLUMNS = 1_000, 3


def test_a_quick_run_of_ours_alone_measures_its_passes_and_counts_its_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result, "FOLDER", tmp_path)
    monkeypatch.setattr(beside, "RUNS", 1)
    drift.main(["--quick", "--rows", str(ROWS), "--json", str(tmp_path / "drift.json"), "--peers"])
    found = json.loads((tmp_path / "drift.json").read_text())
    assert found["comparisons"] == []
    assert [(one["rows"], one["columns"], one["call"]) for one in found["ours"]] == [
        (100, 10, "pass"),
        (100, 10, "sort"),
        (100, 10, "ks and w1"),
        (100, 10, "exact"),
        (1000, 10, "pass"),
        (1000, 10, "sort"),
        (1000, 10, "ks and w1"),
        (1000, 10, "exact"),
        (1000, 10, "suite"),
    ]
    report = (tmp_path / "drift.md").read_text()
    assert "Beside the peers" not in report
    assert f"the suite has {len(found['ours'][-1]['values'])} statistics" in report


def test_scipy_gives_our_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "environment", lambda name: Path(sys.executable))
    scipy = [comparison for comparison in drift.COMPARISONS if comparison.peer == "scipy"]
    compared = drift.compare(scipy, ROWS, COLUMNS, "float32", "cpu")
    checked = {one.comparison.theirs: one.agreement for one in compared if one.agreement is not None}
    assert checked.keys() >= {"kolmogorov_smirnov", "wasserstein", "energy", "mann_whitney", "welch_t"}
    assert all(one.holds for one in checked.values()), checked
    assert all(beside.FEWEST <= len(one.theirs.wall) == len(one.ours.wall) <= beside.RUNS for one in compared)


def test_the_exact_distances_are_compared_in_float64_too() -> None:
    assert {(one.peer, one.theirs) for one in drift.IN_FLOAT64} == {
        ("scipy", "kolmogorov_smirnov"),
        ("scipy", "wasserstein"),
        ("scipy", "both"),
        ("alibi_detect", "kolmogorov_smirnov"),
        ("evidently", "kolmogorov_smirnov"),
        ("evidently", "wasserstein"),
    }


def test_a_value_that_is_off_by_more_than_its_tolerance_does_not_agree() -> None:
    ours = {"exact": {"wasserstein": [0.5, 3.0]}}
    table = np.zeros((1, 2))
    apart = agreement.agreement([0.5, 3.3], same("exact", "wasserstein"), 1e-9, ours, table, table)
    assert not apart.holds
    assert apart.apart == pytest.approx(0.1)
    assert str(apart) == "NOT within 1e-09 (1.0e-01)"
    assert agreement.agreement([0.5, 3.3], same("exact", "wasserstein"), None, ours, table, table).holds


def test_psi_over_evidentlys_bins_is_the_sum_that_evidently_makes() -> None:
    random = np.random.default_rng(0)
    before, after = random.exponential(size=(500, 1)), random.exponential(2, size=(700, 1))
    edges = np.histogram_bin_edges(np.concatenate([before, after]), "sturges")
    shares = [np.histogram(side, edges)[0] / len(side) for side in (before, after)]
    assert min(side.min() for side in shares) == 0
    p, q = (np.where(side == 0, 1e-4, side) for side in shares)  # the smallest share is above 0.0001 with so few rows
    theirs = [np.sum((p - q) * np.log(p / q))]
    expected = over(agreement.sturges_filled, agreement.plain_psi)
    assert agreement.agreement(theirs, expected, 1e-3, {}, before, after).holds


def test_the_tables_are_seeded_and_hold_both_shifted_columns_and_others(tmp_path: Path) -> None:
    tables.write(tmp_path, 4000, 8)
    before, after = (np.load(tmp_path / f"{name}.npy") for name in ("reference", "current"))
    assert (before.dtype, before.shape) == (np.float32, (4000, 8))
    assert np.isfinite(after).all()
    moved = np.abs(after.mean(axis=0) - before.mean(axis=0)) / before.std(axis=0)
    assert sorted(np.argsort(moved)[-3:].tolist()) == [0, 2, 5]
    tables.write(tmp_path, 4000, 8)
    assert np.array_equal(before, np.load(tmp_path / "reference.npy"))
