"""Profiles: what they count, that merging equals having seen everything, and the file they are kept in."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import kernels
from engine import drift, profile_file, profiling
from engine.columns import holds, number, refuse_rounding
from engine.drift import DriftLimits
from engine.nouns import Column, Schema
from engine.profile import MISSING, OTHER, Profile, SegmentBy, rank_error
from engine.profile_file import UnknownProfile
from kernels.statistics.psi import psi

SCHEMA = Schema((Column("x", "number"), Column("b", "boolean"), Column("c", "category")), target="y")
NUMBERS = {np.float32: st.floats(-(2.0**127), 2.0**127, width=32), np.float64: st.floats(-(2.0**1000), 2.0**1000)}
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0]


def table(rows: int, seed: int = 0, shift: float = 0.0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    x = random.normal(shift, 1, rows)
    x[::17] = np.nan
    letters = random.choice(["a", "b", "c", "d", "e", "", None], rows).tolist()
    return pl.DataFrame(
        {"x": x, "b": random.random(rows) < 0.4, "c": pl.Series(letters, dtype=pl.String), "y": random.gamma(2, 3, rows)}
    )


def narrow(values: NDArray[np.float64]) -> pl.DataFrame:
    return pl.DataFrame({"y": values.astype(np.float32)})


ONE = Schema((), target="y")


def same(one: Profile, other: Profile, samples: bool = True) -> None:
    """All counts exactly, moments to 1e-12 relative, where m2 may lose digits of the sum of squares."""
    assert (one.rows, one.numbers, one.kinds, one.by) == (other.rows, other.numbers, other.kinds, other.by)
    assert {n: dict(v) for n, v in one.categories.items()} == {n: dict(v) for n, v in other.categories.items()}
    np.testing.assert_array_equal(one.edges, other.edges)
    for name in ("counts", "missing", "infinite", "minimum", "maximum"):
        np.testing.assert_array_equal(getattr(one.counts, name), getattr(other.counts, name), err_msg=name)
    scale = np.fmax(np.abs(one.counts.minimum), np.abs(one.counts.maximum))
    scale = np.where(np.isnan(scale), 0, scale)
    np.testing.assert_array_equal(np.isnan(one.counts.mean), np.isnan(other.counts.mean))
    means = [np.nan_to_num(made.counts.mean) for made in (one, other)]
    assert (np.abs(means[0] - means[1]) <= 1e-12 * np.abs(means[1]) + 1e-13 * scale).all()
    lost = 1e-12 * other.counts.m2 + 1e-13 * one.counts.finite * scale**2 + np.finfo(float).tiny  # below it digits run out
    assert (np.abs(one.counts.m2 - other.counts.m2) <= lost).all()
    if samples:
        for a, b in zip(one.samples, other.samples, strict=True):
            np.testing.assert_array_equal(a, b)
    assert list(one.segments) == list(other.segments)
    for value, part in one.segments.items():
        same(part, other.segments[value], samples)


# bins and edges


def old_counts(sample: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The 32 bins of equal weight, as they were counted before the edges held the range too."""
    edges = np.quantile(np.sort(sample[np.isfinite(sample)]), np.linspace(0, 1, 33)[1:-1])
    return np.bincount(np.searchsorted(edges, values[~np.isnan(values)], side="right"), minlength=32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_folded_bins_and_so_psi_are_those_of_the_quantiles_alone(dtype: type) -> None:
    random = np.random.default_rng(1)
    before, after = random.normal(0, 1, 5000).round(2).astype(dtype), random.normal(0.3, 2, 3000).astype(dtype)
    after[:5] = [np.nan, np.inf, -np.inf, before.max(), before.min()]
    reference = profiling.build(pl.DataFrame({"y": before}), ONE)
    current = profiling.build(pl.DataFrame({"y": after}), ONE, reference.edges)
    expected = [old_counts(before.astype(float), side.astype(float)) for side in (before, after)]
    np.testing.assert_array_equal(reference.bins[0], expected[0])
    np.testing.assert_array_equal(current.bins[0], expected[1])
    with_gaps = [np.append(counts, np.isnan(side).sum())[None] for counts, side in zip(expected, (before, after), strict=True)]
    assert psi(reference.bins_and_missing, current.bins_and_missing).tolist() == psi(*with_gaps).tolist()


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([np.float32, np.float64]).flatmap(
        lambda dtype: st.tuples(
            *[hnp.arrays(dtype, st.integers(0, 60), elements=st.one_of(NUMBERS[dtype], st.sampled_from(SPECIAL)))] * 2
        )
    )
)
def test_the_outer_bins_hold_exactly_what_lies_outside_the_range(sides: tuple[NDArray[np.floating], ...]) -> None:
    before, after = sides
    reference = profiling.build(pl.DataFrame({"y": before}), ONE)
    current = profiling.build(pl.DataFrame({"y": after}), ONE, reference.edges)
    finite = before[np.isfinite(before)]
    assert reference.outside.tolist() == [[(before == -np.inf).sum(), (before == np.inf).sum()]] or not finite.size
    if finite.size:
        assert current.outside.tolist() == [[(after < finite.min()).sum(), (after > finite.max()).sum()]]
    assert current.bins.sum() == current.counts.counts.sum() == (~np.isnan(after)).sum()
    assert np.isfinite(reference.edges[:, :-1]).all()


def test_a_float32_window_is_counted_as_its_values_are_whatever_the_reference_was() -> None:
    values = np.random.default_rng(0).normal(0, 1, 200_000)
    for reference in (narrow(values[:1000]), pl.DataFrame({"y": values[:1000]})):
        edges = profiling.build(reference, ONE).edges
        single = profiling.build(narrow(values), ONE, edges)
        double = profiling.build(narrow(values).cast(pl.Float64), ONE, edges)
        np.testing.assert_array_equal(single.counts.counts, double.counts.counts)
        np.testing.assert_allclose(single.counts.variance, double.counts.variance, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([True, False, None]), max_size=40),
    st.lists(st.floats(-1, 2, width=32), max_size=20),
    st.integers(0, 40),
)
def test_booleans_are_counted_as_zeros_and_ones(values: list[bool | None], before: list[float], cut: int) -> None:
    """Over a boolean reference's edges or a number's, in one batch or two."""
    flags = pl.DataFrame({"y": pl.Series(values, dtype=pl.Boolean), "z": pl.Series(range(len(values)), dtype=pl.Float64)})
    ones = flags.with_columns(pl.col("y").cast(pl.Float32))
    kinds = {"y": "boolean", "z": "number"}
    of_flags, of_ones = (profiling.counted(lambda _, one=one: [one], one.height, kinds) for one in (flags, ones))  # type: ignore
    same(of_flags, of_ones)
    edges = np.stack([profiling.build(pl.DataFrame({"y": pl.Series(before, dtype=pl.Float64)}), ONE).edges[0], of_ones.edges[1]])
    whole = profiling.counted(lambda _: [ones], ones.height, kinds, edges)  # type: ignore[arg-type]
    for batches in ([flags], [flags[:cut], flags[cut:]], [flags[:cut], ones[cut:]]):
        same(profiling.counted(lambda _, batches=batches: batches, flags.height, kinds, edges), whole)  # type: ignore


def test_all_missing_constant_empty_and_one_row_columns_are_profiled_and_compared() -> None:
    gone, still = pl.DataFrame({"y": [np.nan] * 40}), pl.DataFrame({"y": [3.0] * 40})
    one, none = pl.DataFrame({"y": [1.0]}), pl.DataFrame({"y": pl.Series([], dtype=pl.Float64)})
    for before in (gone, still, one, none):
        reference = profiling.build(before, ONE)
        for after in (gone, still, one, none):
            current = profiling.build(after, ONE, reference.edges)
            found = drift.compare(reference, current, DriftLimits(), "w", 1).columns[0]
            assert not found.drifted or before is not after
    assert profiling.build(still, ONE).outside.tolist() == [[0, 0]]


# merging


@st.composite
def parts(draw: st.DrawFn) -> tuple[pl.DataFrame, list[int], int]:
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rows = draw(st.integers(1, 60))
    numbers = st.one_of(st.floats(-(2**20), 2**20, width=dtype().itemsize * 8), st.sampled_from(SPECIAL))
    frame = pl.DataFrame(
        {
            "x": draw(hnp.arrays(dtype, rows, elements=numbers)),
            "b": draw(hnp.arrays(bool, rows)),
            "c": pl.Series(
                draw(st.lists(st.sampled_from(["a", "b", "cc", "", None]), min_size=rows, max_size=rows)), dtype=pl.String
            ),
            "y": draw(hnp.arrays(np.float64, rows, elements=numbers)),
        }
    )
    return frame, sorted(draw(st.lists(st.integers(0, rows), max_size=4))), draw(st.integers(0, 2**31))


@settings(max_examples=40, deadline=None)
@given(parts())
def test_merging_parts_in_any_order_and_split_equals_having_seen_everything(drawn: tuple[pl.DataFrame, list[int], int]) -> None:
    frame, cuts, seed = drawn
    by = SegmentBy("c", most=2)
    whole = profiling.build(frame, SCHEMA, by=by)
    pieces = [
        profiling.build(frame[a:b], SCHEMA, whole.edges, by=whole.by)
        for a, b in zip([0, *cuts], [*cuts, frame.height], strict=True)
    ]
    random = np.random.default_rng(seed)
    while len(pieces) > 1:
        one, other = (pieces.pop(int(random.integers(len(pieces)))) for _ in range(2))
        pieces.append(one.merge(other))
    same(pieces[0], whole)


def test_hundreds_of_merges_lose_no_count_and_no_digit() -> None:
    frame = table(30_000, shift=1e6)
    whole = profiling.build(frame, SCHEMA)
    merged = profiling.build(frame[:0], SCHEMA, whole.edges)
    for start in range(0, frame.height, 100):
        merged = merged.merge(profiling.build(frame[start : start + 100], SCHEMA, whole.edges), seed=start)
    same(merged, whole, samples=False)
    assert [len(sample) for sample in merged.samples] == pytest.approx([10_000 * 16 / 17, 10_000, 10_000], rel=0.08)


def test_a_sample_is_off_by_no_more_than_its_bound_merged_or_not() -> None:
    """Dvoretzky, Kiefer and Wolfowitz at 99.9%: of 60 samples, drawn or merged in a line or a tree, one may be outside."""
    assert rank_error(10_000) == pytest.approx(0.0195, abs=5e-5)
    outside = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        values = random.gamma(2, 1, 60_000)
        values[:20_000] += 1  # the parts differ
        values[::3][:9000] = np.nan  # and so do their gaps
        frame, seen = pl.DataFrame({"y": values}), np.sort(values[~np.isnan(values)])
        whole = profiling.build(frame, ONE, seed=seed)
        pieces = [profiling.build(frame[a : a + 15_000], ONE, whole.edges, seed + 1 + a) for a in range(0, 60_000, 15_000)]
        line = pieces[0].merge(pieces[1], 1).merge(pieces[2], 2).merge(pieces[3], 3)
        tree = pieces[0].merge(pieces[1], 1).merge(pieces[2].merge(pieces[3], 2), 3)
        for made in (whole, line, tree):
            (sample,) = made.samples
            gap, _ = kernels.ks_wasserstein(sample, seen)
            assert 8000 < len(sample) <= 10_000
            outside += gap > rank_error(len(sample))
    assert outside <= 1


def test_a_part_with_many_gaps_has_the_weight_of_its_values_in_a_merged_sample() -> None:
    full, gaps = np.zeros(20_000), np.ones(20_000)
    gaps[:15_000] = np.nan
    edges = profiling.build(pl.DataFrame({"y": [0.0, 1.0]}), ONE).edges
    made = [profiling.build(pl.DataFrame({"y": values}), ONE, edges) for values in (full, gaps)]
    assert made[0].merge(made[1]).samples[0].mean() == pytest.approx(0.2, abs=0.005)


def test_profiles_that_differ_in_columns_name_one() -> None:
    one = profiling.build(table(50), SCHEMA)
    fewer = profiling.build(table(50), replace(SCHEMA, columns=SCHEMA.columns[1:]))
    other = profiling.build(
        table(50).with_columns(pl.col("x").cast(pl.String)),
        replace(SCHEMA, columns=(Column("x", "category"), *SCHEMA.columns[1:])),
    )
    with pytest.raises(ValueError, match="column x is in the first profile and not in the second"):
        drift.compare(one, fewer, DriftLimits(), "w", 1)
    with pytest.raises(ValueError, match="column x is in the second profile and not in the first"):
        fewer.merge(one)
    with pytest.raises(ValueError, match="column x is a number in the first profile and a category in the second"):
        drift.compare(one, other, DriftLimits(), "w", 1)
    same(one.only(fewer.kinds), fewer)


# segments and answers


def test_a_segment_is_the_profile_of_its_rows_over_the_edges_of_the_whole() -> None:
    frame = table(3000)
    made = profiling.build(frame, SCHEMA, by=SegmentBy("c", most=3))
    assert made.by is not None
    frequent = frame["c"].value_counts().drop_nulls().filter(pl.col("c") != "").sort("count", descending=True)["c"].to_list()
    assert list(made.by.values) == frequent[:3]
    assert list(made.segments) == [*frequent[:3], OTHER, MISSING]
    rows = {value: frame.filter(pl.col("c") == value) for value in frequent[:3]}
    rows |= {OTHER: frame.filter(pl.col("c").is_in(frequent[3:])), MISSING: frame.filter(pl.col("c").fill_null("") == "")}
    for value, mine in rows.items():
        same(made.segments[value], profiling.build(mine, SCHEMA, made.edges))
    assert sum(part.rows for part in made.segments.values()) == 3000


def test_a_window_has_the_segments_of_its_reference_even_those_without_rows() -> None:
    reference = profiling.build(table(3000), SCHEMA, by=SegmentBy("c", most=2))
    window = table(400, 1).with_columns(pl.lit("new").alias("c"))
    current = profiling.build(window, SCHEMA, reference.edges, by=reference.by)
    assert {value: part.rows for value, part in current.segments.items() if part.rows} == {OTHER: 400}
    assert list(current.segments) == list(reference.segments)
    merged = reference.merge(current)
    assert merged.segments[OTHER].rows == reference.segments[OTHER].rows + 400
    with pytest.raises(ValueError, match="same columns over the same edges and segments"):
        reference.merge(replace(current, by=None, segments={}))


def test_the_answers_of_a_model_are_columns_of_their_own() -> None:
    frame = table(2000)
    chances = np.random.default_rng(3).dirichlet([1, 2, 3], 2000).astype(np.float32)
    extra = {f"answer {k}": chances[:, k] for k in range(3)}
    reference = profiling.build(frame, SCHEMA, extra=extra)
    moved = {name: values**2 for name, values in extra.items()}
    current = profiling.build(frame, SCHEMA, reference.edges, extra=moved)
    found = drift.compare(reference, current, DriftLimits(), "w", 1)
    assert sorted(column.column for column in found.drifted) == sorted(extra)
    with pytest.raises(ValueError, match="column x is in the table already"):
        profiling.build(frame, SCHEMA, extra={"x": chances[:, 0]})


# the file


def test_a_profile_is_an_arrow_file_that_polars_reads(tmp_path: Path) -> None:
    made = profiling.build(table(30_000), SCHEMA, by=SegmentBy("c"), extra={"answer": np.arange(30_000.0)})
    profile_file.write(made, tmp_path / "profile.arrow")
    same(profile_file.read(tmp_path / "profile.arrow"), made)
    read = pl.read_ipc(tmp_path / "profile.arrow")
    whole = read.filter(pl.col("segment").is_null())
    assert whole["name"].to_list() == ["x", "b", "y", "c", "answer"]
    assert whole["holds"].to_list() == ["number", "boolean", "number", "category", "number"]
    assert whole.filter(pl.col("name") == "x")["counts"].item().to_list() == made.counts.counts[0].tolist()
    assert list(tmp_path.iterdir()) == [tmp_path / "profile.arrow"]
    assert (tmp_path / "profile.arrow").stat().st_size < 4 * 10_000 * 8 * 2


def test_profiles_without_numbers_or_texts_or_rows_survive_the_file(tmp_path: Path) -> None:
    texts = Schema((), target="y", task="multiclass", classes=("a", "b"))
    for schema, frame in ((ONE, table(30)), (texts, table(30)), (SCHEMA, table(0))):
        made = profiling.build(frame, schema, by=SegmentBy("c"))
        profile_file.write(made, tmp_path / "profile.arrow")
        same(profile_file.read(tmp_path / "profile.arrow"), made)


def test_a_profile_of_an_older_version_is_read(tmp_path: Path) -> None:
    frame = table(4000)
    made = profiling.build(frame, SCHEMA)
    old = {f"counts.{f.name}": np.asarray(getattr(made.counts, f.name)) for f in fields(kernels.ColumnCounts)}
    old |= {f"sample.{j}": sample for j, sample in enumerate(made.samples)} | {"counts.counts": made.bins}
    meta = json.dumps({"rows": made.rows, "numbers": made.numbers, "categories": made.categories})
    np.savez_compressed(tmp_path / "profile.npz", edges=made.edges[:, 1:-1], meta=np.array(meta), **old)
    read = profile_file.read(tmp_path / "profile.arrow")
    np.testing.assert_allclose(read.edges, made.edges, rtol=2e-7)  # a boolean's last edge was not rounded to float32
    np.testing.assert_array_equal(read.bins_and_missing, made.bins_and_missing)
    np.testing.assert_array_equal(read.outside, made.outside)
    current = profiling.build(table(500, 1), SCHEMA, read.edges)
    assert drift.compare(read, current, DriftLimits(), "w", 1) == drift.compare(made, current, DriftLimits(), "w", 1)


def test_what_is_no_profile_or_of_another_format_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "profile.arrow"
    path.write_bytes(b"torn")
    with pytest.raises(UnknownProfile, match=r"profile\.arrow is no profile .*: use the version of warmstart that wrote it"):
        profile_file.read(path)
    pl.DataFrame({"x": [1]}).write_ipc(path)
    with pytest.raises(UnknownProfile, match="is no profile"):
        profile_file.read(path)
    newer = pa.table({"x": [1]}).replace_schema_metadata({profile_file.KEY: json.dumps({"format": 3})})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, newer.schema) as writer:
        writer.write_table(newer)
    with pytest.raises(UnknownProfile, match="is a profile of format 3, and this version reads 2: use the version"):
        profile_file.read(path)


# columns


def test_a_column_is_a_number_in_the_smallest_float_that_holds_it() -> None:
    whole = pl.Series("n", [0, 1, None])
    assert {str(number(whole.cast(t)).dtype) for t in (pl.Int8, pl.UInt16, pl.Float32, pl.Boolean)} == {"float32"}
    assert {str(number(whole.cast(t)).dtype) for t in (pl.Int32, pl.UInt64, pl.Float64, pl.Decimal(10, 2))} == {"float64"}
    assert number(pl.Series([None, None])).tolist() == pytest.approx([np.nan] * 2, nan_ok=True)
    hour = pl.Series("t", ["1970-01-01T01:00:00.5", None]).str.to_datetime(time_unit="ns")
    for unit in ("ms", "us", "ns"):
        assert number(hour.dt.cast_time_unit(unit)).tolist() == pytest.approx([3600.5, np.nan], nan_ok=True)  # type: ignore[arg-type]
    assert number(hour.dt.time()).tolist()[0] == number(hour - hour.dt.truncate("1d"))[0] == 3600.5


def test_columns_that_have_no_numbers_are_named() -> None:
    for values in (pl.Series("deep", [[1]]), pl.Series("deep", [{"a": 1}]), pl.Series("deep", [b"x"])):
        with pytest.raises(ValueError, match=r"column deep holds .*, which has no distribution"):
            holds(values.name, values.dtype)
    with pytest.raises(ValueError, match=r"column price holds text .*: cast it to a number"):
        number(pl.Series("price", ["1.5"]))
    refuse_rounding(pl.Series("id", [2**53, -(2**53), None]))
    for big in (2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)):
        with pytest.raises(ValueError, match=f"column id holds {big}, and integers beyond"):
            refuse_rounding(pl.Series("id", [0, big]))
