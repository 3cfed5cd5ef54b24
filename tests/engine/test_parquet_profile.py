"""Parquet files are profiled in batches, to the Profile that their table in memory has, or to an error that names the column."""

from __future__ import annotations

import datetime as dt
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine import parquet, profiling
from engine.parquet import kinds_of, profile_of
from engine.profile import MISSING, OTHER, Profile, SegmentBy


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 4,096 rows, so that a table of a few thousand comes in several."""
    monkeypatch.setattr(parquet, "VALUES", 1)


def table(rows: int, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    x = random.normal(0, 1, rows).astype(np.float32)
    x[:: 2 + seed] = np.nan
    start = dt.datetime(2024, 1, 1)
    return pl.DataFrame(
        {
            "x": x,
            "late": pl.Series(random.random(rows) < 0.3),
            "city": pl.Series(random.choice(["ö", "b", "c", "d", "", None], rows).tolist(), dtype=pl.Categorical),
            "wide": random.normal(1e3, 1, rows),
            "few": pl.Series(random.integers(-5, 5, rows), dtype=pl.Int8),
            "when": pl.Series([start + dt.timedelta(seconds=int(s)) for s in random.integers(0, 10**6, rows)]),
            "price": pl.Series(random.integers(0, 10**4, rows)).cast(pl.Decimal(10, 2)),
        }
    )


def written(frame: pl.DataFrame, path: Path, group: int = 3000) -> Path:
    frame.write_parquet(path, row_group_size=group)
    return path


def in_memory(frame: pl.DataFrame, path: Path, **more: object) -> Profile:
    return profiling.counted(lambda names: [frame.select(names)], frame.height, kinds_of(path), **more)  # type: ignore[arg-type]


def same(one: Profile, other: Profile) -> None:
    assert (one.rows, one.numbers, one.kinds, one.categories) == (other.rows, other.numbers, other.kinds, other.categories)
    np.testing.assert_array_equal(one.edges, other.edges)
    np.testing.assert_array_equal(one.counts.counts, other.counts.counts)
    np.testing.assert_array_equal(one.counts.missing, other.counts.missing)
    np.testing.assert_allclose(one.counts.mean, other.counts.mean, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(one.counts.variance, other.counts.variance, rtol=1e-12)
    for a, b in zip(one.samples, other.samples, strict=True):
        np.testing.assert_array_equal(a, b)
    assert list(one.segments) == list(other.segments)
    for value, part in one.segments.items():
        same(part, other.segments[value])


def test_a_file_in_batches_has_the_profile_of_its_table_in_memory(tmp_path: Path) -> None:
    frame = table(25_000)
    path = written(frame, tmp_path / "a.parquet")
    by = SegmentBy("city", most=2)
    reference = profile_of(path, by=by)
    same(reference, in_memory(frame, path, by=by))
    assert list(reference.segments) == [*reference.by.values, OTHER, MISSING]  # type: ignore[union-attr]
    later = table(9_000, 1)
    current = profile_of(written(later, tmp_path / "b.parquet"), reference)
    same(current, in_memory(later, tmp_path / "b.parquet", edges=reference.edges, by=reference.by))
    assert current.bins.sum(axis=1).tolist() == (current.rows - current.counts.missing).tolist()


def test_wide_tables_are_counted_by_columns_and_long_ones_by_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    wide = pl.DataFrame({f"x{j}": random.normal(j, 1, 3000).astype(np.float32 if j % 3 else float) for j in range(400)})
    long = pl.concat([wide[:, :4]] * 120)
    for frame in (wide, long):
        monkeypatch.setattr(profiling, "FEW", 1 << 20)
        kinds = dict.fromkeys(frame.columns, "number")
        made = profiling.counted(lambda names, frame=frame: [frame.select(names)], frame.height, kinds)  # type: ignore
        monkeypatch.setattr(profiling, "FEW", 1 << 40)
        plain = profiling.counted(lambda names, frame=frame: [frame.select(names)], frame.height, kinds)  # type: ignore
        same(made, plain)


def test_several_files_are_one_table(tmp_path: Path) -> None:
    frame = table(12_000)
    cuts = (0, 5_000, 5_000, 5_001, 12_000)  # one of them is empty
    pieces = [frame[a:b] for a, b in itertools.pairwise(cuts)]
    paths = [written(piece, tmp_path / f"{place}.parquet") for place, piece in enumerate(pieces)]
    same(profile_of(paths), in_memory(frame, paths[0]))


def test_a_file_says_itself_what_its_columns_hold(tmp_path: Path) -> None:
    path = written(table(10), tmp_path / "a.parquet")
    assert kinds_of(path) == {
        "x": "number",
        "late": "boolean",
        "city": "category",
        "wide": "number",
        "few": "number",
        "when": "time",
        "price": "number",
    }
    made = profile_of(path, columns=["when", "city"])
    assert made.numbers == ("when",)
    assert dt.datetime.fromtimestamp(made.counts.minimum[0], dt.UTC).replace(tzinfo=None) == table(10)["when"].min()
    with pytest.raises(ValueError, match=r"lacks the columns nope; it has x, late, city"):
        profile_of(path, columns=["x", "nope"])
    with pytest.raises(ValueError, match="lacks the columns nope"):
        profile_of(path, by=SegmentBy("nope"))


def test_columns_that_differ_on_the_two_sides_are_named(tmp_path: Path) -> None:
    frame = table(100)
    one = written(frame, tmp_path / "one.parquet")
    fewer = written(frame.drop("few"), tmp_path / "fewer.parquet")
    text = written(frame.with_columns(pl.col("wide").cast(pl.String)), tmp_path / "text.parquet")
    reference = profile_of(one)
    with pytest.raises(
        ValueError, match=r"column few is in the reference and not in .*fewer\.parquet: compare columns that both"
    ):
        profile_of(fewer, reference)
    with pytest.raises(ValueError, match=r"column few is in .*one\.parquet and not in the reference"):
        profile_of(one, profile_of(fewer))
    with pytest.raises(
        ValueError, match=r"column wide holds a number in the reference and a category in .*numbers as text must be"
    ):
        profile_of(text, reference)
    with pytest.raises(ValueError, match=r"column wide holds a number in .*one\.parquet and a category in .*text\.parquet"):
        profile_of([one, text])
    both = [name for name in frame.columns if name not in ("few", "wide")]
    same(profile_of(text, reference, both), profile_of(one, reference, both))


def test_what_cannot_be_compared_is_refused_by_name(tmp_path: Path) -> None:
    frame = table(100)
    columns = {
        r"column list holds List\(Int64\), which has no distribution": pl.Series("list", [[1]] * 100),
        "column deep holds Struct": pl.Series("deep", [{"a": 1}] * 100),
        r"column id holds 9007199254740993, and integers beyond 2\^53": pl.Series("id", range(2**53 - 98, 2**53 + 2)),
    }
    for said, column in columns.items():
        path = written(frame.with_columns(column), tmp_path / "bad.parquet")
        with pytest.raises(ValueError, match=said):
            profile_of(path)
        profile_of(path, columns=frame.columns)
    pq.write_table(pa.table({"m": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))}), tmp_path / "map.parquet")
    with pytest.raises(ValueError, match="column m"):
        profile_of(tmp_path / "map.parquet")
    with pytest.raises(ValueError, match=r"empty\.parquet holds no rows"):
        profile_of(written(frame[:0], tmp_path / "empty.parquet"))
    (tmp_path / "torn.parquet").write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"torn\.parquet cannot be read as Parquet"):
        profile_of(tmp_path / "torn.parquet")
    with pytest.raises(ValueError, match=r"none\.parquet cannot be read as Parquet"):
        profile_of(tmp_path / "none.parquet")


def test_numbers_as_text_are_told_by_name_and_codes_are_not(tmp_path: Path) -> None:
    frame = pl.DataFrame({"price": ["1.5", "2", None, "1e3"], "code": ["01", "02", "A3", ""]})
    path = written(frame, tmp_path / "a.parquet")
    with pytest.warns(UserWarning, match=r"column price holds numbers as text \('.*'\) .*: cast it to a number") as said:
        reference = profile_of(path)
    assert len(said) == 1
    profile_of(path, reference)  # said once


def test_text_with_as_many_values_as_rows_is_counted_and_far_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = pl.DataFrame(
        {"name": [f"n{i}" for i in range(10_000)], "note": [f"t{i}" for i in range(10_000)], "y": [1.0] * 10_000}
    )
    path = written(names, tmp_path / "a.parquet")
    made = profile_of(path)
    assert set(made.categories["name"].values()) == {1}
    assert len(made.categories["name"]) == 10_000
    levels = pl.DataFrame({"c": pl.Series(["a", "b"], dtype=pl.Enum(["a", "b", "c", "d"]))})  # more categories than rows
    assert profile_of(written(levels, tmp_path / "levels.parquet")).categories == {"c": {"a": 1, "b": 1}}
    monkeypatch.setattr(parquet, "DISTINCT", 5_000)
    with pytest.raises(ValueError, match="columns with more than 5,000 different values: name, note; such values are names"):
        profile_of(path)
    with pytest.raises(ValueError, match=r"columns with more than 5,000 different values: note; .* make no segments"):
        profile_of(path, columns=["y"], by=SegmentBy("note"))
    assert profile_of(path, columns=["y"]).rows == 10_000


def test_a_column_of_nothing_but_nulls_is_of_the_kind_that_the_other_side_says(tmp_path: Path) -> None:
    full = written(pl.DataFrame({"x": [1.0, 2.0], "c": ["a", "b"]}), tmp_path / "full.parquet")
    gone = written(pl.DataFrame({"x": [None, None], "c": [None, None]}), tmp_path / "gone.parquet")
    made = profile_of(gone, profile_of(full))
    assert made.counts.missing.tolist() == [2]
    assert made.categories == {"c": {"": 2}}
    same(profile_of([full, gone]), profile_of([gone, full]))
    assert profile_of(gone).kinds == {"x": "number", "c": "number"}
    with pytest.raises(ValueError, match="column c holds a number in the reference and a category in"):
        profile_of(full, profile_of(gone))


MEASURE = """
import resource, sys
from pathlib import Path
import numpy, polars, pyarrow.parquet, numba
from engine import parquet
parquet.VALUES = 1 << 21
parquet.profile_of(Path(sys.argv[1]), columns=["x0"])  # whatever is compiled and opened once
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
parquet.profile_of(Path(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A table of 160 MB in one row group, in less than half of that."""
    path, rows = tmp_path / "a.parquet", 1_000_000
    column = np.random.default_rng(0).normal(0, 1, rows).astype(np.float32)
    schema = pa.schema([(f"x{j}", pa.float32()) for j in range(40)])
    pq.write_table(pa.table([column] * 40, schema=schema), path, row_group_size=rows, use_dictionary=False, compression="none")
    found = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    assert int(found.stdout) * 1024 < 75e6
