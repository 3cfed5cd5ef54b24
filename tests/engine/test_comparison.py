"""`warmstart drift --reference A --current B`: any two Parquet files, without a stream."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from scipy import stats

from engine import app, comparison, embeddings
from engine.configuration import ConfigurationError
from engine.drift import DriftLimits
from engine.page import comparison as drawn
from kernels import suite

ROWS = 12_000  # more than a Profile's sample


def table(seed: int, rows: int = ROWS, shift: float = 0.0, cities: tuple[str, ...] = ("Oslo", "Rome", "Zürich")) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    place = random.integers(0, len(cities), rows)
    speed = random.normal(10 + shift, 2, rows)
    return pl.DataFrame(
        {
            "speed": speed,
            "wear": 3 * speed + random.normal(0, 1, rows),
            "late": random.random(rows) < 0.3,
            "city": [cities[p] for p in place],
            "at": pl.Series(random.integers(0, 10**6, rows)).cast(pl.Datetime("ms")),
        }
    )


def files(folder: Path, reference: pl.DataFrame, current: pl.DataFrame) -> tuple[Path, Path]:
    made = folder / "a.parquet", folder / "b.parquet"
    for frame, path in zip((reference, current), made, strict=True):
        frame.write_parquet(path)
    return made


def drift(*arguments: str | Path) -> str:
    ended = CliRunner().invoke(app.cli, ["drift", *map(str, arguments)], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.output


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> comparison.Comparison:
    paths = files(tmp_path_factory.mktemp("files"), table(0), table(1, shift=2.0, cities=("Oslo", "Rome", "Lima")))
    return comparison.of_files(*paths, DriftLimits(segments="city"))


def test_what_moved_drifted_and_nothing_else(shifted: comparison.Comparison) -> None:
    assert {c.name for c in shifted.report.columns if c.drifted and not c.segment} == {"speed", "wear", "city"}


def test_every_statistic_of_the_suite_is_told_of_every_column(shifted: comparison.Comparison) -> None:
    told = {c.column: set(c.measures) for c in shifted.report.columns if not c.segment}
    assert told == {name: set(suite.CATEGORIES if name == "city" else suite.NUMBERS) for name in told}
    assert set(shifted.whole) == set(suite.TABLES)
    assert len({*suite.NUMBERS, *suite.CATEGORIES, *suite.TABLES}) >= 30


def test_statistics_over_sorted_values_read_every_row(shifted: comparison.Comparison) -> None:
    (speed,) = (c for c in shifted.report.columns if c.name == "speed")
    before, after = table(0)["speed"].to_numpy(), table(1, shift=2.0)["speed"].to_numpy()
    assert speed.measures["ks"].value == pytest.approx(stats.ks_2samp(before, after).statistic, rel=1e-12)
    assert speed.measures["w1"].value == pytest.approx(stats.wasserstein_distance(before, after), rel=1e-9)
    assert speed.measures["mann_whitney"].value == pytest.approx(stats.mannwhitneyu(before, after).statistic, rel=1e-12)


def test_what_statistics_of_whole_rows_leave_out_is_counted_and_said(tmp_path: Path) -> None:
    reference, current = table(0), table(1, rows=8_000)
    numbers = ("speed", "wear", "late")
    last = pl.int_range(pl.len()) >= pl.len() - 1
    current = current.with_columns(
        pl.when(pl.int_range(pl.len()) < 100).then(None).otherwise(pl.col("speed")).alias("speed"),
        pl.when(pl.int_range(pl.len()) < 10).then(float("inf")).otherwise(pl.col("wear")).alias("wear"),
    ).with_columns(pl.when(last).then(None).otherwise(pl.col(name)).alias(name) for name in numbers)
    a, b = files(tmp_path, reference, current)
    said = drift("--reference", a, "--current", b, "--html", tmp_path / "page.html")
    told = json.loads(drift("--reference", a, "--current", b, "--json"))
    expected = [
        "whole rows of 3 numeric columns; text has no part in them: city",
        "reference: 10,000 drawn of 12,000 rows",
        "current: all 8,000 rows; in 101 of them a value is missing or infinite, 113 in all; 1 without any value are left out",
        "such a value counts as the reference's median of its column, but for the classifier, which takes it as it is",
    ]
    lines = said.splitlines()
    first = lines.index(expected[0])
    assert lines[first : first + 4] == expected
    page = html.unescape((tmp_path / "page.html").read_text())
    assert all(line[1:] in page for line in expected)
    assert told["left_out_of_whole"] == ["city"]
    assert told["drawn"]["reference"] == {"rows": 12_000, "drawn": 10_000, "gaps": 0, "cells": 0, "empty": 0}
    assert told["drawn"]["current"] == {"rows": 8_000, "drawn": 8_000, "gaps": 101, "cells": 113, "empty": 1}
    rows = {name: tuple(one["rows"]) for name, one in told["whole"].items()}
    assert rows == {
        "mmd": (10_000, 7_999),
        "mmd_linear": (7_998, 7_998),
        "sliced_w1": (10_000, 7_999),
        "mahalanobis": (10_000, 7_999),
        "pca": (10_000, 7_999),
        "classifier": (5_000, 5_000),
        "correlation": (10_000, 7_999),
    }
    for name, (before, after) in rows.items():
        assert re.search(rf"^{name} .* of {before:,} and {after:,} rows$", said, re.MULTILINE)
        assert f"{before:,} and {after:,}" in page


def test_dates_are_not_judged_unless_they_are_asked_for_and_ids_have_no_part_in_whole_rows(tmp_path: Path) -> None:
    later = pl.col("at") + pl.duration(days=90)
    count = pl.int_range(pl.len())
    wait = pl.duration(seconds=count % 7).alias("wait")
    reference = table(0, 500).with_columns(count.alias("order"), (count * 7 % 500).alias("code"), wait)
    current = table(1, 500).with_columns(later, (count + 500).alias("order"), (count * 3 % 500).alias("code"), wait)
    a, b = files(tmp_path, reference, current)
    found = comparison.of_files(a, b, DriftLimits())
    judged = {c.name: c.drifted for c in found.report.columns}
    assert judged == {"speed": False, "wear": False, "late": False, "city": False, "order": True, "code": False, "wait": False}
    assert found.report.notes == ("at moves with time: it is not judged, and no part of whole rows; `--column at` compares it",)
    assert found.ids == ("order",)
    assert "whole rows of 5 numeric columns; text has no part in them: city; nor have ids, which count the rows: order" in (
        comparison.lines(found)
    )
    assert found.whole["classifier"].value < 0.6  # with the order, or the time, 1.0
    asked = comparison.of_files(a, b, DriftLimits(), ["at", "speed"])
    assert {c.name: c.drifted for c in asked.report.columns} == {"at": True, "speed": False}
    assert json.loads(drift("--reference", a, "--current", b, "--json"))["left_out_of_whole"] == ["city", "order"]


def test_one_numeric_column_has_no_whole_rows_and_that_is_said(tmp_path: Path) -> None:
    a, b = files(tmp_path, *[NUMBERS] * 2)
    assert "whole rows are compared where there are two numeric columns, not 1; text has no part in them: c" in drift(
        "--reference", a, "--current", b
    )
    told = json.loads(drift("--reference", a, "--current", b, "--json"))
    assert (told["whole"], told["drawn"]) == ({}, {})


def test_segments_say_that_they_are_of_samples(shifted: comparison.Comparison) -> None:
    note, _ = shifted.report.notes
    assert note.startswith("in segments, statistics over sorted values of speed, wear, late are of samples, 1,000 values")
    assert note in comparison.lines(shifted)
    assert note[1:] in drawn.page(shifted)


def test_segments_are_compared_by_themselves(shifted: comparison.Comparison) -> None:
    assert {c.segment for c in shifted.report.columns} == {"", "Oslo", "Rome"}  # what one side alone has cannot be
    assert all(c.drifted for c in shifted.report.columns if c.column == "speed")


def test_the_page_draws_every_column_and_needs_nothing_else(shifted: comparison.Comparison) -> None:
    page = drawn.page(shifted)
    for name in ("speed [Oslo]", "Zürich", "columns drifted", "mahalanobis"):
        assert name in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<section") == len(shifted.report.columns) + 1


def test_lines_json_and_page_of_the_command(tmp_path: Path) -> None:
    a, b = files(tmp_path, table(0, 500), table(1, 500, shift=2.0))
    said = drift("--reference", a, "--current", b)
    assert said.splitlines()[0] == f"{b} against {a}: 500 rows against 500"
    assert "drifted  speed" in said
    assert "mahalanobis" in said
    told = json.loads(drift("--reference", a, "--current", b, "--json", "--html", tmp_path / "page.html"))
    assert {c["column"]: c["drifted"] for c in told["columns"]}["speed"]
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert "late" not in drift("--reference", a, "--current", b, "--column", "speed", "--column", "city")


def test_a_folder_of_files_is_one_table(tmp_path: Path) -> None:
    whole = table(0, 600)
    (tmp_path / "parts").mkdir()
    for part in range(3):
        whole[part * 200 : part * 200 + 200].write_parquet(tmp_path / "parts" / f"part-{part}.parquet")
    whole.write_parquet(tmp_path / "whole.parquet")
    found = comparison.of_files(tmp_path / "whole.parquet", tmp_path / "parts", DriftLimits())
    assert found.report.rows_current == 600
    assert {c.measures["ks"].value for c in found.report.columns if "ks" in c.measures} == {0.0}


NUMBERS = pl.DataFrame({"x": [float(i) for i in range(50)], "c": ["a", "b"] * 25})


@pytest.mark.parametrize(
    ("current", "says"),
    [
        (NUMBERS.rename({"x": "y"}), "column x is in .* and not in"),
        (NUMBERS.with_columns(pl.col("x").cast(pl.String)), "column x holds a number in .* and a category in .*cast to numbers"),
        (NUMBERS.with_columns(pl.lit(2**60 + 1).alias("x")), r"column x holds 1152921504606846977, and integers beyond 2\^53"),
        (NUMBERS.clear(), "holds no rows"),
    ],
    ids=["another name", "numbers as text", "beyond precision", "empty"],
)
def test_files_that_cannot_be_compared_are_told_by_column(tmp_path: Path, current: pl.DataFrame, says: str) -> None:
    a, b = files(tmp_path, NUMBERS, current)
    with pytest.raises(ConfigurationError, match=says):
        CliRunner().invoke(app.cli, ["drift", "--reference", str(a), "--current", str(b)], catch_exceptions=False)


def test_nested_columns_are_refused_by_name(tmp_path: Path) -> None:
    a, b = files(tmp_path, *[pl.DataFrame({"x": [1.0, 2.0], "tags": [["a"], ["b"]]})] * 2)
    with pytest.raises(ConfigurationError, match=r"column tags .*leave it out"):
        CliRunner().invoke(app.cli, ["drift", "--reference", str(a), "--current", str(b)], catch_exceptions=False)


@pytest.mark.parametrize(
    "current",
    [
        NUMBERS[:1],
        NUMBERS.with_columns(pl.lit(3.0).alias("x")),
        NUMBERS.with_columns(pl.lit(float("nan")).alias("x")),
        NUMBERS.with_columns(pl.lit(None, pl.Float64).alias("x"), pl.lit(None, pl.String).alias("c")),
        NUMBERS.with_columns(pl.int_range(pl.len()).cast(pl.String).alias("c")),
        NUMBERS.with_columns(pl.when(pl.col("x") > 40).then(float("inf")).otherwise(pl.col("x")).alias("x")),
    ],
    ids=["one row", "constant", "all NaN", "all null", "more categories than rows", "infinities"],
)
@pytest.mark.parametrize("turned", [False, True], ids=["as current", "as reference"])
def test_strange_columns_are_measured_without_a_complaint(tmp_path: Path, current: pl.DataFrame, turned: bool) -> None:
    a, b = files(tmp_path, *((current, NUMBERS) if turned else (NUMBERS, current)))
    found = comparison.of_files(a, b, DriftLimits())
    assert drawn.page(found)
    assert len(comparison.lines(found)) >= 3


def test_numbers_stored_as_text_on_both_sides_are_noted(tmp_path: Path) -> None:
    text = NUMBERS.with_columns(pl.col("x").cast(pl.String))
    found = comparison.of_files(*files(tmp_path, text, text), DriftLimits())
    assert any(note.startswith("column x holds numbers as text") for note in found.notes)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--reference", "a.parquet"], "belong together"),
        (["--reference", "no.parquet", "--current", "no.parquet"], "no.parquet does not exist"),
        (["--reference", "x.txt", "--current", "x.txt"], "cannot be read as Parquet"),
        (["week-1", "--reference", "x.txt", "--current", "x.txt"], "compared without a stream"),
        (["--reference", "x.txt", "--current", "x.txt", "--effect", "psy"], "there is no effect 'psy'.*psi"),
        ([], "say which window of the stream, or two files"),
    ],
)
def test_a_wrong_command_is_told_what_is_wrong(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.txt").write_text("no table")
    ended = CliRunner().invoke(app.cli, ["drift", *arguments])
    said = str(ended.exception) if isinstance(ended.exception, ConfigurationError) else ended.output
    assert ended.exit_code != 0
    assert re.search(says, " ".join(said.split()))


def embedded(seed: int, shift: float = 0.0, rows: int = 2000, width: int = 16) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    vectors = (random.normal(size=(rows, width)) + shift).astype(np.float32)
    found = pl.DataFrame({"text": random.choice(["a", "b"], rows), "size": random.normal(size=rows), "words": vectors})
    return found.with_columns(pl.when(pl.int_range(pl.len()) % 100 == 0).then(None).otherwise(pl.col("words")).alias("words"))


@pytest.mark.parametrize("kind", [pl.Array(pl.Float32, 16), pl.List(pl.Float64)])
def test_embeddings_are_compared_as_whole_vectors(tmp_path: Path, kind: pl.DataType) -> None:
    before, same, moved = (embedded(seed, shift).cast({"words": kind}) for seed, shift in ((0, 0.0), (1, 0.0), (2, 0.3)))
    (still,) = comparison.of_files(*files(tmp_path, before, same), DriftLimits()).vectors.values()
    (far,) = comparison.of_files(*files(tmp_path, before, moved), DriftLimits()).vectors.values()
    assert still.width == 16
    assert str(still.drawn[0]) == (
        "all 2,000 rows; in 20 of them a value is missing or infinite, 320 in all; 20 without any value are left out"
    )
    assert set(still.measures) == set(embeddings.NAMES)
    for name in ("mmd", "mmd_linear", "sliced_w1", "mahalanobis", "classifier"):
        unmoved, away = still.measures[name].p_value, far.measures[name].p_value
        assert unmoved is not None
        assert away is not None
        assert away < 0.01 < unmoved


def test_embeddings_alone_are_a_table_too_and_are_told_in_lines_json_and_page(tmp_path: Path) -> None:
    before, after = files(tmp_path, embedded(0).select("words"), embedded(1).select("words"))
    page = tmp_path / "page.html"
    said = drift("--reference", before, "--current", after, "--html", page)
    assert "words, vectors of 16 numbers\nreference: all 2,000 rows" in said
    assert "words, vectors of 16 numbers" in page.read_text()
    found = json.loads(drift("--reference", before, "--current", after, "--json"))
    assert found["vectors"]["words"]["measures"]["mmd"]["rows"] == [1980, 1980]


@pytest.mark.parametrize(
    ("after", "says"),
    [
        (embedded(1, width=8), "column words holds vectors of 16 numbers in the reference and of 8 in the current data"),
        (
            embedded(1).with_columns(pl.col("words").cast(pl.List(pl.Float32)).list.head(pl.int_range(pl.len()) % 16 + 1)),
            "column words holds lists of 1 to 16 numbers: vectors have one length",
        ),
        (embedded(1).with_columns(pl.lit(1.0).alias("words")), "column words"),
    ],
)
def test_vectors_that_have_no_distance_are_refused(tmp_path: Path, after: pl.DataFrame, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        comparison.of_files(*files(tmp_path, embedded(0), after), DriftLimits())
