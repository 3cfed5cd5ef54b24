"""What a peer's values have to be, if ours are right: the same, or the same from the peer's own bins.

Nobody bins as we do: evidently and frouros over both tables together, nannyml over the reference. So our statistic is laid over
the peer's own counts, and has to give the peer's number. Where a peer fills empty bins with a small share of its own choice, that
column is left out (NaN); where the peer estimates, what it is compared with is our exact value, and the difference is its error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.statistics.jensen_shannon import jensen_shannon
from kernels.statistics.kolmogorov_smirnov import kolmogorov_smirnov
from kernels.statistics.psi import psi

F64 = NDArray[np.float64]
Counts = tuple[NDArray[np.int64], NDArray[np.int64]]
# Our values by the names of the calls and their parts, the reference's column, the current one's, and which column it is.
Expected = Callable[[Mapping[str, Mapping[str, Any]], F64, F64, int], float]


@dataclass(frozen=True)
class Agreement:
    """Over the columns that compare: how far apart at most, relative to values above 1, and how far they may be.

    `tolerance` is None for an estimate: then `apart` is its error.
    """

    columns: int
    apart: float
    tolerance: float | None

    @property
    def holds(self) -> bool:
        """Whether the values agree; an estimate always does."""
        return self.tolerance is None or self.apart <= self.tolerance

    def __str__(self) -> str:
        if not self.columns:
            return "other bins"
        if self.tolerance is None:
            return f"estimate, off by {self.apart:.1e}"
        return f"{'' if self.holds else 'NOT '}within {self.tolerance:.0e} ({self.apart:.1e})"


def agreement(
    theirs: Any, expected: Expected, tolerance: float | None, ours: Mapping[str, Mapping[str, Any]], before: Any, after: Any
) -> Agreement:
    """Compare a peer's values, one a column, with what they have to be."""
    wanted = np.array([expected(ours, before[:, j], after[:, j], j) for j in range(len(theirs))])
    compared = np.isfinite(wanted)
    apart = np.abs(np.asarray(theirs)[compared] - wanted[compared]) / np.maximum(np.abs(wanted[compared]), 1)
    return Agreement(int(compared.sum()), float(apart.max(initial=0.0)), tolerance)


# what has to come out


def same(call: str, part: str = "value") -> Expected:
    """Our very value."""
    return lambda ours, before, after, j: ours[call][part][j]


def ks_p_value(ours: Mapping[str, Mapping[str, Any]], before: F64, after: F64, j: int) -> float:
    """The chance of our Kolmogorov-Smirnov statistic."""
    gap = np.array([ours["exact"]["kolmogorov_smirnov"][j]])
    return float(kolmogorov_smirnov(gap, np.array([len(before)]), np.array([len(after)]))[0])


def in_deviations(ours: Mapping[str, Mapping[str, Any]], before: F64, after: F64, j: int) -> float:
    """Our Wasserstein distance in standard deviations of the reference."""
    return float(ours["exact"]["wasserstein"][j] / before.std(dtype=np.float64))


def over(bins: Callable[[F64, F64], Counts], statistic: Callable[[Any, Any], Any], zeros: bool) -> Expected:
    """Our statistic over the peer's bins; `zeros` says whether it needs no filling of empty ones."""

    def expected(ours: Mapping[str, Mapping[str, Any]], before: F64, after: F64, j: int) -> float:
        counts = bins(before, after)
        if not zeros and min(side.min() for side in counts) == 0:
            return math.nan
        return float(statistic(counts[0][None], counts[1][None])[0])

    return expected


def plain_psi(before: Any, after: Any) -> Any:
    """Ours without smoothing: no peer smooths."""
    return psi(before, after, smoothing=0)


def jensen_shannon_nats(before: Any, after: Any) -> Any:
    """Ours by natural logarithms, as scipy.spatial has it by default."""
    return jensen_shannon(before, after) * math.sqrt(math.log(2))


# the peers' bins


def sturges(before: F64, after: F64) -> Counts:
    """evidently's bins: of equal width over both tables, as many as Sturges' rule has for them."""
    return _counted(before, after, np.histogram_bin_edges(np.concatenate([before, after]), "sturges"))


def tenths(before: F64, after: F64) -> Counts:
    """frouros' bins: ten of equal width over both tables."""
    return _counted(before, after, np.histogram_bin_edges(np.concatenate([before, after]), 10))


def doane(before: F64, after: F64) -> Counts:
    """nannyml's bins: by Doane's rule over the reference, and one for what lies outside."""
    counts = _counted(before, after, np.histogram_bin_edges(before.astype(float), "doane"))
    outside = len(after) - counts[1].sum()
    return np.append(counts[0], 0), np.append(counts[1], outside)


def _counted(before: F64, after: F64, edges: F64) -> Counts:
    return np.histogram(before, edges)[0], np.histogram(after, edges)[0]
