"""Contracts: what is declared holds row by row, what is learnt lets drift pass and stops what is broken."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandera.polars as pa
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import app, flights, wiring
from engine.configuration import ConfigurationError, resolve
from engine.contracts import learning, rows, shown
from engine.contracts.contract import Contract
from engine.contracts.learning import Lesson
from engine.contracts.limits import Limits
from engine.nouns import Breach, Column, Schema, Window

SCHEMA = Schema((Column("speed", "number"), Column("city", "category")), "minutes", time="at")
START = datetime(2024, 1, 1)
ROWS = 400


def test_a_few_rows_without_a_target_pass_and_more_are_a_limit_that_names_its_setting() -> None:
    def said(contract: Contract, holes: int) -> list[Breach]:
        gone = pl.when(pl.int_range(pl.len()) >= holes).then("minutes").alias("minutes")
        return list(contract.check_frame(frame().with_columns(gone), SCHEMA))

    assert said(Contract(), 20) == []
    (breach,) = said(Contract(), 21)
    assert breach.message == (
        "the target is null, NaN or infinite in 21 of 400 rows; at most 5% may be (`stream.contract.max_missing_target`): "
        "deliver it again with its targets, or allow more, and the rows without one are left out"
    )
    assert (breach.limit, breach.count, breach.rows[:2]) == (True, 21, (0, 1))
    assert said(Contract(max_missing_target=0.1), 21) == []
    (hard,) = said(Contract(max_missing_target=1), ROWS)
    assert (hard.message, hard.limit) == ("the target is null, NaN or infinite in all 400 rows", False)


def frame(day: int = 0, scale: float = 1.0) -> pl.DataFrame:
    random = np.random.default_rng(day)
    return pl.DataFrame(
        {
            "at": [START + timedelta(days=day, minutes=n) for n in range(ROWS)],
            "order": [f"{day}-{n}" for n in range(ROWS)],
            "speed": scale * random.normal(50, 5, ROWS),
            "city": random.choice(["Oslo", "Bergen", "Tromsø"], ROWS),
            "minutes": random.normal(10, 1, ROWS),
        }
    )


def with_value(table: pl.DataFrame, column: str, value: object, count: int) -> pl.DataFrame:
    """The same rows with `value` in every tenth, `count` times."""
    n = pl.int_range(pl.len())
    chosen = (n % 10 == 3) & (n < 10 * count)
    return table.with_columns(pl.when(chosen).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))


def lesson(day: int, table: pl.DataFrame | None = None) -> Lesson:
    window = Window("s", f"day-{day}", "", str(day), ROWS)
    return learning.study(window, frame(day) if table is None else table, SCHEMA)


def check(
    table: pl.DataFrame, *, lessons: tuple[Lesson, ...] = (), now: datetime | None = None, **limits: object
) -> list[Breach]:
    return list(Contract(**limits).check_frame(table, SCHEMA, lessons, now=now))  # type: ignore[arg-type]


LESSONS = (lesson(1), lesson(2), lesson(3))


# declared


def test_rows_outside_of_a_declared_range_are_named_with_their_values() -> None:
    (breach,) = check(with_value(frame(), "speed", 999.0, 8), columns={"speed": {"min": 0, "max": 200}})
    assert breach.message == (
        f"8 of {ROWS} rows lie outside of 0 to 200 (`stream.contract.columns.speed`): 999.0; at most 1% may; rows 3, 13, 23, …"
    )
    assert (breach.column, breach.count, breach.limit) == ("speed", 8, True)
    assert breach.rows == (3, 13, 23, 33, 43, 53, 63, 73)
    assert breach.values == ("999.0",) * 8


def test_a_share_of_rows_may_lie_outside_so_that_one_typing_error_costs_no_window() -> None:
    table = with_value(frame(), "speed", 999.0, 4)
    assert check(table, columns={"speed": {"max": 200}}) == []
    assert len(check(table, columns={"speed": {"max": 200}}, max_outside=0)) == 1


def test_twenty_rows_are_named_and_all_are_counted() -> None:
    (breach,) = check(frame(), columns={"speed": {"max": 0}})
    assert (breach.count, breach.rows, len(breach.values)) == (ROWS, tuple(range(20)), 20)
    assert "lie above 0 " in breach.message


def test_a_closed_list_of_categories_refuses_others_and_a_growing_one_only_a_window_of_others() -> None:
    some, most = with_value(frame(), "city", "Olso", 30), frame().with_columns(pl.lit("0301").alias("city"))
    closed = {"city": {"categories": ["Oslo", "Bergen", "Tromsø"]}}
    (breach,) = check(some, columns=closed)
    assert breach.message.startswith(f"30 of {ROWS} rows hold 'Olso', which is none of Oslo, Bergen, Tromsø (`stream.contract.")
    growing = {"city": closed["city"] | {"growing": True}}
    assert check(some, columns=growing) == []
    (breach,) = check(most, columns=growing)
    assert breach.message.startswith(f"{ROWS} of {ROWS} rows hold values never seen before, '0301' (")
    assert "did their codes change?; at most 50% may" in breach.message


def test_a_missing_share_of_ones_own_is_stricter_than_the_streams() -> None:
    table = with_value(frame(), "speed", float("nan"), 40)
    assert check(table) == []
    (breach,) = check(table, columns={"speed": {"max_missing": 0.05}})
    assert breach.message == f"40 of {ROWS} rows are missing; at most 5% may be (`stream.contract.columns.speed`)"
    assert breach.rows == tuple(range(3, 203, 10))


def test_missing_values_are_inside_of_every_range_and_every_list() -> None:
    table = with_value(with_value(with_value(frame(), "speed", None, 30), "city", None, 30), "city", "", 10)
    assert check(table, columns={"speed": {"min": 0, "max": 200}, "city": {"categories": ["Oslo", "Bergen", "Tromsø"]}}) == []


def test_a_column_that_is_no_feature_can_have_limits_too() -> None:
    table = frame().with_columns(pl.lit(-1).alias("price"))
    (breach,) = check(table, columns={"price": {"min": 0}})
    assert breach.message.startswith(f"{ROWS} of {ROWS} rows lie below 0 ")
    (breach,) = check(frame(), columns={"price": {"min": 0}})
    assert (breach.limit, breach.message[:21]) == (True, "the column is missing")
    (breach,) = check(frame(), columns={"order": {"min": 0}})
    assert breach.message == "holds String, and its limits are those of a number"


@pytest.mark.parametrize(("key", "named", "value"), [("order", "order", "0-0"), (["order", "city"], "order, city", "0-0")])
def test_a_key_that_repeats_names_its_rows(key: str | list[str], named: str, value: str) -> None:
    table = pl.concat([frame(), frame().head(1)])
    (breach,) = check(table, key=key)
    assert (breach.column, breach.count, breach.rows, breach.limit) == (named, 2, (0, ROWS), True)
    assert breach.message.startswith(f"2 of {ROWS + 1} rows repeat a key that another row has")
    assert value in breach.values[0]
    assert check(frame(), key=key) == []


def test_a_key_that_is_not_there_is_said_so() -> None:
    (breach,) = check(frame(), key="ordr")
    assert breach.message == "the column is missing; did the supplier rename it to 'order'?"


def test_freshness_is_the_age_of_the_newest_row_now() -> None:
    newest = (START + timedelta(minutes=ROWS - 1)).replace(tzinfo=UTC)
    assert check(frame(), freshness="2d", now=newest + timedelta(days=2)) == []
    (breach,) = check(frame(), freshness="2d", now=newest + timedelta(days=2, hours=12))
    assert breach.message == (
        "the newest row is of 2024-01-01T06:39:00, 2.5 days ago; at most 2d may have passed (`stream.contract.freshness`)"
    )
    assert check(frame(), freshness="2d") == [], "a window of a backlog is history"


def test_dates_and_zones_have_an_age_too() -> None:
    now = datetime(2024, 1, 2, 1, tzinfo=UTC)
    assert check(frame().with_columns(pl.col("at").dt.date()), freshness="26h", now=now) == []
    zoned = frame().with_columns(pl.col("at").dt.replace_time_zone("Europe/Oslo"))
    (breach,) = check(zoned, freshness="19h", now=now)
    assert "06:39:00+01:00, 19.4 hours ago" in breach.message


def test_nothing_that_makes_training_impossible_is_a_limit() -> None:
    for table in (
        frame().drop("speed"),
        frame().cast({"speed": pl.String}),
        frame().with_columns(pl.lit(None, pl.Float64).alias("minutes")),
    ):
        (breach,) = check(table)
        assert not breach.limit
    assert [b.limit for b in check(frame().clear())][:1] == [False]


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"columns": {"speed": {"maximum": 3}}}, "columns.speed: there is no limit 'maximum'; did you mean 'max'?"),
        ({"columns": {"speed": {"min": 3, "max": 1}}}, "columns.speed: min 3 is above max 1"),
        ({"columns": {"speed": {"max": "high"}}}, "columns.speed.max is 'high', which is no number"),
        ({"columns": {"speed": {"max_missing": 5}}}, "columns.speed.max_missing is 5; a share lies between 0 and 1"),
        ({"columns": {"city": {"growing": True}}}, "columns.city.growing says how `categories` are meant, and there are none"),
        ({"columns": {"city": {"min": 1, "categories": ["a"]}}}, "columns.city: a column has a range or categories, not both"),
        ({"max_outside": -1}, "max_outside is -1; a share lies between 0 and 1"),
        ({"freshness": "two days"}, "freshness is 'two days'; write a number and a unit (s, m, h, d, w), such as 36h or 2d"),
        ({"checks": [3]}, "checks: 3 is neither a schema nor a check of pandera"),
    ],
)
def test_a_wrong_limit_is_said_where_it_is(settings_: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Contract(**settings_)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+stream.contract.columns.carrier={min: 0}", "stream.contract: columns.carrier: min and max are for numbers, and this"),
        ("+stream.contract.columns.seats={categories: [a]}", "stream.contract: columns.seats: categories are for categories"),
        ("+stream.contract.columns.seats={mni: 0}", "columns.seats: there is no limit 'mni'; did you mean 'min'?"),
    ],
)
def test_a_limit_that_cannot_be_meant_for_the_column_is_a_wrong_configuration(override: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        wiring.parts(resolve(["stream=flights", override]))
    assert message in str(refused.value)


def test_freshness_without_a_time_column_is_a_wrong_configuration() -> None:
    with pytest.raises(ConfigurationError, match=r"freshness is measured by the time column"):
        wiring.parts(resolve(["stream=flights", "stream.time=null", "stream.contract.freshness=2d"]))


# checks of one's own


def slow_in_tromso() -> pa.DataFrameSchema:
    """What a stream's YAML names as `{_target_: test_contract.slow_in_tromso}`."""
    slow = pa.Check(lambda data: data.lazyframe.select((pl.col("city") != "Tromsø") | (pl.col("speed") < 30)), error="slow there")
    return pa.DataFrameSchema(checks=slow)


def test_a_schema_of_ones_own_names_its_rows_and_can_be_named_in_the_yaml() -> None:
    contract = wiring.build(
        {"_target_": "engine.contracts.contract.Contract", "checks": [{"_target_": f"{__name__}.slow_in_tromso"}]}, "here"
    )
    (breach,) = contract.check_frame(frame(), SCHEMA)
    tromso = frame()["city"] == "Tromsø"
    assert (breach.count, breach.rows) == (tromso.sum(), tuple(tromso.arg_true().head(20)))
    assert breach.message.startswith(f"{breach.count} of {ROWS} rows fail 'slow there' (`stream.contract.checks`): ")


class Priced(pa.DataFrameModel):
    speed: float = pa.Field(lt=0)


def test_a_model_of_ones_own_is_named_as_a_class() -> None:
    check_ = {"_target_": "hydra.utils.get_class", "path": f"{__name__}.Priced"}
    contract = wiring.build({"_target_": "engine.contracts.contract.Contract", "checks": [check_]}, "here")
    (breach,) = contract.check_frame(frame(), SCHEMA)
    assert (breach.column, breach.count, breach.message[:41]) == (
        "speed",
        ROWS,
        f"{ROWS} of {ROWS} rows fail 'less_than(0)' (`str",
    )


def test_a_check_that_is_not_there_is_a_wrong_configuration() -> None:
    with pytest.raises(ConfigurationError, match=r"stream\.contract.*no_such_module"):
        wiring.parts(resolve(["stream=flights", "stream.contract.checks=[{_target_: no_such_module.check}]"]))


def test_a_single_check_of_pandera_will_do_and_one_about_the_whole_window() -> None:
    schema = pa.DataFrameSchema({"speed": pa.Column(float, pa.Check.lt(0, error="negative")), "gone": pa.Column(float)})
    assert [(b.column, b.count) for b in check(frame(), checks=[schema])] == [(None, 0), ("speed", ROWS)]
    whole = pa.Check(lambda data: data.lazyframe.collect().height == 7, error="seven rows")
    (breach,) = check(frame(), checks=[whole])
    assert breach.message.startswith("the window fails 'seven rows' (`stream.contract.checks`)")


# learnt


def test_a_window_like_the_first_ones_passes() -> None:
    assert check(frame(4), lessons=LESSONS) == []


def test_drift_passes_and_other_units_do_not() -> None:
    assert check(frame(4, scale=1.3), lessons=LESSONS) == [], "15 of 50, three deviations"
    (breach,) = check(frame(4, scale=1000), lessons=LESSONS)
    assert f"{ROWS} of {ROWS} rows lie outside of " in breach.message
    assert "(learnt from the windows day-1, day-2, day-3)" in breach.message


def test_nothing_is_learnt_before_there_are_enough_lessons_and_nothing_when_it_is_turned_off() -> None:
    broken = frame(4, scale=1000)
    assert check(broken, lessons=LESSONS[:2]) == []
    assert check(broken, lessons=LESSONS, learn=0) == []
    assert len(check(broken, lessons=LESSONS[:2], learn=2)) == 1


def test_values_that_go_missing_pass_up_to_a_quarter_more_than_ever() -> None:
    gone = lambda count: with_value(frame(4), "speed", None, 40).with_columns(  # noqa: E731
        pl.when(pl.int_range(pl.len()) < count).then(None).otherwise(pl.col("speed")).alias("speed")
    )
    assert check(gone(60), lessons=LESSONS) == []
    (breach,) = check(gone(200), lessons=LESSONS)
    assert "rows are missing; at most 25% may be (learnt from the windows day-1, day-2, day-3)" in breach.message


def test_new_categories_pass_until_half_of_the_rows_hold_them() -> None:
    new = lambda count: frame(4).with_columns(  # noqa: E731
        pl.when(pl.int_range(pl.len()) < count).then(pl.lit("Bodø")).otherwise(pl.col("city")).alias("city")
    )
    assert check(new(ROWS // 2), lessons=LESSONS) == []
    (breach,) = check(new(ROWS // 2 + 1), lessons=LESSONS)
    assert breach.message.startswith(f"201 of {ROWS} rows hold values never seen before, 'Bodø' (learnt from ")


def test_what_the_champion_was_trained_on_is_known() -> None:
    table = frame(4).with_columns(pl.lit("Bodø").alias("city"))
    assert Contract().check_frame(table, SCHEMA, LESSONS, known={"city": {"Bodø": 400}}) == ()


def test_declared_limits_win_over_learnt_ones() -> None:
    broken = frame(4, scale=1000)
    assert check(broken, lessons=LESSONS, columns={"speed": {"min": 0, "max": 1e6}}) == []
    assert check(frame(4), lessons=LESSONS, columns={"speed": {"max": 0}})[0].count == ROWS
    limits = Contract(columns={"speed": {"max": 99}}).limits(SCHEMA, LESSONS)["speed"]
    assert limits.max == 99
    assert limits.min is not None


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(lambda day, n: float(day), id="a month: one value, which changes"),
        pytest.param(lambda day, n: day * ROWS + n, id="a counter"),
        pytest.param(lambda day, n: -day * ROWS - n, id="a countdown"),
        pytest.param(lambda day, n: 0.1 if n < 5 else 0.0, id="a rare event"),
        pytest.param(lambda day, n: math.nan, id="nothing"),
    ],
)
def test_what_tells_nothing_about_what_may_come_teaches_no_range(values: object) -> None:
    tables = [frame(day).with_columns(pl.Series("speed", [float(values(day, n)) for n in range(ROWS)])) for day in (1, 2, 3)]  # type: ignore[operator]
    found = learning.learnt([lesson(day, table) for day, table in zip((1, 2, 3), tables, strict=True)])
    assert (found["speed"].min, found["speed"].max) == (None, None)


def test_names_that_are_new_in_every_window_are_no_vocabulary() -> None:
    orders = [lesson(day, frame(day).with_columns(pl.col("order").alias("city"))) for day in (1, 2, 3)]
    assert learning.learnt(orders)["city"].categories is None


@pytest.mark.slow
def test_a_year_of_flights_passes_what_its_first_weeks_taught() -> None:
    contract, weeks = Contract(), list(flights.weeks())
    lessons = tuple(learning.study(Window("f", name, "", name, table.height), table, flights.SCHEMA) for name, table in weeks[:3])
    assert [len(contract.check_frame(table, flights.SCHEMA, lessons)) for _, table in weeks] == [0] * 52


numbers = st.lists(st.one_of(st.none(), st.floats(width=32), st.sampled_from([0.0, 1.0, -1.0])), min_size=1, max_size=60)
words = st.lists(st.one_of(st.none(), st.sampled_from(["", "a", "b", "ø", "a b"]), st.text(max_size=3)), min_size=1, max_size=60)


@settings(deadline=None, max_examples=60)
@given(numbers, st.floats(-2, 1), st.floats(1, 2))
def test_the_rows_outside_of_a_range_are_those_that_one_would_count(values: list[float | None], low: float, high: float) -> None:
    table = pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64)})
    bad = [n for n, v in enumerate(values) if v is not None and not math.isnan(v) and not low <= v <= high]
    found = rows.outside(table, {"x": Limits(min=low, max=high)}, {"x": 0.0})
    assert [(f.count, f.rows) for f in found] == ([(len(bad), tuple(bad[:20]))] if bad else [])


@settings(deadline=None, max_examples=60)
@given(words)
def test_the_rows_of_no_category_are_those_that_one_would_count(values: list[str | None]) -> None:
    table = pl.DataFrame({"x": pl.Series(values, dtype=pl.String)})
    bad = [n for n, v in enumerate(values) if v and v not in ("a", "b")]
    found = rows.outside(table, {"x": Limits(categories=("a", "b"))}, {"x": 0.0})
    assert [(f.count, f.rows) for f in found] == ([(len(bad), tuple(bad[:20]))] if bad else [])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(numbers, words), min_size=1, max_size=4))
def test_no_window_breaks_what_it_taught(windows: list[tuple[list[float | None], list[str | None]]]) -> None:
    schema = Schema((Column("x", "number"), Column("w", "category")), "y")
    tables = []
    for xs, ws in windows:
        size = min(len(xs), len(ws))
        table = {"x": pl.Series(xs[:size], dtype=pl.Float64), "w": pl.Series(ws[:size], dtype=pl.String)}
        finite = pl.col("x").is_infinite().fill_null(False)
        tables.append(pl.DataFrame(table).with_columns(pl.when(~finite).then("x").alias("x"), pl.int_range(pl.len()).alias("y")))
    lessons = [learning.study(Window("s", str(k), "", str(k), t.height), t, schema) for k, t in enumerate(tables)]
    contract = Contract(min_rows=1, learn=1, max_outside=0, max_missing=1, constant_target=True)
    assert [contract.check_frame(table, schema, lessons) for table in tables] == [()] * len(tables)


# shown


def test_every_limit_is_shown_with_where_it_comes_from() -> None:
    contract = Contract(columns={"speed": {"max": 80}, "order": {"max_missing": 0}}, key="order")
    found = {(s["column"], s["limit"]): (s["value"], s["from"]) for s in shown.limits(contract, SCHEMA, LESSONS)}
    assert found[None, "min_rows"] == (100, "default")
    assert found[None, "key"] == ("order", "`stream.contract.key`")
    assert found["speed", "max"] == (80, "`stream.contract.columns.speed`")
    assert found["speed", "min"][1] == "learnt from the windows day-1, day-2, day-3"
    assert found["order", "max_missing"] == (0, "`stream.contract.columns.order`")
    assert found["city", "growing"] == (True, "learnt from the windows day-1, day-2, day-3")
    lines = shown.lines(shown.limits(contract, SCHEMA, LESSONS[:1]), contract, LESSONS[:1])
    assert lines[0].split() == ["the", "window", "min_rows", "100", "default"]
    assert lines[-1] == "limits are learnt from the first 3 good windows; there are 1 so far"


def test_the_yaml_that_is_shown_can_be_pasted_into_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = Contract(columns={"speed": {"max": 80}, "a: ${b}": {"categories": ["no", "yes", "1"]}})
    text = shown.as_yaml(shown.limits(contract, SCHEMA, LESSONS))
    (tmp_path / "stream").mkdir()
    head = "# @package _global_\n"
    rest = "\n  name: mine\n  source: {}\n  target: minutes\n  time: at\n  columns: {speed: number, city: category}\n"
    (tmp_path / "stream" / "mine.yaml").write_text(head + text + rest.replace("\n  name", "\n  name", 1))
    monkeypatch.chdir(tmp_path)
    pasted = wiring.parts(resolve(["stream=mine"])).contract
    held = contract.limits(SCHEMA, LESSONS)
    assert pasted.declared["speed"].max == 80
    assert pasted.declared["speed"].min == held["speed"].min
    assert pasted.declared["city"] == held["city"]
    assert pasted.declared["a: ${b}"].categories == ("no", "yes", "1")


def test_the_command_shows_a_stream_that_has_learnt_nothing_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app.cli, ["contract", "show", "stream=flights"], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == "limits are learnt from the first 3 good windows; there are 0 so far"


def test_a_good_window_does_not_wait_for_pandera() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests/engine'); import test_contract as t\n"
        "for name in [n for n in sys.modules if n.startswith('pandera')]: del sys.modules[name]\n"
        "assert t.check(t.frame(4), lessons=t.LESSONS, key='order') == []\n"
        "assert 'pandera' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_column_that_varied_may_not_stand_still() -> None:
    still = frame(4).with_columns(pl.col("speed").first().alias("speed"))
    (breach,) = Contract().check_frame(still, SCHEMA, LESSONS)
    assert breach.column == "speed"
    assert breach.message.startswith(f"is {still['speed'][0]:.6g} in all rows; a spread of ")
    assert breach.message.endswith(" is expected (learnt from the windows day-1, day-2, day-3)")
    assert Contract(columns={"speed": {"min_spread": 0}}).check_frame(still, SCHEMA, LESSONS) == ()
