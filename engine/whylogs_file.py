"""A Profile out of a file that whylogs wrote, and one of ours as such a file.

Exact in both: rows, missing values, mean and variance, the least and the greatest value, and how often each value occurs of
booleans, and of text and integers of few values (whylogs' sketch of frequent items keeps up to 768 apart). Of other numbers there
is a KLL sketch (Karnin, Lang and Liberty, "Optimal quantile approximation in streams", 2016), which states its own error in rank.
Dates and other objects whylogs only counts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import kernels
from engine.columns import Holds
from engine.profile import F64, I64, QUANTILES, SAMPLE, Profile
from engine.profiling import edges_of
from engine.reference import Reference

BEGINS = b"WHY1"
CUT = 128  # characters: whylogs counts longer texts by how they begin
HOLDS: dict[str, Holds] = {"integral": "number", "fractional": "number", "boolean": "boolean", "string": "category"}
TRUTH = {"True": 1.0, "False": 0.0}
MOST = 768  # values that whylogs' sketch of frequent items keeps apart, three quarters of the 1,024 it has room for


class _LeftOut(Exception):
    """Why a column cannot be compared."""


def read(path: Path) -> Reference:
    """The Profile in a whylogs file, what of it is estimated, and which columns cannot be compared.

    Raises ValueError for a file that whylogs cannot read, that holds several segments or no column that can be compared, and when
    whylogs is not installed.
    """
    columns = _columns(path)
    counted = [counts for column in columns.values() if (counts := column.get_metric("counts"))]
    rows = max((counts.n.value for counts in counted), default=0)
    numbers: dict[str, _Numbers] = {}
    categories: dict[str, dict[str, int]] = {}
    kinds: dict[str, Holds] = {}
    left_out: dict[str, str] = {}
    for name, column in columns.items():
        try:
            holds = _holds(column)
            if holds == "category":
                categories[name] = _category(column, rows)
            else:
                numbers[name] = _numbers(column)
            kinds[name] = holds
        except _LeftOut as why:
            left_out[name] = str(why)
    if not kinds:
        said = "; ".join(f"{name} {why}" for name, why in left_out.items()) or "it is empty"
        raise ValueError(f"{path} holds no column that can be compared: {said}")
    estimated = {name: column.rank_error for name, column in numbers.items() if column.rank_error}
    return Reference(_profile(rows, numbers, categories, kinds), estimated, left_out)


@dataclass(frozen=True)
class _Numbers:
    """What whylogs says of a numeric column: `values` of them, `below` [E] how many are less than each of the `edges` [E]."""

    values: int
    mean: float
    m2: float
    minimum: float
    maximum: float
    sample: F64
    edges: F64
    below: I64
    rank_error: float


def _profile(rows: int, numbers: dict[str, _Numbers], categories: dict[str, dict[str, int]], kinds: dict[str, Holds]) -> Profile:
    columns = list(numbers.values())
    counts = [np.diff(column.below, prepend=0, append=column.values) for column in columns]
    moments = {
        name: np.array([getattr(column, name) for column in columns], float) for name in ("mean", "m2", "minimum", "maximum")
    }
    return Profile(
        rows,
        tuple(numbers),
        np.array([column.edges for column in columns]).reshape(len(columns), QUANTILES + 2),
        kernels.ColumnCounts(
            counts=np.array(counts, np.int64).reshape(len(columns), QUANTILES + 3),
            missing=np.array([rows - column.values for column in columns], np.int64),
            infinite=np.zeros(len(columns), np.int64),
            **moments,
            rows=rows,
        ),
        tuple(column.sample for column in columns),
        categories,
        {name: kinds[name] for name in (*numbers, *categories)},
    )


def _columns(path: Path) -> dict[str, Any]:
    whylogs = _whylogs()
    try:
        with path.open("rb") as file:
            file.seek(len(BEGINS))
            segments = whylogs.core.utils.read_delimited_protobuf(file, whylogs.core.proto.DatasetSegmentHeader).offsets
        columns: dict[str, Any] = whylogs.core.DatasetProfileView.deserialize(path.read_bytes()).get_columns()
    except Exception as error:  # its own, protobuf's and the sketches'
        raise ValueError(f"{path} begins as a whylogs profile does, and whylogs cannot read it: {error}") from error
    if len(segments) > 1:
        raise ValueError(f"{path} holds {len(segments)} segments, of which whylogs reads one: write a profile of all rows")
    return columns


def _holds(column: Any) -> Holds:
    types = column.get_metric("types")
    if types is None or column.get_metric("counts") is None:
        raise _LeftOut("of which whylogs was told to keep no counts or types")
    present = [name for name, count in types.to_summary_dict().items() if count]
    if not present:
        raise _LeftOut("which held nothing but missing values")
    if unknown := [name for name in present if name not in HOLDS]:
        raise _LeftOut(f"of whose {unknown[0]} values (dates among them) whylogs keeps no distribution")
    found = {HOLDS[name] for name in present}
    if len(found) > 1:
        raise _LeftOut(f"which held values of several types: {', '.join(present)}")
    return found.pop()


def _counted(column: Any, values: int) -> dict[str, int] | None:
    """How often each of so many values occurs, where whylogs kept all of them apart; the most frequent first."""
    frequent = column.get_metric("frequent_items")
    if frequent is None:
        return None
    every = _sketches().frequent_items_error_type.NO_FALSE_NEGATIVES
    items = frequent.frequent_strings.value.get_frequent_items(every)
    counted = {value: count for value, count, _, _ in items}
    # A sketch that has let go of everything is written as one that never saw anything: only the sum tells.
    return counted if sum(counted.values()) == values and all(lower == upper for _, _, lower, upper in items) else None


def _category(column: Any, rows: int) -> dict[str, int]:
    counted = _counted(column, column.get_metric("types").string.value)
    if counted is None:
        about = column.get_metric("cardinality")
        many = f" of about {about.estimate:,.0f}" if about else ""
        raise _LeftOut(f"whose values whylogs counted only in part: the most frequent{many}")
    if any(len(value) >= CUT for value in counted):
        raise _LeftOut(f"whose texts whylogs counted by their first {CUT} characters")
    missing = rows - sum(counted.values())
    return counted | ({"": counted.get("", 0) + missing} if missing else {})


def _numbers(column: Any) -> _Numbers:
    found = column.get_metric("distribution")
    if found is None:
        raise _LeftOut("of which whylogs was told to keep no distribution")
    if not found.kll.value.get_n():
        raise _LeftOut("which held nothing but missing values")
    if infinite := column.get_metric("counts").inf.value:
        raise _LeftOut(f"which held {infinite} infinite values: whylogs has no mean of the others")
    sketch, values = found.kll.value, found.kll.value.get_n()
    size, counted = min(values, SAMPLE), _counted(column, values)
    if counted is not None and column.get_metric("types").fractional.value == 0:
        known = np.array(sorted((TRUTH[value] if value in TRUTH else float(value), count) for value, count in counted.items()))
        upto = np.cumsum(known[:, 1]).astype(np.int64)
        sample = known[np.searchsorted(upto, _ranks(size) * values, side="right"), 0]
        edges = edges_of(sample, found.min, found.max, False)
        below = np.append(0, upto)[np.searchsorted(known[:, 0], edges)]
        error = 0.0
    else:
        sample = np.array(sketch.get_quantiles(_ranks(size).tolist()))
        edges = edges_of(sample, found.min, found.max, False)
        apart, place = np.unique(edges, return_inverse=True)
        below = np.rint(np.array(sketch.get_cdf(apart.tolist()))[place] * values).astype(np.int64)
        error = sketch.normalized_rank_error(True) if sketch.is_estimation_mode() else 0.0
    return _Numbers(values, found.mean.value, found.m2.value, found.min, found.max, sample, edges, below, error)


def _ranks(size: int) -> F64:
    """The middles of so many equal shares: the quantiles that stand for all values."""
    return (np.arange(size) + 0.5) / size


# and back


def write(profile: Profile, path: Path) -> list[str]:
    """Write a Profile as whylogs would, whole or not at all; returns what whylogs has no place for, in words.

    A number's sketch is made of the Profile's sample, each value standing for as many as there are behind it. Raises ValueError
    when whylogs is not installed.
    """
    core = _whylogs().core
    columns = {
        name: core.ColumnProfileView({metric.namespace: metric for metric in _metrics(profile, name, holds)})
        for name, holds in profile.kinds.items()
    }
    now = datetime.now(UTC)
    made = core.DatasetProfileView(columns=columns, dataset_timestamp=now, creation_timestamp=now).serialize()
    part = path.with_name(f".{path.name}")
    with part.open("wb") as file:
        file.write(made)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return _lost(profile)


def _lost(profile: Profile) -> list[str]:
    times = [name for name, holds in profile.kinds.items() if holds == "time"]
    crowded = [name for name, counted in profile.categories.items() if len(counted) > MOST]
    infinite = [name for name, count in zip(profile.numbers, profile.counts.infinite.tolist(), strict=True) if count]
    said = []
    if times:
        said.append(f"of {', '.join(times)} only how many: whylogs keeps no distribution of dates and times")
    if crowded:
        said.append(f"of {', '.join(crowded)} only a part: whylogs keeps up to {MOST} values apart")
    if infinite:
        said.append(f"of {', '.join(infinite)} the finite values: whylogs has no mean with infinite ones")
    if profile.segments:
        said.append("no segments: a whylogs file is the profile of one table")
    return said


def _metrics(profile: Profile, name: str, holds: Holds) -> list[Any]:
    """What whylogs would have kept of a column, less its count of different numbers, which a Profile does not know."""
    from whylogs.core import metrics

    types, counts = metrics.TypeCountersMetric.zero(), metrics.ColumnCountsMetric.zero()
    counts.n.set(profile.rows)
    if holds == "category":
        known = {value: count for value, count in profile.categories[name].items() if value}
        counts.null.set(profile.rows - sum(known.values()))
        types.string.set(sum(known.values()))
        return [types, counts, *_frequencies(known)]
    j = profile.numbers.index(name)
    finite, mean = int(profile.counts.finite[j]), float(profile.counts.mean[j])
    counts.null.set(profile.rows - finite)
    {"number": types.fractional, "boolean": types.boolean, "time": types.object}[holds].set(finite)
    if holds == "time" or not finite:
        return [types, counts]
    ends = (float(profile.counts.minimum[j]), float(profile.counts.maximum[j]))
    distribution = metrics.DistributionMetric.zero()
    _fill(distribution.kll.value, profile.samples[j], ends, finite)
    distribution.mean.set(mean)
    distribution.m2.set(float(profile.counts.m2[j]))
    if holds == "number":
        return [types, counts, distribution]
    true = round(mean * finite)
    counts.true.set(true)
    both = {"True": true, "False": finite - true}
    return [types, counts, distribution, *_frequencies({value: count for value, count in both.items() if count})]


def _frequencies(known: dict[str, int]) -> list[Any]:
    from whylogs.core import metrics

    frequent, cardinality = metrics.FrequentItemsMetric.zero(), metrics.CardinalityMetric.zero()
    for value, count in known.items():
        frequent.frequent_strings.value.update(value[:CUT], count)
    cardinality.hll.value.update_str_list(list(known))
    return [frequent, cardinality]


def _fill(sketch: Any, sample: F64, ends: tuple[float, float], values: int) -> None:
    """So many `values` into a KLL sketch: the ends, and between them the sample, doubled by merging until it is as many."""
    if sample.size == values:
        sketch.update(sample)
        return
    sketch.update(np.array(ends if sample.size else [ends[0]]))  # a sample may be empty where few values are not missing
    left = values - sketch.get_n()
    sample = sample if sample.size else np.array(ends)
    times, rest = divmod(left, sample.size)
    if rest:
        sketch.update(sample[np.floor(_ranks(rest) * sample.size).astype(np.int64)])
    doubled = type(sketch)(sketch.get_k())
    doubled.update(sample)
    while times:
        if times & 1:
            sketch.merge(doubled)
        doubled.merge(type(sketch)(doubled))
        times >>= 1


def _whylogs() -> ModuleType:
    """The package, which tells nobody that it was imported: by itself it sends word to its makers."""
    os.environ.setdefault("WHYLOGS_NO_ANALYTICS", "True")
    try:
        import whylogs.core.utils
    except ImportError as error:
        raise ValueError("this needs whylogs, which is not installed: `pip install 'warmstart[whylogs]'`") from error
    return whylogs  # type: ignore[no-any-return]


def _sketches() -> ModuleType:
    import whylogs_sketching

    return whylogs_sketching  # type: ignore[no-any-return]
