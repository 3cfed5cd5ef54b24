"""Profiles and the report that compares them."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import polars as pl
import pytest

from engine import drift, profile_file, profiling
from engine.drift import DriftLimits
from engine.nouns import Column, Schema
from kernels import suite
from kernels.statistics.psi import psi

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
    reference = profiling.build(table(0), SCHEMA)
    found = drift.compare(reference, profiling.build(current, SCHEMA, reference.edges), DriftLimits(**limits), "w", 1)  # type: ignore[arg-type]
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


def test_of_two_empty_sides_nothing_is_known() -> None:
    empty = profiling.build(table(0)[:0], SCHEMA)
    for column in drift.measure(empty, empty):
        for name, measure in column.measures.items():
            assert np.isnan([measure.value, measure.effect, measure.low, measure.high]).all(), f"{column.column} {name}"


def test_missing_values_that_come_up_are_a_drift_of_their_own() -> None:
    half = table(1).with_columns(pl.when(pl.int_range(pl.len()) % 2 == 0).then(None).otherwise(pl.col("speed")).alias("speed"))
    found = compare(half)
    assert found["speed"].drifted
    assert found["speed"].statistics["missing"] == pytest.approx(0.48, abs=1e-9)


def test_a_column_can_be_ignored_or_have_its_own_limit() -> None:
    assert not compare(table(1, shift=2.0), ignore=("speed",))["speed"].drifted
    assert not compare(table(1, shift=2.0), limits={"speed": 50.0})["speed"].drifted


def test_every_statistic_of_the_suite_can_be_the_effect() -> None:
    known = {*suite.NUMBERS, *suite.CATEGORIES}
    assert set(get_args(get_type_hints(DriftLimits)["effect"])) == known
    for name in known:
        found = compare(table(1, shift=4.0), effect=name, limit=0.1)
        names = {kind: column.effect_name for kind, column in (("number", found["speed"]), ("category", found["city"]))}
        assert names == {
            "number": name if name in suite.NUMBERS else "psi",
            "category": name if name in suite.CATEGORIES else "psi",
        }


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"effect": "psy"}, "no effect 'psy'"), ({"alarms": "ever"}, "alarms is one of"), ({"alpha": 5}, "shares between 0 and 1")],
)
def test_limits_that_cannot_be_are_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        DriftLimits(**wrong)  # type: ignore[arg-type]


def test_what_chance_would_show_in_few_rows_is_no_effect() -> None:
    found = [compare(table(seed, rows=150))["speed"] for seed in range(1, 21)]
    assert sum(c.effect for c in found) / 20 < 0.05
    reference = profiling.build(table(0), SCHEMA)
    counts = profiling.build(table(1, rows=150), SCHEMA, reference.edges).bins_and_missing
    assert psi(reference.bins_and_missing, counts)[0] > 0.1  # the plain index would call for attention


def test_limits_are_learnt_from_quiet_windows() -> None:
    reference = profiling.build(table(0), SCHEMA)
    limits = DriftLimits(limit=0.01, limits={"city": 0.5}, learn=20)
    past: list[drift.DriftReport] = []
    for seed in range(1, 25):  # of so few rows that effects of this size come and go
        current = profiling.build(table(seed, rows=300), SCHEMA, reference.edges)
        past.append(drift.compare(reference, current, limits, f"w{seed}", 1, past))
    assert {c.limit for report in past[:20] for c in report.columns} == {0.01, 0.5}
    learnt = {c.column: c.limit for c in past[-1].columns}
    assert 0.01 < learnt["speed"] <= 0.03
    assert learnt["city"] == 0.5


def test_segments_are_held_against_limits_by_themselves() -> None:
    moved = table(1).with_columns(
        pl.when(pl.col("city") == "a").then(pl.col("speed") + 4).otherwise(pl.col("speed")).alias("speed")
    )
    by = DriftLimits(segments="city").segment_by
    reference = profiling.build(table(0), SCHEMA, by=by)
    current = profiling.build(moved, SCHEMA, reference.edges, by=reference.by)
    found = {c.name: c for c in drift.compare(reference, current, DriftLimits(segments="city"), "w", 1).columns}
    assert found["speed [a]"].drifted
    assert not found["speed [b]"].drifted
    assert found["speed [a]"].effect > 3 * found["speed"].effect


def test_an_effect_that_a_kind_does_not_have_falls_back_to_psi() -> None:
    found = compare(table(1), effect="ks")
    assert (found["speed"].effect_name, found["city"].effect_name) == ("ks", "psi")


def test_a_profile_survives_the_file(tmp_path: Path) -> None:
    made = profiling.build(table(0), SCHEMA)
    profile_file.write(made, tmp_path / "p.arrow")
    read = profile_file.read(tmp_path / "p.arrow")
    assert read.rows == made.rows
    assert read.categories == made.categories
    np.testing.assert_array_equal(read.edges, made.edges)
    np.testing.assert_array_equal(read.counts.counts, made.counts.counts)
    np.testing.assert_array_equal(read.samples[0], made.samples[0])


def test_merged_profiles_equal_the_profile_of_all_rows() -> None:
    one, two = table(0), table(1, rows=1500, shift=1)
    edges = profiling.build(one, SCHEMA).edges
    merged = profiling.build(one, SCHEMA, edges).merge(profiling.build(two, SCHEMA, edges))
    whole = profiling.build(pl.concat([one, two]), SCHEMA, edges)
    np.testing.assert_array_equal(merged.counts.counts, whole.counts.counts)
    np.testing.assert_allclose(merged.counts.variance, whole.counts.variance, rtol=1e-12)
    assert merged.categories == whole.categories
    np.testing.assert_array_equal(merged.samples[0], whole.samples[0])


def test_profiles_over_other_edges_do_not_merge() -> None:
    with pytest.raises(ValueError, match="same columns over the same edges"):
        profiling.build(table(0), SCHEMA).merge(profiling.build(table(1), SCHEMA))


def test_infinities_and_constant_columns_are_profiled() -> None:
    frame = table(0, rows=200).with_columns(
        pl.lit(5.0).alias("minutes"),
        pl.when(pl.int_range(pl.len()) == 3).then(float("inf")).otherwise(pl.col("speed")).alias("speed"),
    )
    made = profiling.build(frame, SCHEMA)
    report = drift.compare(made, profiling.build(frame, SCHEMA, made.edges), DriftLimits(), "w", 1)
    assert not report.drifted
