from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from engine import flights
from engine.data import table


@pytest.fixture(scope="module")
def weeks() -> dict[str, pl.DataFrame]:
    return dict(flights.weeks())


def test_327346_flights_come_in_52_weeks(weeks: dict[str, pl.DataFrame]) -> None:
    assert sum(frame.height for frame in weeks.values()) == 327_346
    assert list(weeks) == [f"2013-W{number:02d}" for number in range(1, 53)]


def test_weeks_follow_each_other_in_time(weeks: dict[str, pl.DataFrame]) -> None:
    times = pl.concat([frame["scheduled_departure"] for frame in weeks.values()])
    assert times.is_sorted()
    assert all(
        (frame["scheduled_departure"].max() - frame["scheduled_departure"].min()).days < 7 for frame in list(weeks.values())[:-1]
    )


def test_weather_is_that_of_the_scheduled_hour_in_summer_too(weeks: dict[str, pl.DataFrame]) -> None:
    known = pl.concat(weeks.values())["temp"].is_not_null().mean()
    assert known > 0.99  # type: ignore[operator]
    july = weeks["2013-W27"]
    by_hour = july.group_by(pl.col("departure_hour").floor()).agg(pl.col("temp").mean()).sort("departure_hour")
    assert by_hour["temp"].arg_max() in range(8, 13)  # the warmest departures leave between 13 and 17 hours, not at night


def test_written_windows_encode_by_the_schema(
    weeks: dict[str, pl.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flights, "weeks", lambda: iter([("2013-W01", weeks["2013-W01"])]))
    (path,) = flights.write(tmp_path)
    frame = pl.read_parquet(path)
    assert frame.equals(weeks["2013-W01"])
    assert list(table.inputs(frame, flights.SCHEMA)) == [column.name for column in flights.SCHEMA.columns]
    assert table.target(frame, flights.SCHEMA).min() > 0
