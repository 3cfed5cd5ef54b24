"""A small stream whose truth is known: `minutes` follows a distance, a city and a flag, and its level moves from week to week."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from engine.nouns import Column, JobSpec, Schema, Slices, Window
from engine.windows import digest_of

SCHEMA = Schema(
    columns=(
        Column("distance", "number"),
        Column("city", "category"),
        Column("jet", "boolean", nullable=False),
        Column("late", "boolean"),
    ),
    target="minutes",
    time="time",
)


def week(number: int, rows: int = 600, cities: tuple[str, ...] = ("Oslo", "Zürich", "")) -> pl.DataFrame:
    """The rows of one week, the same for the same number."""
    rng = np.random.default_rng(number)
    distance = rng.uniform(100, 2000, rows)
    place = rng.integers(0, len(cities), rows)
    jet = rng.random(rows) < 0.5
    return pl.DataFrame(
        {
            "time": np.arange(rows) + number * rows,
            "distance": distance,
            "city": [cities[p] for p in place],
            "jet": jet,
            "late": [None if r < 0.1 else bool(r < 0.5) for r in rng.random(rows)],
            "minutes": distance / 8 + place * 5 - jet * 10 + number + rng.normal(0, 1, rows),
        }
    )


def window(folder: Path, number: int, **changes: Any) -> Window:
    """That week as a file."""
    path = folder / f"week-{number:02d}.parquet"
    frame = week(number, **changes)
    frame.write_parquet(path)
    return Window("toy", path.stem, str(path), digest_of(path), frame.height)


def job(
    folder: Path, name: str, fresh: list[Window], past: tuple[Window, ...] = (), parent: str | None = None, **changes: Any
) -> JobSpec:
    """A job on the CPU with the default model, small."""
    nodes = {
        "model": {"_target_": "engine.models.table.TableNet", "width": 32},
        "strategy": {"_target_": "engine.strategies.replay.Replay", "batch": 64},
        "trainer": {"_target_": "pytorch_lightning.Trainer", "accelerator": "cpu"},
    }
    for node, values in changes.items():
        if node in nodes:
            nodes[node] = {**nodes[node], **values}
    slices = changes.get("slices", Slices(stop=0, judge=0.2))
    return JobSpec(
        name, str(folder / name), SCHEMA, tuple(fresh), past, parent, **nodes, slices=slices, seed=changes.get("seed", 1)
    )  # type: ignore[arg-type]
