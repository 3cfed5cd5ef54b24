"""What a peer's values have to be, if ours are right: the same, or the same from the peer's own bins.

Nobody bins as we do: evidently and frouros over both tables together, nannyml over the reference. So our statistic is laid over
the peer's own counts, and has to give the peer's number. Where a peer fills empty bins with a small share of its own choice, that
column is left out (NaN); where the peer estimates, what it is compared with is our exact value, and the difference is its error.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.statistics.jensen_shannon import jensen_shannon
from kernels.statistics.kl import kl
from kernels.statistics.kolmogorov_smirnov import kolmogorov_smirnov
from kernels.statistics.psi import psi

F64 = NDArray[np.float64]
Shares = tuple[F64, F64]
Bins = Callable[[F64, F64], Shares]
# Our values by the names of the calls and their parts, the reference's column, the current one's, and which column it is.
Expected = Callable[[Mapping[str, Mapping[str, Any]], F64, F64, int], float]


@dataclass(frozen=True)
class Agreement:
    """How far apart the values of a column are at most, relative to values above 1, and how far they may be.

    `tolerance` is None for an estimate: then `apart` is its error.
    """

    apart: float
    tolerance: float | None

    @property
    def holds(self) -> bool:
        """Whether the values agree; an estimate always does."""
        return self.tolerance is None or self.apart <= self.tolerance

    def __str__(self) -> str:
        if self.tolerance is None:
            return f"estimate, off by {self.apart:.1e}"
        return f"{'' if self.holds else 'NOT '}within {self.tolerance:.0e} ({self.apart:.1e})"


def agreement(
    theirs: Any, expected: Expected, tolerance: float | None, ours: Mapping[str, Mapping[str, Any]], before: Any, after: Any
) -> Agreement:
    """Compare a peer's values, one a column, with what they have to be."""
    wanted = np.array([expected(ours, before[:, j], after[:, j], j) for j in range(len(theirs))])
    apart = np.abs(np.asarray(theirs) - wanted) / np.maximum(np.abs(wanted), 1)
    return Agreement(float(apart.max()), tolerance)


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


def over(bins: Bins, statistic: Callable[[Any, Any], Any]) -> Expected:
    """Our statistic over the peer's own bins."""

    def expected(ours: Mapping[str, Mapping[str, Any]], before: F64, after: F64, j: int) -> float:
        mine, theirs = bins(before, after)
        return float(statistic(mine[None], theirs[None])[0])

    return expected


def falling(call: str, part: str) -> Expected:
    """Our very value with its sign turned: reference less current."""
    return lambda ours, before, after, j: -ours[call][part][j]


def plain_psi(before: Any, after: Any) -> Any:
    """Ours without smoothing: no peer smooths."""
    return psi(before, after, smoothing=0)


def plain_kl(before: Any, after: Any) -> Any:
    """Ours without smoothing, of the reference against the current: scipy.stats.entropy's direction."""
    return kl(after, before, smoothing=0)


def jensen_shannon_nats(before: Any, after: Any) -> Any:
    """Ours by natural logarithms, as scipy.spatial has it by default."""
    return jensen_shannon(before, after) * math.sqrt(math.log(2))


# the peers' bins


def sturges(before: F64, after: F64) -> Shares:
    """evidently's bins: of equal width over both tables, as many as Sturges' rule has for them."""
    return _shares(before, after, np.histogram_bin_edges(np.concatenate([before, after]), "sturges"))


def sturges_filled(before: F64, after: F64) -> Shares:
    """The same; an empty bin is given a millionth of the smallest share where that is 0.0001 or less, and else 0.0001."""
    sides = sturges(before, after)
    for side in sides:
        least = side[side > 0].min()
        side[side == 0] = least / 1e6 if least <= 1e-4 else 1e-4
    return sides


def sturges_of_values(before: F64, after: F64) -> Shares:
    """evidently's bins for its Hellinger distance: as many as Sturges' rule has for the distinct values."""
    return _shares(before, after, np.histogram_bin_edges(np.union1d(before, after), "sturges"))


def tenths(before: F64, after: F64) -> Shares:
    """frouros' bins: ten of equal width over both tables."""
    return _shares(before, after, np.histogram_bin_edges(np.concatenate([before, after]), 10))


def tenths_filled(before: F64, after: F64) -> Shares:
    """The same; an empty bin is given the smallest number there is."""
    sides = tenths(before, after)
    for side in sides:
        side[side == 0] = sys.float_info.min
    return sides


def doane(before: F64, after: F64) -> Shares:
    """nannyml's bins: by Doane's rule over the reference, and one for what lies outside."""
    sides = _shares(before, after, np.histogram_bin_edges(before.astype(float), "doane"))
    return np.append(sides[0], 0.0), np.append(sides[1], max(1 - sides[1].sum(), 0.0))


def _shares(before: F64, after: F64, edges: F64) -> Shares:
    return np.histogram(before, edges)[0] / len(before), np.histogram(after, edges)[0] / len(after)
