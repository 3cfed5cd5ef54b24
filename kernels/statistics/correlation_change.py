"""Correlation change: whether columns still move together as they did."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from typing import Any

import numpy as np

from kernels.arrays import Array, host, namespace
from kernels.measured import Measured
from kernels.statistics.scatter import NOTHING, Scatter
from kernels.table_rows import Frame, frame, sampled

ROWS = 100_000  # of a side that are looked at, unless told otherwise: a correlation is then known to 0.003
GROUPS = 20  # of rows, left out in turn for the interval


def correlation_change(x: Array, y: Array) -> tuple[float, float]:
    """The largest absolute and the root-mean-square change of a correlation, over all pairs of columns of x [n, d] and y [m, d].

    Pearson's. Pairs with a column that is constant on either side have no correlation and are left out; NaN if none is left. The
    rows are taken as they are and must be finite.

    >>> x = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    >>> largest, root_mean_square = correlation_change(x, x * [1, -1])
    >>> round(largest, 9), round(root_mean_square, 9)
    (2.0, 2.0)
    """
    change = _pairs(correlations(Scatter.of([y])) - correlations(Scatter.of([x])))
    change = change[change == change]
    if len(change) == 0:
        return math.nan, math.nan
    return float(np.abs(change).max()), math.sqrt(float((change**2).mean()))


def measure(x: Array, y: Array, *, rows: int | None = ROWS, seed: int = 0, confidence: float = 0.95) -> Measured:
    """The largest change of a correlation, its p-value over all pairs, and the root-mean-square change as effect. Shape [].

    Rows are made comparable by `kernels.table_rows`; a side with more than `rows` is represented by that many, drawn by the seed.

    p_value  of the pair whose Fisher's z changed most for its standard error, times the number of pairs (Bonferroni). Of two
             standard errors the larger: Fisher's, 1/√(n - 3), which holds for normal columns, and the one that the columns'
             fourth moments give; tails as heavy as t's with 5 degrees of freedom still alarm too often, in 8.5% at 5%. For some
             fifty rows or more
    effect   the square root of the mean over pairs of (change² less its variance by chance), floored at 0: estimates the
             root-mean-square change between the populations
    interval the grouped jackknife's, of the square: 20 groups of rows of each side left out in turn, Student's t

    NaN where a side has fewer than 4 rows with a value, or no two columns vary on both sides.

    Source: Fisher, "On the probable error of a coefficient of correlation", 1921; Steiger and Hakstian, "The asymptotic
    distribution of elements of a correlation matrix", 1982.

    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.standard_normal((2000, 3)), rng.standard_normal((2000, 3))
    >>> y[:, 1] = 0.6 * y[:, 0] + 0.8 * y[:, 1]
    >>> found = measure(x, y)
    >>> bool(found.p_value < 1e-9), bool(found.low < 0.6 / 3**0.5 < found.high)
    (True, True)
    """
    from scipy.special import ndtr, stdtrit

    xp: Any = namespace(x)
    rng = np.random.default_rng(seed)
    x, y = sampled(x, rows, rng), sampled(y, rows, rng)
    both = frame(x, y)
    before, after = _Side.of(both, x, rng), _Side.of(both, y, rng)
    looked_at = before.whole.rows, after.whole.rows
    if min(looked_at) < 4:
        return Measured(*(xp.asarray(math.nan),) * 5, rows=looked_at)
    a, b = correlations(before.whole), correlations(after.whole)
    known = np.triu(np.isfinite(a) & np.isfinite(b), 1)
    if not known.any():
        return Measured(*(xp.asarray(math.nan),) * 5, rows=looked_at)

    of_a, of_b = _variance_of_z(before, a)[known], _variance_of_z(after, b)[known]
    a, b = a[known], b[known]
    steepest = float((np.abs(_z(b) - _z(a)) / np.sqrt(of_a + of_b)).max())
    p_value = min(2 * float(ndtr(-steepest)) * len(a), 1.0)

    by_chance = of_a * (1 - a * a) ** 2 + of_b * (1 - b * b) ** 2
    squared = float(((b - a) ** 2 - by_chance).mean())
    variance, freedom = 0.0, 0
    for side, other in ((before, b), (after, a)):
        left = np.array([np.nanmean((correlations(rest)[known] - other) ** 2) for rest in side.without_each()])
        variance += (len(left) - 1) * float(left.var())
        freedom += len(left) - 1
    reach = float(stdtrit(freedom, (1 + confidence) / 2)) * math.sqrt(variance)
    effect = (math.sqrt(max(bound, 0.0)) for bound in (squared, squared - reach, squared + reach))
    figures = float(np.abs(b - a).max()), p_value, *effect
    return Measured(*(xp.asarray(figure) for figure in figures), rows=looked_at)


def correlations(of: Scatter) -> Array:
    """[d, d] Pearson's correlations; NaN with a column that does not vary.

    >>> correlations(Scatter.of([np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])])).round(9).tolist()
    [[1.0, nan], [nan, nan]]
    """
    products = np.atleast_2d(of.products)
    variances = np.diag(products) / max(of.rows, 1)
    varies = variances > (1e-12 * np.abs(of.mean)) ** 2
    deviations = np.sqrt(np.where(varies, variances * of.rows, np.nan))
    return np.clip(products / np.outer(deviations, deviations), -1, 1)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """Scatter of groups of rows and of all of them; and, for standardised columns u: sums of u⁴ [d], u²u'² and u³u' [d, d]."""

    parts: list[Scatter]
    whole: Scatter
    squares: Array
    cubes: Array

    @classmethod
    def of(cls, both: Frame, x: Array, rng: np.random.Generator) -> _Side:
        xp = namespace(x)
        parts = [NOTHING] * GROUPS
        for slab in both.slabs(x):
            order = rng.permutation(len(slab))
            for g in range(GROUPS):
                rows = order[g::GROUPS]
                if len(rows):
                    parts[g] = parts[g].merge(Scatter.of([slab[xp.asarray(rows)]]))
        whole = reduce(Scatter.merge, parts)
        d = x.shape[1]
        squares, cubes = xp.zeros((d, d)), xp.zeros((d, d))
        if whole.rows:
            deviations = np.sqrt(np.diag(whole.products) / whole.rows)
            mean, unit = xp.asarray(whole.mean), xp.asarray(np.where(deviations > 0, deviations, 1.0))
            for slab in both.slabs(x):
                u = (slab - mean) / unit
                squared = u * u
                squares += squared.T @ squared
                cubes += (squared * u).T @ u
        return cls(parts, whole, host(squares) / max(whole.rows, 1), host(cubes) / max(whole.rows, 1))

    def without_each(self) -> Iterator[Scatter]:
        """Of all rows but a group's, for each group that has rows."""
        before = accumulate(self.parts, Scatter.merge, initial=NOTHING)
        after = list(accumulate(reversed(self.parts), Scatter.merge, initial=NOTHING))[-2::-1]
        for part, left, right in zip(self.parts, before, after, strict=False):
            if part.rows:
                yield left.merge(right)


def _variance_of_z(side: _Side, r: Array) -> Array:
    """[d, d]. A row with standardised values u, v weighs in on a correlation r with uv - r (u² + v²) / 2; the variance of that,
    over (1 - r²)² for Fisher's z.
    """
    n = side.whole.rows
    fourth = np.diag(side.squares)
    weight = side.squares - r * (side.cubes + side.cubes.T) + r * r / 4 * (fourth[:, None] + fourth + 2 * side.squares)
    spread = np.maximum(1 - r * r, 1e-12)
    return np.maximum(weight / spread**2, n / max(n - 3, 1)) / n  # type: ignore[no-any-return]


def _z(r: Array) -> Array:
    return np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))  # type: ignore[no-any-return]


def _pairs(matrix: Array) -> Array:
    return matrix[np.triu_indices(len(matrix), 1)]
