"""Mergeable statistics of a table: counts over fixed edges, moments, categories, missing values and a sorted sample, per column.

A champion's reference Profile fixes the edges (quantiles of its training rows); every later window is counted over the same
edges, so two Profiles compare in microseconds whatever the size of the data behind them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

import kernels
from engine.nouns import Schema

F64 = npt.NDArray[np.float64]

EDGES = 31  # 32 bins of equal weight in the reference: fine enough for tails, coarse enough for windows of a thousand rows
SAMPLE = 10_000  # rows kept sorted per numeric column; below it KS and Wasserstein are exact


@dataclass(frozen=True)
class Profile:
    """What a table looked like. `numbers` are the numeric columns in the order of `edges` [d, E], `counts` and `samples`."""

    rows: int
    numbers: tuple[str, ...]
    edges: F64
    counts: kernels.ColumnCounts
    samples: tuple[F64, ...]
    categories: Mapping[str, Mapping[str, int]]

    def merge(self, other: Profile, seed: int = 0) -> Profile:
        """The Profile of both tables together. Counts add exactly, moments by Chan's formula; samples are thinned in proportion.

        Raises ValueError when the two were counted over different edges.
        """
        if self.numbers != other.numbers or not np.array_equal(self.edges, other.edges):
            raise ValueError("profiles merge only when they count the same columns over the same edges")
        categories = {
            name: {v: mine.get(v, 0) + other.categories[name].get(v, 0) for v in {**mine, **other.categories[name]}}
            for name, mine in self.categories.items()
        }
        rows = self.rows + other.rows
        samples = tuple(
            _thin(a, b, self.rows / rows if rows else 0.5, seed + j)
            for j, (a, b) in enumerate(zip(self.samples, other.samples, strict=True))
        )
        return Profile(rows, self.numbers, self.edges, self.counts.merge(other.counts), samples, categories)

    def save(self, path: Path) -> None:
        """Write the Profile as one compressed .npz file, whole or not at all."""
        arrays = {f"counts.{f.name}": np.asarray(getattr(self.counts, f.name)) for f in fields(self.counts)}
        arrays |= {f"sample.{j}": sample for j, sample in enumerate(self.samples)}
        text = json.dumps({"rows": self.rows, "numbers": self.numbers, "categories": self.categories})
        buffer = io.BytesIO()
        np.savez_compressed(buffer, edges=self.edges, meta=np.array(text), **arrays)  # type: ignore[arg-type]
        part = path.with_name(f".{path.name}")
        part.write_bytes(buffer.getvalue())
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Read what `save` wrote."""
        with np.load(path) as file:
            meta = json.loads(str(file["meta"]))
            counts = {f.name: file[f"counts.{f.name}"] for f in fields(kernels.ColumnCounts)}
            counts["rows"] = int(counts["rows"])
            samples = tuple(file[f"sample.{j}"] for j in range(len(meta["numbers"])))
            numbers = tuple(meta["numbers"])
            return cls(meta["rows"], numbers, file["edges"], kernels.ColumnCounts(**counts), samples, meta["categories"])


def build(frame: pl.DataFrame, schema: Schema, edges: F64 | None = None, seed: int = 0) -> Profile:
    """Profile a table over `edges` [d, E], or over the quantiles of its own rows when there are none yet.

    Features and watched columns; booleans count as 0 and 1; a regression target is one more numeric column, a class target one
    more category, unless labels come later. Null strings and "" are one value.
    """
    numbers, texts = _columns(schema)
    matrix = _matrix(frame, numbers)
    sample = matrix
    if frame.height > SAMPLE:
        sample = matrix[np.random.default_rng(seed).choice(frame.height, SAMPLE, replace=False)]
    samples = tuple(np.sort(column[np.isfinite(column)]) for column in sample.T)
    if edges is None:
        edges = _quantile_edges(samples)
    categories = {name: _value_counts(frame[name]) for name in texts}
    return Profile(frame.height, numbers, edges, kernels.profile(matrix, edges), samples, categories)


def _columns(schema: Schema) -> tuple[tuple[str, ...], tuple[str, ...]]:
    columns = (*schema.columns, *schema.watched)
    numbers = [c.name for c in columns if c.kind != "category"]
    texts = [c.name for c in columns if c.kind == "category"]
    if schema.key is None:
        (numbers if schema.task == "regression" else texts).append(schema.target)
    return tuple(numbers), tuple(texts)


def _matrix(frame: pl.DataFrame, names: Sequence[str]) -> F64:
    if not names:
        return np.empty((frame.height, 0))
    columns = [frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in names]
    return np.ascontiguousarray(np.stack(columns, axis=1))


def _value_counts(values: pl.Series) -> dict[str, int]:
    counted = values.cast(pl.String).fill_null("").value_counts(sort=True, name="n")
    return dict(zip(counted[values.name].to_list(), counted["n"].to_list(), strict=True))


def _quantile_edges(samples: Sequence[F64]) -> F64:
    shares = np.linspace(0, 1, EDGES + 2)[1:-1]
    edges = [np.quantile(sample, shares) if sample.size else np.zeros(EDGES) for sample in samples]
    return np.stack(edges) if edges else np.empty((0, EDGES))


def _thin(a: F64, b: F64, share: float, seed: int) -> F64:
    if a.size + b.size <= SAMPLE:
        return np.sort(np.concatenate([a, b]))
    random = np.random.default_rng(seed)
    from_a = min(a.size, round(SAMPLE * share))
    from_b = min(b.size, SAMPLE - from_a)
    return np.sort(np.concatenate([random.choice(a, from_a, replace=False), random.choice(b, from_b, replace=False)]))
