"""Ours, through the public interface of `kernels` alone.

Ready of the reference are its profile over 31 quantile edges and its sorted columns: what the engine keeps with a model. Each call
pays for its whole pass over the current table, though one pass serves every statistic of its kind. On a GPU both tables are there
already, as they are in memory on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import kernels
from benchmarks.peers.answering import Call, answer
from kernels.arrays import Array, namespace
from kernels.statistics.jensen_shannon import jensen_shannon
from kernels.statistics.psi import psi

EDGES = 31  # as engine.profile has them
FINE = 1023
EQUAL = 10_000  # nannyml's bins


def statistics(reference: Array, current: Array) -> dict[str, Call]:
    """Calls over counts, calls over sorted columns, and the bare passes (whose values are nobody's)."""
    ordered = kernels.sort_columns(reference)
    edges = quantile_edges(ordered, EDGES)
    before = kernels.profile(reference, edges)

    def over_counts(statistic: Any) -> Call:
        return lambda: {"value": statistic(before.counts, kernels.profile(current, edges).counts)}

    def exact() -> dict[str, Any]:
        pairs = [kernels.ks_wasserstein(x, y) for x, y in zip(ordered, kernels.sort_columns(current), strict=True)]
        return dict(zip(("kolmogorov_smirnov", "wasserstein"), zip(*pairs, strict=True), strict=True))

    def binned(kept_edges: Array) -> Call:
        kept = kernels.profile(reference, kept_edges)
        return lambda: areas(kept, kernels.profile(current, kept_edges), kept_edges)

    calls: dict[str, Call] = {
        "psi": over_counts(psi),
        "jensen_shannon": over_counts(jensen_shannon),
        "exact": exact,
        f"{EDGES} edges": binned(edges),
        f"{FINE} edges": binned(quantile_edges(ordered, FINE)),
        f"{EQUAL} equal bins": binned(equal_edges(ordered, EQUAL)),
        "pass": lambda: {"value": kernels.profile(current, edges).mean},
        "sort": lambda: {"value": [len(column) for column in kernels.sort_columns(current)]},
    }
    if namespace(current).__name__ == "cupy":
        copy = namespace(current).empty_like(current)
        calls["copy"] = lambda: {"value": copy.data.copy_from_device(current.data, current.nbytes) or []}
    return calls


def quantile_edges(ordered: Sequence[Array], number: int) -> Array:
    """[d, number] edges between bins that hold equal shares of each sorted column."""
    xp = namespace(ordered[0])
    return xp.stack([column[(xp.arange(1, number + 1) * len(column)) // (number + 1)] for column in ordered])  # type: ignore[no-any-return]


def equal_edges(ordered: Sequence[Array], bins: int) -> Array:
    """[d, bins + 1] edges between bins of equal width over each sorted column's range."""
    xp = namespace(ordered[0])
    edges = [xp.linspace(float(column[0]), float(column[-1]), bins + 1) for column in ordered]
    return xp.stack(edges).astype(ordered[0].dtype)  # type: ignore[no-any-return]


def areas(before: kernels.ColumnCounts, after: kernels.ColumnCounts, edges: Array) -> dict[str, Array]:
    """Kolmogorov-Smirnov and Wasserstein-1 from counts over the same edges: estimates, as everybody's from bins.

    The widest gap between the distribution functions at an edge, and the area between them when they are straight from edge to
    edge and end at the outermost value of either side.
    """
    xp = namespace(edges)
    gap = xp.zeros((len(edges), edges.shape[1] + 2))
    for sign, side in ((1, before), (-1, after)):
        gap[:, 1:-1] += sign * xp.cumsum(side.counts, axis=1)[:, :-1] / side.counts.sum(axis=1, keepdims=True)
    ends = xp.minimum(before.minimum, after.minimum)[:, None], xp.maximum(before.maximum, after.maximum)[:, None]
    widths = xp.diff(xp.concatenate([ends[0], edges.astype(float), ends[1]], axis=1), axis=1).clip(0)
    left, right = gap[:, :-1], gap[:, 1:]
    apart, total = left * right < 0, xp.abs(left) + xp.abs(right)
    # Where the functions cross between two edges, two triangles; else a trapezium.
    heights = xp.where(apart, (left**2 + right**2) / xp.where(total > 0, total, 1), total) / 2
    return {"kolmogorov_smirnov": xp.abs(gap).max(axis=1), "wasserstein": (heights * widths).sum(axis=1)}


if __name__ == "__main__":
    answer(statistics)
