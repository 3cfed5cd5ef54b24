"""Profiles and the report that compares them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine import drift, profile
from engine.drift import DriftLimits
from engine.nouns import Column, Schema
from engine.profile import Profile

SCHEMA = Schema((Column("speed", "number"), Column("late", "boolean"), Column("city", "category")), target="minutes")


def table(seed: int, rows: int = 4000, shift: float = 0.0, cities: tuple[str, ...] = ("a", "b", "c")) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    speed = random.normal(10 + shift, 2, rows)
    speed[::50] = np.nan
    return pl.DataFrame(
        {
            "speed": speed,
            "late": random.random(rows) < 0.3,
            "city": random.choice(cities, rows),
            "minutes": random.normal(100, 9, rows),
        }
    )


def compare(current: pl.DataFrame, **limits: object) -> dict[str, drift.ColumnDrift]:
    reference = profile.build(table(0), SCHEMA)
    found = drift.compare(reference, profile.build(current, SCHEMA, reference.edges), DriftLimits(**limits), "w", 1)  # type: ignore[arg-type]
    return {column.column: column for column in found.columns}


def test_the_same_distribution_does_not_drift() -> None:
    assert not any(column.drifted for column in compare(table(1)).values())


def test_a_shift_of_one_deviation_drifts_in_its_column_alone() -> None:
    found = compare(table(1, shift=2.0))
    assert [name for name, column in found.items() if column.drifted] == ["speed"]
    assert found["speed"].statistics["welch"] == pytest.approx(1.0, abs=0.08)
    assert found["speed"].statistics["w1"] == pytest.approx(1.0, abs=0.08)
    assert found["speed"].q_value < 1e-100


def test_new_categories_are_counted_and_drift() -> None:
    found = compare(table(1, cities=("a", "b", "c", "new")))
    assert found["city"].drifted
    assert found["city"].statistics["new"] == pytest.approx(0.25, abs=0.02)


def test_missing_values_that_come_up_are_a_drift_of_their_own() -> None:
    half = table(1).with_columns(pl.when(pl.int_range(pl.len()) % 2 == 0).then(None).otherwise(pl.col("speed")).alias("speed"))
    found = compare(half)
    assert found["speed"].drifted
    assert found["speed"].statistics["missing"] == pytest.approx(0.48, abs=1e-9)


def test_a_column_can_be_ignored_or_have_its_own_limit() -> None:
    assert not compare(table(1, shift=2.0), ignore=("speed",))["speed"].drifted
    assert not compare(table(1, shift=2.0), limits={"speed": 50.0})["speed"].drifted


def test_an_effect_that_a_kind_does_not_have_falls_back_to_psi() -> None:
    found = compare(table(1), effect="ks")
    assert (found["speed"].effect_name, found["city"].effect_name) == ("ks", "psi")


def test_a_profile_survives_the_file(tmp_path: Path) -> None:
    made = profile.build(table(0), SCHEMA)
    made.save(tmp_path / "p.arrow")
    read = Profile.load(tmp_path / "p.arrow")
    assert read.rows == made.rows
    assert read.categories == made.categories
    np.testing.assert_array_equal(read.edges, made.edges)
    np.testing.assert_array_equal(read.counts.counts, made.counts.counts)
    np.testing.assert_array_equal(read.samples[0], made.samples[0])


def test_merged_profiles_equal_the_profile_of_all_rows() -> None:
    one, two = table(0), table(1, rows=1500, shift=1)
    edges = profile.build(one, SCHEMA).edges
    merged = profile.build(one, SCHEMA, edges).merge(profile.build(two, SCHEMA, edges))
    whole = profile.build(pl.concat([one, two]), SCHEMA, edges)
    np.testing.assert_array_equal(merged.counts.counts, whole.counts.counts)
    np.testing.assert_allclose(merged.counts.variance, whole.counts.variance, rtol=1e-12)
    assert merged.categories == whole.categories
    np.testing.assert_array_equal(merged.samples[0], whole.samples[0])


def test_profiles_over_other_edges_do_not_merge() -> None:
    with pytest.raises(ValueError, match="same columns over the same edges"):
        profile.build(table(0), SCHEMA).merge(profile.build(table(1), SCHEMA))


def test_infinities_and_constant_columns_are_profiled() -> None:
    frame = table(0, rows=200).with_columns(
        pl.lit(5.0).alias("minutes"),
        pl.when(pl.int_range(pl.len()) == 3).then(float("inf")).otherwise(pl.col("speed")).alias("speed"),
    )
    made = profile.build(frame, SCHEMA)
    report = drift.compare(made, profile.build(frame, SCHEMA, made.edges), DriftLimits(), "w", 1)
    assert not report.drifted
