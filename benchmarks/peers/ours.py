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
    anderson_darling,
    chi_squared,
    classifier_two_sample,
    cohens_d,
    correlation_change,
    cramer_von_mises,
    cramers_v,
    energy,
    g_test,
    hellinger,
    jensen_shannon,
    kl,
    kolmogorov_smirnov,
    kuiper,
    linear_time_mmd,
    mahalanobis,
    mann_whitney,
    missing_rate,
    mmd,
    out_of_range,
    pca_reconstruction,
    psi,
    quantile_shift,
    sliced_wasserstein,
    total_variation,
    variance_ratio,
    wasserstein,
    welch_t,
)

EDGES = 31  # as engine.profile has them
BINS = 10_000  # of equal width, as nannyml has them: distances from so many are about as good as its estimates

OVER_COUNTS = (psi, jensen_shannon, kl, hellinger, total_variation, chi_squared, g_test, cramers_v)
OVER_MOMENTS = (welch_t, variance_ratio, missing_rate)
OVER_GAPS = (kolmogorov_smirnov, kuiper, cramer_von_mises, anderson_darling, energy, mann_whitney)
OVER_ROWS = (
    mmd,
    linear_time_mmd,
    sliced_wasserstein,
    mahalanobis,
    pca_reconstruction,
    classifier_two_sample,
    correlation_change,
)


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
    """What the merge's sums say, as scipy.stats defines it."""
    return {
        "kolmogorov_smirnov": gaps.widest,
        "wasserstein": gaps.area,
        "energy": energy.energy(gaps),
        "mann_whitney": mann_whitney.mann_whitney(gaps),
        "cramer_von_mises": cramer_von_mises.cramer_von_mises(gaps),
        "anderson_darling": anderson_darling.anderson_darling(gaps),
    }


def suite(kept: Kept, current: Array) -> dict[str, Array]:
    """Every statistic of numbers, with the p-value, effect and interval that it has; what comes back are the values."""
    after = kernels.profile(current, kept.edges)
    found = {_name(module): module.measure(kept.counts.counts, after.counts).value for module in OVER_COUNTS}
    found |= {_name(module): module.measure(kept.counts, after).value for module in OVER_MOMENTS}
    found["cohens_d"] = cohens_d.cohens_d(kept.counts, after)
    ordered = kernels.sort_columns(current)
    gaps = kernels.sorted_gaps(kept.ordered, ordered)
    found |= {_name(module): module.measure(gaps).value for module in OVER_GAPS}
    distance = wasserstein.measure(gaps, namespace(current).sqrt(kept.counts.variance))
    found |= {"wasserstein": distance.value, "normalised wasserstein": distance.effect}
    found["quantile_shift"] = quantile_shift.measure(kept.ordered, ordered).value
    beyond = outside(kept.counts, ordered)
    found["out_of_range"] = out_of_range.measure(beyond, gaps.current_rows, gaps.reference_rows).value
    del ordered
    return found | {_name(module): module.measure(kept.rows, current).value for module in OVER_ROWS}


def outside(before: kernels.ColumnCounts, ordered: Sequence[Array]) -> Array:
    """[d] how many of each sorted column lie outside what the reference has seen."""
    xp = namespace(before.minimum)
    ends = zip(before.minimum, before.maximum, ordered, strict=True)
    return xp.stack(  # type: ignore[no-any-return]
        [xp.searchsorted(c, low, "left") + len(c) - xp.searchsorted(c, high, "right") for low, high, c in ends]
    )


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
