"""Ours, through the public interface of `kernels` alone.

Ready of the reference are its profile over 31 quantile edges and its sorted columns: what the engine keeps with a model. Each
call pays for its whole pass over the current table, though one pass serves every statistic of its kind. On a GPU both tables are
there already, as they are in memory on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import kernels
from benchmarks.peers.answering import Call, answer
from kernels import suite as every
from kernels.arrays import Array, namespace
from kernels.statistics import (
    anderson_darling,
    cramer_von_mises,
    energy,
    hellinger,
    jensen_shannon,
    kl,
    mann_whitney,
    psi,
    welch_t,
)
from kernels.statistics.binned_ks import binned_ks
from kernels.statistics.binned_wasserstein import binned_wasserstein

EDGES = 31  # as engine.profile has them
BINS = 10_000  # of equal width, as nannyml has them: distances from so many are about as good as its estimates


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
        "ks and w1": lambda: ks_and_w1(ordered, current),
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


def ks_and_w1(ordered: Sequence[Array], current: Array) -> dict[str, Any]:
    """Only the two, column by column on all cores, or of all columns in one launch; the reference is sorted already."""
    if namespace(current).__name__ == "cupy":
        gaps = kernels.sorted_gaps(ordered, kernels.sort_columns(current))
        return {"kolmogorov_smirnov": gaps.widest, "wasserstein": gaps.area}
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(kernels.ks_wasserstein, ordered, kernels.sort_columns(current)))
    return {"kolmogorov_smirnov": [ks for ks, _ in found], "wasserstein": [distance for _, distance in found]}


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
    """Every statistic of numbers and of whole rows, with the p-value, effect and interval that it has; their values come back."""
    before = every.Numbers(kept.counts, kept.edges, kept.counts.counts, kept.counts.missing, kept.ordered)
    ordered, after = kernels.sort_columns(current), kernels.profile(current, kept.edges)
    now = every.Numbers(after, kept.edges, after.counts, outside(kept.counts, ordered), ordered)
    found = every.numbers(before, now)
    del ordered, now
    return {name: measured.value for name, measured in (found | every.tables(kept.rows, current)).items()}


def outside(before: kernels.ColumnCounts, ordered: Sequence[Array]) -> Array:
    """[d] how many of each sorted column lie outside what the reference has seen."""
    xp = namespace(before.minimum)
    ends = zip(before.minimum, before.maximum, ordered, strict=True)
    return xp.stack(  # type: ignore[no-any-return]
        [xp.searchsorted(c, low, "left") + len(c) - xp.searchsorted(c, high, "right") for low, high, c in ends]
    )


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
    """Kolmogorov-Smirnov and Wasserstein-1 from counts over the same edges: estimates, as everybody's from bins."""
    return {"kolmogorov_smirnov": binned_ks(before, after), "wasserstein": binned_wasserstein(before, after, edges)}


if __name__ == "__main__":
    answer(statistics)
