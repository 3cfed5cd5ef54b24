"""Every statistic of drift, by the name that configurations and reports give it.

Three tables say which there are: `NUMBERS` of numeric columns, `CATEGORIES` of one categorical column, `TABLES` of whole rows.
What several of them read from is made once and shared: one pass over the values, one merge of the sorted ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

import kernels
from kernels.arrays import Array
from kernels.column_counts import ColumnCounts
from kernels.measured import Measured
from kernels.sorted_gaps import SortedGaps
from kernels.statistics import (
    anderson_darling,
    binned_ks,
    binned_wasserstein,
    chi_squared,
    classifier_two_sample,
    correlation_change,
    cramer_von_mises,
    cramers_v,
    energy,
    g_test,
    hellinger,
    infinite_rate,
    jensen_shannon,
    kl,
    kolmogorov_smirnov,
    kuiper,
    l_infinity,
    linear_time_mmd,
    lost_category_rate,
    mahalanobis,
    mann_whitney,
    missing_rate,
    mmd,
    new_category_rate,
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


@dataclass(frozen=True, eq=False)
class Numbers:
    """The d numeric columns of one side.

    moments  what `kernels.profile` says of them, over `edges` [d, E]
    bins     [d, k] int64, counts over the reference's bins, of NaN too
    outside  [d] int64, values outside the reference's range
    ordered  d ascending arrays of the values, or of a sample of them
    """

    moments: ColumnCounts
    edges: Array
    bins: Array
    outside: Array
    ordered: Sequence[Array]


@dataclass(frozen=True, eq=False)
class Pair:
    """Both sides of numeric columns, and what is made of both."""

    before: Numbers
    after: Numbers
    confidence: float = 0.95

    @cached_property
    def gaps(self) -> SortedGaps:
        """One merge of the sorted values."""
        return kernels.sorted_gaps(self.before.ordered, self.after.ordered)

    @property
    def bins(self) -> tuple[Array, Array, float]:
        """What statistics of counts take."""
        return self.before.bins, self.after.bins, self.confidence

    @property
    def moments(self) -> tuple[ColumnCounts, ColumnCounts, float]:
        """What statistics of moments take."""
        return self.before.moments, self.after.moments, self.confidence


NUMBERS: Mapping[str, Callable[[Pair], Measured]] = {
    "psi": lambda pair: psi.measure(*pair.bins),
    "js": lambda pair: jensen_shannon.measure(*pair.bins),
    "kl": lambda pair: kl.measure(*pair.bins),
    "hellinger": lambda pair: hellinger.measure(*pair.bins),
    "tv": lambda pair: total_variation.measure(*pair.bins),
    "l_infinity": lambda pair: l_infinity.measure(*pair.bins),
    "chi2": lambda pair: chi_squared.measure(*pair.bins),
    "g": lambda pair: g_test.measure(*pair.bins),
    "cramers_v": lambda pair: cramers_v.measure(*pair.bins),
    "ks_bins": lambda pair: binned_ks.measure(*pair.moments),
    "w1_bins": lambda pair: binned_wasserstein.measure(
        pair.before.moments, pair.after.moments, pair.before.edges, pair.confidence
    ),
    "ks": lambda pair: kolmogorov_smirnov.measure(pair.gaps, pair.confidence),
    "kuiper": lambda pair: kuiper.measure(pair.gaps, pair.confidence),
    "w1": lambda pair: wasserstein.measure(pair.gaps, pair.before.moments.variance**0.5, pair.confidence),
    "cvm": lambda pair: cramer_von_mises.measure(pair.gaps, pair.confidence),
    "ad": lambda pair: anderson_darling.measure(pair.gaps, pair.confidence),
    "energy": lambda pair: energy.measure(pair.gaps, pair.confidence),
    "mann_whitney": lambda pair: mann_whitney.measure(pair.gaps, pair.confidence),
    "quantiles": lambda pair: quantile_shift.measure(pair.before.ordered, pair.after.ordered, pair.confidence),
    "welch": lambda pair: welch_t.measure(*pair.moments),
    "variance": lambda pair: variance_ratio.measure(*pair.moments),
    "missing": lambda pair: missing_rate.measure(*pair.moments),
    "infinite": lambda pair: infinite_rate.measure(*pair.moments),
    "outside": lambda pair: out_of_range.measure(
        pair.after.outside,
        pair.after.moments.rows - pair.after.moments.missing,
        pair.before.moments.rows - pair.before.moments.missing,
        pair.confidence,
    ),
}

CATEGORIES: Mapping[str, Callable[[Array, Array, float], Measured]] = {
    "psi": psi.measure,
    "js": jensen_shannon.measure,
    "kl": kl.measure,
    "hellinger": hellinger.measure,
    "tv": total_variation.measure,
    "l_infinity": l_infinity.measure,
    "chi2": chi_squared.measure,
    "g": g_test.measure,
    "cramers_v": cramers_v.measure,
    "new": new_category_rate.measure,
    "lost": lost_category_rate.measure,
}

TABLES: Mapping[str, Callable[..., Measured]] = {
    "mmd": mmd.measure,
    "mmd_linear": linear_time_mmd.measure,
    "sliced_w1": sliced_wasserstein.measure,
    "mahalanobis": mahalanobis.measure,
    "pca": pca_reconstruction.measure,
    "classifier": classifier_two_sample.measure,
    "correlation": correlation_change.measure,
}


def numbers(
    before: Numbers, after: Numbers, names: Collection[str] = tuple(NUMBERS), confidence: float = 0.95
) -> dict[str, Measured]:
    """The statistics of these `names`, of all columns at once. `before` is the reference.

    Of values so large that their squares or distances leave float64 what is made of these is infinite or NaN, without a warning.
    """
    pair = Pair(before, after, confidence)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return {name: statistic(pair) for name, statistic in NUMBERS.items() if name in names}


def categories(
    before: Array, after: Array, names: Collection[str] = tuple(CATEGORIES), confidence: float = 0.95
) -> dict[str, Measured]:
    """The same of one categorical column, or of several with k values each: counts [..., k]."""
    return {name: statistic(before, after, confidence) for name, statistic in CATEGORIES.items() if name in names}


DISTANCES = ("mmd", "mmd_linear", "sliced_w1")  # of TABLES, what depends on the units of the columns


def tables(
    before: Array,
    after: Array,
    names: Collection[str] = tuple(TABLES),
    seed: int = 0,
    confidence: float = 0.95,
    scaled: bool = True,
) -> dict[str, Measured]:
    """The same of whole rows, [n, d] and [m, d]; shape []. `scaled` False keeps distances as they are, as between embeddings."""
    return {
        name: made(before, after, seed=seed, confidence=confidence, **({"scaled": scaled} if name in DISTANCES else {}))
        for name, made in TABLES.items()
        if name in names
    }
