"""A whylogs profile as the reference of a comparison, and ours as whylogs reads it. The real package, on both sides."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from engine import app, comparison, profile_file, whylogs_file
from engine.configuration import ConfigurationError
from engine.drift import DriftLimits
from engine.kept import kept
from engine.page import comparison as drawn
from engine.parquet import profile_of
from tests.servers import require_package

ROWS = 20_000


@pytest.fixture(scope="module", autouse=True)
def why() -> ModuleType:
    require_package("whylogs", "pip install 'warmstart[whylogs]'")
    os.environ["WHYLOGS_NO_ANALYTICS"] = "True"
    import whylogs

    return whylogs


@pytest.fixture(autouse=True)
def few_whole_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured of whole rows is not looked at here, and takes its time."""
    monkeypatch.setattr(comparison, "ROWS", 100)


def table(seed: int, shift: float = 0.0, rows: int = ROWS) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    speed = random.normal(10 + shift, 2, rows)
    return pl.DataFrame(
        {
            "speed": pl.Series(speed).set(pl.Series(random.random(rows) < 0.1), None),
            "narrow": pl.Series(speed.astype(np.float32)),
            "stops": random.integers(0, 120, rows),
            "late": random.random(rows) < 0.3 + shift / 10,
            "city": pl.Series(random.choice(["Oslo", "Rome", "Zürich"], rows)).set(pl.Series(random.random(rows) < 0.05), None),
        }
    )


def logged(frame: pl.DataFrame, path: Path) -> Path:
    """What `why.log` keeps of it. whylogs 1.6.4 asks for a name that NumPy 2 dropped, when a column is not of numbers."""
    import whylogs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "unicode_", np.str_, raising=False)
        columns = {name: values.to_numpy() for name, values in frame.to_dict().items() if name != "city"}
        pandas = pytest.importorskip("pandas")
        known = pandas.DataFrame(columns)
        if "city" in frame.columns:
            known["city"] = pandas.Series(frame["city"].to_list(), dtype=object)
        path.write_bytes(whylogs.log(known).view().serialize())
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    logged(table(0), folder / "reference.bin")
    table(0).write_parquet(folder / "reference.parquet")
    table(1).write_parquet(folder / "same.parquet")
    table(2, shift=1.0).write_parquet(folder / "moved.parquet")
    return folder


def told(found: comparison.Comparison) -> Mapping[str, Any]:
    return {column.column: column for column in found.report.columns}


def drift(*arguments: str | Path) -> str:
    ended = CliRunner().invoke(app.cli, ["drift", *map(str, arguments)], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.output


def test_counts_moments_ranges_and_few_values_cross_exactly(files: Path) -> None:
    reference = kept(files / "reference.bin")
    assert reference is not None
    theirs, ours = reference.profile, profile_of(files / "reference.parquet")
    assert (theirs.rows, dict(theirs.kinds), theirs.categories["city"]) == (ours.rows, dict(ours.kinds), ours.categories["city"])
    order = [ours.numbers.index(name) for name in theirs.numbers]
    for name in ("missing", "minimum", "maximum"):
        assert getattr(theirs.counts, name).tolist() == getattr(ours.counts, name)[order].tolist()
    assert theirs.counts.mean == pytest.approx(ours.counts.mean[order], rel=1e-6)  # a float32 column is added up in float32
    assert theirs.counts.m2 == pytest.approx(ours.counts.m2[order], rel=1e-5)
    for name in ("late", "stops"):
        again = profile_of(files / "reference.parquet", theirs)
        j, k = theirs.numbers.index(name), again.numbers.index(name)
        assert theirs.counts.counts[j].tolist() == again.counts.counts[k].tolist()
    assert set(reference.estimated) == {"speed", "narrow"}


def test_what_is_estimated_is_off_by_no_more_than_the_sketch_says(files: Path) -> None:
    reference = kept(files / "reference.bin")
    assert reference is not None
    again = profile_of(files / "reference.parquet", reference.profile)
    for name, error in reference.estimated.items():
        j, k = reference.profile.numbers.index(name), again.numbers.index(name)
        ranks = [np.cumsum(profile.counts.counts[i]) for profile, i in ((reference.profile, j), (again, k))]
        assert np.abs(ranks[0] - ranks[1]).max() <= error * ROWS + 1
        values = table(0)[name].drop_nulls().to_numpy()
        at = np.searchsorted(np.sort(values), reference.profile.samples[j]) / values.size
        assert np.abs(at - (np.arange(at.size) + 0.5) / at.size).max() <= error + 2 / at.size


def test_drift_from_a_whylogs_profile_is_that_from_the_data(files: Path) -> None:
    for current, drifted in (("same", set()), ("moved", {"speed", "narrow"})):
        sides = [
            told(comparison.of_files(files / f"reference.{kind}", files / f"{current}.parquet", DriftLimits()))
            for kind in ("bin", "parquet")
        ]
        assert [{name for name, column in side.items() if column.drifted} for side in sides] == [drifted] * 2
        for name, exact in sides[1].items():
            assert sides[0][name].measures["psi"].value == pytest.approx(exact.measures["psi"].value, abs=0.01)
        for name in ("late", "city"):
            assert sides[0][name].measures["psi"] == sides[1][name].measures["psi"]


def test_tests_that_take_counts_for_exact_are_left_out_of_what_is_estimated(files: Path) -> None:
    columns = told(comparison.of_files(files / "reference.bin", files / "same.parquet", DriftLimits()))
    assert not set(comparison.TESTS_OF_BINS) & set(columns["speed"].measures)
    assert set(comparison.TESTS_OF_BINS) <= set(columns["stops"].measures)
    assert columns["speed"].measures["psi"].p_value is None
    assert columns["stops"].measures["psi"].p_value is not None
    with pytest.raises(ValueError, match="chi2 is no effect for speed: it takes counts for exact"):
        comparison.of_files(files / "reference.bin", files / "same.parquet", DriftLimits(effect="chi2"), ["speed", "city"])
    chosen = comparison.of_files(files / "reference.bin", files / "same.parquet", DriftLimits(effect="chi2"), ["stops", "city"])
    assert {column.effect_name for column in chosen.report.columns} == {"chi2"}


def test_the_command_tells_by_the_content_and_says_what_is_estimated(files: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "yesterday"
    elsewhere.write_bytes((files / "reference.bin").read_bytes())
    page = tmp_path / "page.html"
    said = drift("--reference", elsewhere, "--current", files / "moved.parquet", "--html", page)
    assert said.startswith("estimated: narrow, speed; their distribution is a sketch's, off in rank by 0.0035 at most (99%)\n")
    assert "20,000 rows against 20,000" in said
    assert "drifted  speed" in said
    assert page.read_text().startswith("<!doctype html>")
    found = json.loads(drift("--reference", elsewhere, "--current", files / "moved.parquet", "--json"))
    assert found["whole"] == {}
    assert len(found["notes"]) == 3


def test_columns_that_whylogs_did_not_keep_are_left_out_by_name(tmp_path: Path) -> None:
    frame = table(0, rows=2000).with_columns(
        pl.Series("at", np.arange(2000)).cast(pl.Datetime("ms")),
        pl.Series("code", [f"c{i}" for i in range(2000)]),
        pl.when(pl.int_range(pl.len()) == 7).then(np.inf).otherwise(pl.lit(1.0)).alias("ratio"),
    )
    frame.write_parquet(tmp_path / "b.parquet")
    with pytest.warns(RuntimeWarning, match="invalid value"):  # whylogs' variance of an infinite value
        logged(frame.with_columns(pl.col("code").cast(pl.Categorical).cast(pl.String)), tmp_path / "a.bin")
    found = comparison.of_files(tmp_path / "a.bin", tmp_path / "b.parquet", DriftLimits())
    assert set(told(found)) == {"speed", "narrow", "stops", "late", "city"}
    assert [note.split(",")[0] for note in found.notes[:3]] == [f"left out: column {name}" for name in ("at", "code", "ratio")]
    assert drawn.page(found)
    with pytest.raises(ValueError, match=r"column at of .* cannot be compared: it is one of whose object values"):
        comparison.of_files(tmp_path / "a.bin", tmp_path / "b.parquet", DriftLimits(), ["at"])


def test_rows_that_were_logged_one_by_one_are_read_too(tmp_path: Path, why: ModuleType) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "unicode_", np.str_, raising=False)
        rows = [{"x": 0.5 * i, "n": i % 3, "mixed": i if i % 2 else "odd", "none": None, "nan": float("nan")} for i in range(40)]
        profile = why.log(row=rows[0]).profile()
        for row in rows[1:]:
            profile.track(row)
        profile.track({"x": 1.0})  # a row without the others: they are missing from it
    (tmp_path / "a.bin").write_bytes(profile.view().serialize())
    reference = kept(tmp_path / "a.bin")
    assert reference is not None
    found = reference.profile
    assert (found.rows, set(found.numbers), set(reference.left_out)) == (41, {"x", "n"}, {"mixed", "none", "nan"})
    assert reference.left_out["mixed"] == "which held values of several types: integral, string"
    assert found.counts.missing[found.numbers.index("n")] == 1
    assert found.samples[found.numbers.index("n")].tolist() == [0] * 14 + [1] * 13 + [2] * 13
    assert found.samples[found.numbers.index("x")].tolist() == sorted([0.5 * i for i in range(40)] + [1.0])


def test_a_file_of_several_segments_is_refused(files: Path, tmp_path: Path) -> None:
    from whylogs.core.proto import DatasetSegmentHeader
    from whylogs.core.utils import write_delimited_protobuf

    with (tmp_path / "a.bin").open("wb") as file:
        file.write(b"WHY1")
        header = DatasetSegmentHeader(has_segments=True, offsets={0: 0, 1: 0})
        write_delimited_protobuf(file, header)
        file.write((files / "reference.bin").read_bytes()[5:])  # a header of nothing is one byte, its length
    with pytest.raises(ValueError, match="holds 2 segments, of which whylogs reads one: write a profile of all rows"):
        kept(tmp_path / "a.bin")


def test_ours_is_read_by_whylogs_with_the_same_numbers(files: Path, tmp_path: Path, why: ModuleType) -> None:
    path = tmp_path / "ours.bin"
    ended = CliRunner().invoke(app.cli, ["profile", str(files / "reference.parquet"), "--output", str(path)])
    assert ended.output == f"{path}: 20,000 rows, 5 columns\n"
    ours, theirs = (why.DatasetProfileView.read(str(each)).to_pandas() for each in (path, files / "reference.bin"))
    for name in ("counts/n", "counts/null", "counts/true", "types/boolean", "types/string", "distribution/n", "distribution/min"):
        assert ours[name].fillna(0).tolist() == theirs[name].fillna(0).tolist(), name
    numbers = ["speed", "narrow", "stops", "late"]
    for name in ("distribution/mean", "distribution/stddev", "distribution/max"):
        assert ours[name][numbers].tolist() == pytest.approx(theirs[name][numbers].tolist(), rel=1e-5), name
    assert ours["distribution/median"]["speed"] == pytest.approx(theirs["distribution/median"]["speed"], abs=0.1)
    assert ours["cardinality/est"][["late", "city"]].round().tolist() == [2, 3]
    assert ours["frequent_items/frequent_strings"]["city"] == theirs["frequent_items/frequent_strings"]["city"]


def test_whylogs_merges_ours_with_its_own(files: Path, tmp_path: Path, why: ModuleType) -> None:
    whylogs_file.write(profile_of(files / "reference.parquet"), tmp_path / "ours.bin")
    views = [why.DatasetProfileView.read(str(each)) for each in (tmp_path / "ours.bin", files / "reference.bin")]
    merged = views[0].merge(views[1]).to_pandas()
    assert merged["counts/n"].tolist() == [2 * ROWS] * 5
    assert merged["distribution/n"]["narrow"] == 2 * ROWS


@pytest.mark.parametrize("rows", [1, 2, 700, 9_999, 25_000])
def test_a_profile_that_went_through_whylogs_finds_no_drift_in_its_own_data(rows: int, tmp_path: Path) -> None:
    table(3, rows=rows).write_parquet(tmp_path / "a.parquet")
    whylogs_file.write(profile_of(tmp_path / "a.parquet"), tmp_path / "a.bin")
    back, there = kept(tmp_path / "a.bin"), profile_of(tmp_path / "a.parquet")
    assert back is not None
    assert back.profile.rows == rows
    kept_numbers = [there.numbers.index(name) for name in back.profile.numbers]
    assert back.profile.counts.finite.tolist() == there.counts.finite[kept_numbers].tolist()
    assert back.profile.counts.minimum.tolist() == there.counts.minimum[kept_numbers].tolist()
    found = comparison.of_files(tmp_path / "a.bin", tmp_path / "a.parquet", DriftLimits())
    assert not found.report.drifted
    assert all(column.effect < 0.01 for column in found.report.columns)


def test_what_whylogs_has_no_place_for_is_said(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "at": pl.Series(range(1000)).cast(pl.Datetime("ms")),
            "code": [f"c{i}" for i in range(1000)],
            "ratio": [float("inf"), *range(999)],
        }
    )
    frame.write_parquet(tmp_path / "a.parquet")
    lost = whylogs_file.write(profile_of(tmp_path / "a.parquet"), tmp_path / "a.bin")
    assert [one.split(" ", 3)[:2] for one in lost] == [["of", "at"], ["of", "code"], ["of", "ratio"]]
    reference = kept(tmp_path / "a.bin")
    assert reference is not None
    assert (set(reference.left_out), set(reference.profile.kinds)) == ({"at", "code"}, {"ratio"})
    assert reference.profile.counts.missing.tolist() == [1]


def test_text_crosses_up_to_768_values_and_is_left_out_beyond(tmp_path: Path) -> None:
    for size, left_out in ((whylogs_file.MOST, set()), (whylogs_file.MOST + 1, {"code"})):
        frame = pl.DataFrame({"code": [f"c{i % size}" for i in range(3 * size)], "x": [1.0] * (3 * size)})
        frame.write_parquet(tmp_path / "a.parquet")
        lost = whylogs_file.write(profile_of(tmp_path / "a.parquet"), tmp_path / "a.bin")
        assert len(lost) == len(left_out)
        reference = kept(tmp_path / "a.bin")
        assert reference is not None
        assert set(reference.left_out) == left_out
        assert all(set(values.values()) == {3} for values in reference.profile.categories.values())


def test_our_own_profile_is_a_reference_too(files: Path, tmp_path: Path) -> None:
    path = tmp_path / "kept.arrow"
    CliRunner().invoke(app.cli, ["profile", str(files / "reference.parquet"), "--output", str(path)], catch_exceptions=False)
    assert profile_file.read(path).rows == ROWS
    from_profile, from_data = (
        told(comparison.of_files(each, files / "moved.parquet", DriftLimits())) for each in (path, files / "reference.parquet")
    )
    for name, column in from_data.items():
        assert from_profile[name].measures["psi"] == column.measures["psi"]
        assert from_profile[name].measures.keys() == column.measures.keys()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"WHY1", "begins as a whylogs profile does, and whylogs cannot read it"),
        (b"WHY1" + bytes(range(200)), "begins as a whylogs profile does, and whylogs cannot read it"),
        (b"ARROW1\0\0", "is no profile"),
    ],
    ids=["cut short", "garbage", "no whole Arrow file"],
)
def test_files_that_only_begin_like_profiles_are_refused(content: bytes, says: str, files: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ConfigurationError, match=says):
        CliRunner().invoke(
            app.cli,
            ["drift", "--reference", str(tmp_path / "x"), "--current", str(files / "same.parquet")],
            catch_exceptions=False,
        )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--reference", "same.parquet", "--current", "reference.bin"], "reference.bin is a profile: what is compared"),
        (
            ["--reference", "reference.bin", "--current", "same.parquet", "--segments", "city"],
            "holds no profiles of the segments",
        ),
        (["--reference", "reference.bin", "--current", "other.parquet"], "column other is in other.parquet and not in the ref"),
    ],
)
def test_what_a_profile_cannot_do_is_said(arguments: list[str], says: str, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    table(1).with_columns(other=1).write_parquet("other.parquet")
    with pytest.raises(ConfigurationError, match=says):
        CliRunner().invoke(app.cli, ["drift", *arguments], catch_exceptions=False)


def test_nobody_is_told_that_whylogs_was_imported() -> None:
    whylogs_file._whylogs()
    from whylogs.api import usage_stats

    assert usage_stats._TELEMETRY_DISABLED
