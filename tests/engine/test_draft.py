"""`warmstart init`: what it makes of each kind of column, in which words, and what it refuses."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from engine import app, wiring
from engine.configuration import ConfigurationError, resolve
from engine.draft import LINES, draft
from engine.nouns import Column

ROWS = 600


def shop(seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "row_id": np.arange(ROWS) + ROWS * seed,
            "receipt": [f"r{n:06d}" for n in random.integers(0, 10**6, ROWS)],
            "note": [f"a long remark of customer {n} about the wares that were bought" for n in range(ROWS)],
            "country": ["NO"] * ROWS,
            "empty": pl.Series([None] * ROWS, dtype=pl.Float64),
            "hardly": [1.5 if n == 7 else None if n else 2.5 for n in range(ROWS)],
            "sold_at": [datetime(2024, 1, 1) + timedelta(minutes=5 * n) for n in range(ROWS)],
            "price": random.uniform(1, 50, ROWS),
            "amount": random.integers(1, 400, ROWS),
            "promoted": random.random(ROWS) < 0.3,
            "shop type": random.choice(["kiosk", "market"], ROWS),
            "sizes": [[1, 2]] * ROWS,
            "units": random.normal(30, 5, ROWS),
        }
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demand").mkdir()
    for part in (1, 2, 10):
        shop(part).write_parquet(tmp_path / "demand" / f"part-{part}.parquet")
    return tmp_path / "demand"


def test_columns_that_can_be_learnt_from_become_features_and_the_others_are_named(folder: Path) -> None:
    drafted = draft("demand", "units")
    drafted.write()
    parts = wiring.parts(resolve(["stream=demand"]))
    assert parts.schema.columns == (
        Column("price", "number"),
        Column("amount", "number"),
        Column("promoted", "boolean"),
        Column("shop type", "category"),
    )
    assert (parts.schema.target, parts.schema.task, parts.schema.time) == ("units", "regression", "sold_at")
    for left in (
        "row_id (counts the rows)",
        "receipt (nearly every row has its own value)",
        "note (free text)",
        "country (always NO)",
        "empty (nothing but nulls)",
        "hardly (missing in 100% of a window)",
        "sizes (holds List(Int64))",
    ):
        assert left in " ".join(drafted.text.replace("#", " ").split())
    assert drafted.summary == "regression of units from 4 columns, 3 windows of about 600 rows"


def test_every_line_says_why_it_is_there_and_there_are_25_at_most(folder: Path) -> None:
    lines = draft("demand", "units").text.splitlines()
    assert len(lines) <= LINES
    for name, words in (
        ("price", "1."),
        ("promoted", "true in 3"),
        ('"shop type"', "2 values: "),
        ("task", "units is a number, "),
        ("time", "orders the rows"),
    ):
        (line,) = (line for line in lines if line.strip().startswith(f"{name}:"))
        assert words in line.partition("  # ")[2]


def test_small_windows_get_gentler_limits_and_large_ones_the_usual_ones(folder: Path) -> None:
    draft("demand", "units").write()
    small = wiring.parts(resolve(["stream=demand"]))
    assert (small.contract.min_rows, small.slices.judge, small.gate.min_rows) == (150, 0.3, 90)
    for path in folder.iterdir():
        pl.concat([shop(k) for k in range(2)]).write_parquet(path)
    assert "min_rows" not in draft("demand", "units", name="large").text


@pytest.mark.parametrize(
    ("target", "task", "classes"),
    [
        ("units", "regression", ()),
        ("promoted", "binary", ("false", "true")),
        ("shop type", "binary", ("kiosk", "market")),
        ("amount", "regression", ()),
        (pl.col("amount") % 3, "multiclass", ("0", "1", "2")),
        ((pl.col("amount") % 2).cast(pl.Float64), "binary", ("0", "1")),
        (pl.when(pl.col("promoted")).then(pl.lit("yes")).otherwise(pl.lit("no")), "binary", ("no", "yes")),
    ],
)
def test_the_task_follows_from_the_target(folder: Path, target: str | pl.Expr, task: str, classes: tuple[str, ...]) -> None:
    if isinstance(target, pl.Expr):
        for path in folder.iterdir():
            pl.read_parquet(path).with_columns(target.alias("wanted")).write_parquet(path)
        target = "wanted"
    draft("demand", target).write()
    schema = wiring.parts(resolve(["stream=demand"])).schema
    assert (schema.target, schema.task, schema.classes) == (target, task, classes)


def test_of_two_times_the_one_that_grows_orders_the_rows_and_of_equals_none(folder: Path) -> None:
    day = pl.duration(days=pl.lit(1))
    for number, part in enumerate((1, 2, 10)):
        path = folder / f"part-{part}.parquet"
        signed = pl.col("sold_at") - day * (number % 2)
        pl.read_parquet(path).with_columns(pl.col("sold_at") + day * 30 * number, signed.alias("signed_up")).write_parquet(path)
    grown = draft("demand", "units")
    assert "  time: sold_at " in grown.text
    assert grown.notes == ()
    for path in folder.iterdir():
        pl.read_parquet(path).with_columns(pl.col("signed_up").alias("sold_at")).write_parquet(path)
    drafted = draft("demand", "units")
    words = "2 columns could be the time: sold_at, signed_up; choose with `--time`, or `time:` in the YAML"
    assert drafted.notes == (words,)
    assert f"\n# {words}\n" in drafted.text
    assert "  time:" not in drafted.text
    said = CliRunner().invoke(app.cli, ["init", "demand", "--target", "units"]).output.splitlines()
    assert said[1:] == [words, "now look at it, then: warmstart run stream=demand"]


def test_targets_that_are_missing_are_counted_and_where_they_are_too_many_the_way_out_is_named(folder: Path) -> None:
    first, *_ = sorted(folder.iterdir())

    def holes(count: int) -> None:
        gone = pl.when(pl.int_range(pl.len()) >= count).then("units").alias("units")
        shop(1).with_columns(gone).write_parquet(first)

    holes(20)
    few = draft("demand", "units")
    assert "missing in 20 of 1800 rows, which are left out" in few.text
    assert few.notes == ()
    assert few.summary.endswith("; 20 rows have no target and are left out")
    holes(40)
    (said,) = draft("demand", "units").notes
    assert said == (
        "units is missing in over 5% of the rows in 1 of 3 windows, part-1 first: these will be quarantined; deliver them again, "
        "or allow more with `stream.contract.max_missing_target`"
    )


def test_a_class_that_comes_late_is_known_from_the_beginning(folder: Path) -> None:
    shop(11).with_columns(pl.lit("bazaar").alias("shop type")).write_parquet(folder / "part-11.parquet")
    draft("demand", "shop type").write()
    assert wiring.parts(resolve(["stream=demand"])).schema.classes == ("bazaar", "kiosk", "market")


def test_five_hundred_columns_still_fit_on_25_lines(folder: Path) -> None:
    for path in folder.iterdir():
        random = np.random.default_rng(0)
        wide = pl.DataFrame({f"sensor {n}": random.normal(size=50) for n in range(500)})
        wide.with_columns(pl.Series("y", random.normal(size=50))).write_parquet(path)
    drafted = draft("demand", "y")
    drafted.write()
    assert len(drafted.text.splitlines()) <= LINES
    assert len(wiring.parts(resolve(["stream=demand"])).schema.columns) == 500


def test_names_and_values_of_any_sort_make_a_file_that_can_be_read_again(folder: Path) -> None:
    odd = 'größe: "A" #1'
    for path in folder.iterdir():
        words = pl.Series(odd, ["a\n# b", "\x07bell", "on", "\u2028", "日本"] * (ROWS // 5))
        labels = pl.Series("is", ["no", "y\tes", "${x}"] * (ROWS // 3))
        pl.DataFrame([words, pl.Series("null", range(ROWS)) * 2.5, labels]).write_parquet(path)
    draft("demand", "is").write()
    schema = wiring.parts(resolve(["stream=demand"])).schema
    assert [(c.name, c.kind) for c in schema.columns] == [(odd, "category"), ("null", "number")]
    assert schema.classes == ("${x}", "no", "y\tes")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("demand", "unit"), "--target: there is no column 'unit'; did you mean 'units'?"),
        (("demand", "units", "sold"), "--time: there is no column 'sold'; did you mean 'sold_at'?"),
        (("demand", "units", "country"), "--time: country holds String; rows are ordered by a date, a time or a number"),
        (("demand", "country"), "--target: country has one value alone: nothing can be learnt from it"),
        (("demand", "empty"), "--target: empty has no value: nothing can be learnt from it"),
        (("demand", "note"), "--target: note has 600 different texts; at most 100 classes are possible"),
        (("demand", "sold_at"), "--target: sold_at holds Datetime"),
        (("demand", "units", None, "a b"), "'a b' cannot name a stream: use letters, digits, - and _"),
        (("demand", "units", None, "flights"), "a shipped stream 'flights' is there already and is left as it is"),
    ],
)
def test_what_stands_in_the_way_is_said_with_its_remedy(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        draft(*arguments)
    assert str(refused.value).startswith(message)


def test_with_a_folder_of_labels_the_task_follows_from_them_and_the_key_is_no_feature(folder: Path) -> None:
    Path("truth").mkdir()
    for path in folder.iterdir():
        window = pl.read_parquet(path)
        window.select("row_id", pl.col("promoted").alias("bought")).write_parquet(Path("truth") / path.name)
        window.drop("promoted").write_parquet(path)
    drafted = draft("demand", "bought", labels="truth", key="row_id")
    drafted.write()
    assert len(drafted.text.splitlines()) <= LINES
    assert "labels: {folder: truth, key: row_id}" in drafted.text
    parts = wiring.parts(resolve(["stream=demand"]))
    assert (parts.schema.task, parts.schema.classes, parts.schema.key) == ("binary", ("false", "true"), "row_id")
    assert [column.name for column in parts.schema.columns] == ["price", "amount", "shop type", "units"]
    assert "row_id" not in drafted.text.partition("labels:")[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": "truth"}, "`--labels FOLDER` and `--key COLUMN` belong together"),
        ({"labels": "truth", "key": "row"}, "--key, in "),
        ({"labels": "empty", "key": "row_id"}, "--labels: there is no Parquet file with rows in empty"),
    ],
)
def test_what_is_wrong_with_labels_is_said_with_its_remedy(folder: Path, given: dict[str, str], message: str) -> None:
    for name in ("truth", "empty"):
        Path(name).mkdir()
    shop().select("row_id", "units").write_parquet("truth/a.parquet")
    with pytest.raises(ConfigurationError) as refused:
        draft("demand", "units", **given)
    assert str(refused.value).startswith(message)


def test_a_stream_that_is_there_is_never_overwritten(folder: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app.cli, ["init", "demand", "--target", "units"]).exit_code == 0
    Path("stream/demand.yaml").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"stream/demand\.yaml is there already"):
        runner.invoke(app.cli, ["init", "demand", "--target", "units"], catch_exceptions=False)
    assert Path("stream/demand.yaml").read_text() == "mine"


def test_a_folder_without_windows_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigurationError, match="there is no Parquet file with rows in none"):
        draft("none", "y")
