"""Reconstruction error: how badly the reference's own main directions describe the rows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from kernels.arrays import Array, host, namespace
from kernels.measured import Measured
from kernels.statistics.scatter import Scatter
from kernels.table_rows import frame, sampled

ROWS = 100_000  # of a side that are looked at, unless told otherwise
SHARE = 0.8  # of the variance that the kept components hold


def pca_reconstruction(rows: Array, mean: Array, rest: Array) -> Array:
    """[n] distances of rows [n, d] from the plane that the kept components span, given the other components `rest` [d, r].

    That is what is lost of a row when it is described by the kept components: |(row - mean) @ rest|.

    >>> pca_reconstruction(np.array([[1.0, 5.0], [2.0, 7.0]]), np.zeros(2), np.array([[1.0], [0.0]])).tolist()
    [1.0, 2.0]
    """
    left = (rows - mean) @ rest
    return namespace(rows).sqrt((left * left).sum(axis=1))  # type: ignore[no-any-return]


def measure(
    x: Array, y: Array, *, rows: int | None = ROWS, share: float = SHARE, seed: int = 0, confidence: float = 0.95
) -> Measured:
    """The current rows' mean error, Welch's test against the reference's, and how many deviations it rose. Shape [].

    Half of the reference, drawn by the seed, gives the components, as many as hold that share of the variance; the other half
    gives the errors to compare with, since no row is described as well by components that did not see it. Rows are made
    comparable by `kernels.table_rows`; a side with more than `rows` is represented by that many. Sees broken relations between
    columns and spread across them; blind to what happens along the kept components. With one column, the error is the distance
    from the mean.

    value    mean error of y, in the columns' standard deviations
    p_value  Welch's t on the errors, two-sided: for a few dozen rows a side or more
    effect   (mean error of y - of the reference) / deviation of the reference's errors: Glass's Δ, positive where y is described
             worse. Given the components, it estimates the same of the populations
    interval normal, by the delta method with the errors' own fourth moments

    NaN where the reference has fewer than four rows with a value or y fewer than two. Where the reference's errors are all the
    same, as of columns without variance, the effect is 0 for the same error and infinite for another.

    Source: the reconstruction error of principal components, Jackson and Mudholkar, "Control procedures for residuals associated
    with principal component analysis", 1979.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((2000, 1)) + 0.3 * rng.standard_normal((2000, 3))
    >>> broken = rng.standard_normal((1000, 3))
    >>> found = measure(x, broken)
    >>> bool(found.p_value < 1e-9), bool(1 < found.low < found.effect < found.high)
    (True, True)
    """
    from scipy.special import ndtri, stdtr

    xp: Any = namespace(x)
    rng = np.random.default_rng(seed)
    x, y = sampled(x, rows, rng), sampled(y, rows, rng)
    both = frame(x, y)
    first = np.zeros(len(x), bool)
    first[rng.permutation(len(x))[: len(x) // 2]] = True
    half, held_out = x[xp.asarray(first)], x[xp.asarray(~first)]
    learnt = Scatter.of(both.slabs(half))
    if learnt.rows < 2:
        return Measured(*(xp.asarray(math.nan),) * 5)
    mean, rest = xp.asarray(learnt.mean), xp.asarray(_left_over(learnt, share))
    before, after = (_errors(both.slabs(side), mean, rest) for side in (held_out, y))
    n, m = len(before), len(after)
    looked_at = learnt.rows + n, m
    if min(n, m) < 2:
        return Measured(*(xp.asarray(math.nan),) * 5, rows=looked_at)

    value, difference = float(after.mean()), float(after.mean() - before.mean())
    own, other = float(before.var(ddof=1)), float(after.var(ddof=1))
    if own <= (1e-9 * max(value, 1.0)) ** 2:  # nothing but rounding
        changed = abs(difference) > 1e-9 * max(value, 1.0)
        figures = (math.copysign(math.inf, difference), 0.0) if changed else (0.0, 1.0)
        return Measured(*(xp.asarray(figure) for figure in (value, figures[1], *(figures[0],) * 3)), rows=looked_at)
    of_x, of_y = own / n, other / m
    freedom = (of_x + of_y) ** 2 / (of_x**2 / (n - 1) + of_y**2 / (m - 1))
    p_value = 2 * float(stdtr(freedom, -abs(difference) / math.sqrt(of_x + of_y)))

    effect = difference / math.sqrt(own)
    # Of Δ = (ȳ - x̄) / s: a row of the reference, z deviations from its mean, weighs in with -z - Δ (z² - 1) / 2.
    z = (before - before.mean()) / math.sqrt(own)
    variance = float((z + effect * (z**2 - 1) / 2).var()) / n + of_y / own
    reach = float(ndtri((1 + confidence) / 2)) * math.sqrt(variance)
    found = value, p_value, effect, effect - reach, effect + reach
    return Measured(*(xp.asarray(figure) for figure in found), rows=looked_at)


def _left_over(learnt: Scatter, share: float) -> Array:
    """[d, r] the components of least variance: those not needed for that share of it; at least one, and all if there is none."""
    variances, axes = np.linalg.eigh(learnt.products)  # ascending
    needed = np.cumsum(variances[::-1]) < share * variances.sum()
    kept = min(int(needed.sum()) + 1, len(variances) - 1) if variances[-1] > 0 else 0
    return axes[:, : len(variances) - kept]


def _errors(slabs: Iterable[Array], mean: Array, rest: Array) -> Array:
    parts = [host(pca_reconstruction(slab, mean, rest)) for slab in slabs]
    return np.concatenate([np.zeros(0), *parts])
