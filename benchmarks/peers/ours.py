"""Ours, through the public interface of `kernels` alone.

Ready of the reference are its profile over 31 quantile edges and its sorted columns: what the engine keeps with a model. Each
call pays for its whole pass over the current table, though one pass serves every statistic of its kind. On a GPU both tables are
there already, as they are in memory on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import kernels
from benchmarks.peers.answering import Call, answer
from kernels.arrays import Array, namespace
from kernels.statistics import (
    chi_squared,
    cohens_d,
    cramers_v,
    g_test,
    hellinger,
    jensen_shannon,
    kl,
    linear_time_mmd,
    mahalanobis,
    missing_rate,
    mmd,
    psi,
    sliced_wasserstein,
    total_variation,
    variance_ratio,
    welch_t,
)

EDGES = 31  # as engine.profile has them
BINS = 10_000  # of equal width, as nannyml has them: distances from so many are about as good as its estimates

OVER_COUNTS = (psi, jensen_shannon, kl, hellinger, total_variation, chi_squared, g_test, cramers_v)
OVER_MOMENTS = (welch_t, variance_ratio, missing_rate)
OVER_ROWS = (mmd, linear_time_mmd, sliced_wasserstein, mahalanobis)


@dataclass(frozen=True)
class Kept:
    """What is ready of the reference; `rows` are for the statistics of whole rows, which need a look at it again."""

    rows: Array
    edges: Array
    counts: kernels.ColumnCounts
    ordered: list[Array]


def statistics(reference: Array, current: Array) -> dict[str, Call]:
    """Calls over counts, calls over sorted columns, the whole suite, and the bare passes (whose values are nobody's)."""
    ordered = kernels.sort_columns(reference)
    edges = quantile_edges(ordered, EDGES)
    kept = Kept(reference, edges, kernels.profile(reference, edges), ordered)

    def over_counts(statistic: Any) -> Call:
        return lambda: {"value": statistic(kept.counts.counts, kernels.profile(current, edges).counts)}

    equal = equal_edges(ordered, BINS)
    kept_equal = kernels.profile(reference, equal)

    def binned_four() -> dict[str, Any]:
        after = kernels.profile(current, edges).counts
        return areas(kept_equal, kernels.profile(current, equal), equal) | {
            "jensen_shannon": jensen_shannon.jensen_shannon(kept.counts.counts, after),
            "hellinger": hellinger.hellinger(kept.counts.counts, after),
        }

    calls: dict[str, Call] = {
        "psi": over_counts(psi.psi),
        "jensen_shannon": over_counts(jensen_shannon.jensen_shannon),
        "kl": over_counts(kl.kl),
        "hellinger": over_counts(hellinger.hellinger),
        "moments": lambda: {"welch_t": welch_t.welch_t(kept.counts, kernels.profile(current, edges))},
        "exact": lambda: exact(kernels.sorted_gaps(ordered, kernels.sort_columns(current))),
        f"{EDGES} edges": lambda: areas(kept.counts, kernels.profile(current, edges), edges),
        f"{BINS} bins": lambda: areas(kept_equal, kernels.profile(current, equal), equal),
        "binned four": binned_four,
        "suite": lambda: suite(kept, current),
        "pass": lambda: {"value": kernels.profile(current, edges).mean},
        "sort": lambda: {"value": [len(column) for column in kernels.sort_columns(current)]},
    }
    if namespace(current).__name__ == "cupy":
        copy = namespace(current).empty_like(current)
        calls["copy"] = lambda: {"value": copy.data.copy_from_device(current.data, current.nbytes) or []}
    return calls


def exact(gaps: kernels.SortedGaps) -> dict[str, Array]:
    """The values that the merge's sums are already, as scipy.stats defines them."""
    xp = namespace(gaps.area)
    return {
        "kolmogorov_smirnov": gaps.widest,
        "wasserstein": gaps.area,
        "energy": xp.sqrt(2 * gaps.squared_area),
        "mann_whitney": gaps.wins,
    }


def suite(kept: Kept, current: Array) -> dict[str, Array]:
    """Every statistic, each with its p-value, effect and interval where it has them; what comes back are the values."""
    after = kernels.profile(current, kept.edges)
    found = {_name(module): module.measure(kept.counts.counts, after.counts).value for module in OVER_COUNTS}
    found |= {_name(module): module.measure(kept.counts, after).value for module in OVER_MOMENTS}
    found |= {"cohens_d": cohens_d.cohens_d(kept.counts, after)}
    ordered = kernels.sort_columns(current)
    found |= exact(kernels.sorted_gaps(kept.ordered, ordered))
    del ordered
    return found | {_name(module): module.measure(kept.rows, current).value for module in OVER_ROWS}


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


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
