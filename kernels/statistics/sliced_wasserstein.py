"""Sliced Wasserstein distance: how far rows have to move, seen from many directions."""

from __future__ import annotations

import math

import numpy as np

from kernels.arrays import Array, host, namespace
from kernels.measured import Measured
from kernels.table_rows import comparable, sampled

ROWS = 10_000  # of a side that are compared, unless told otherwise
DIRECTIONS = 50
PERMUTATIONS = 100
CELLS = 1 << 22  # of a table of labels that is worked on at once


def directions(columns: int, number: int, seed: int) -> Array:
    """[columns, number] directions, uniform over the sphere; the same ones for the same seed.

    >>> np.linalg.norm(directions(3, 2, seed=0), axis=0).round(12).tolist()
    [1.0, 1.0]
    """
    drawn = np.random.default_rng(seed).standard_normal((columns, number))
    return drawn / np.maximum(np.linalg.norm(drawn, axis=0), 1e-300)  # type: ignore[no-any-return]


def sliced_wasserstein(x: Array, y: Array, towards: Array) -> float:
    """The mean, over the directions [d, k], of the Wasserstein-1 distance between the projections of rows x [n, d] and y [m, d].

    In the rows' own unit, which all columns have to share; the rows are taken as they are and must be finite.

    Source: Rabin et al., "Wasserstein barycenter and its application to texture mixing", 2011; Bonneel et al., "Sliced and Radon
    Wasserstein barycenters of measures", 2015.

    >>> x = np.random.default_rng(0).standard_normal((100, 2))
    >>> round(sliced_wasserstein(x, x + [3, 4], np.array([[1.0, 0.6], [0.0, 0.8]])), 9)
    4.0
    """
    labels = np.repeat([True, False], [len(x), len(y)])[:, None]
    return float(_distances(x, y, towards, namespace(x).asarray(labels), namespace(x).ones(towards.shape[1]))[0][0])


def measure(
    x: Array,
    y: Array,
    *,
    rows: int | None = ROWS,
    permutations: int = PERMUTATIONS,
    scaled: bool = True,
    seed: int = 0,
    confidence: float = 0.95,
) -> Measured:
    """The distance in deviations of the reference's projections, its p-value, and the distance freed of chance. Shape [].

    Rows are made comparable by `kernels.table_rows`; a side with more than `rows` rows is represented by that many, drawn by the
    seed, or by all if it is None. The directions are the seed's: the population quantity is the mean distance along these.

    p_value  among exchanges of the labels, each costing one running sum along the sorted projections: exact, never below
             1 / (permutations + 1)
    effect   √(value² - chance²), floored at 0: chance is the mean distance that exchanged labels show. It estimates the
             population's distance: a shift of all rows by δ deviations along one of d columns is about 0.8 δ / √d
    interval normal, of the square: the variance of the distance is the delta method's, from each row's mean influence on it, and
             that of exchanged labels added. Wide near no change, where the estimate is not normal.

    NaN where a side has fewer than two rows with a value.

    >>> rng = np.random.default_rng(0)
    >>> moved = measure(rng.standard_normal((500, 2)), rng.standard_normal((500, 2)) + [0.5, 0])
    >>> float(moved.p_value.round(2)), float(moved.effect.round(2)), bool(moved.low < 0.32 < moved.high)
    (0.01, 0.36, True)
    """
    from scipy.special import ndtri

    rng = np.random.default_rng(seed)
    xp = namespace(x)
    x, y = comparable(sampled(x, rows, rng), sampled(y, rows, rng), scaled)
    n, m = len(x), len(y)
    if min(n, m) < 2:
        return Measured(*(xp.asarray(math.nan),) * 5, rows=(n, m))
    labels = np.empty((n + m, permutations + 1), bool)
    labels[:n, 0], labels[n:, 0] = True, False
    for p in range(1, permutations + 1):
        labels[:, p] = rng.permutation(labels[:, 0])
    towards = xp.asarray(directions(x.shape[1], DIRECTIONS, seed), dtype=xp.float32)
    deviations = (x @ towards).astype(xp.float64).std(axis=0)
    units = xp.where(deviations > 0, deviations, 1.0)
    found, influence = _distances(x, y, towards, xp.asarray(labels), units)

    distances = host(found)
    value, exchanged = float(distances[0]), distances[1:]
    p_value = (1 + int(np.count_nonzero(exchanged >= value * (1 - 1e-9)))) / (1 + permutations)
    chance = float(exchanged.mean()) if permutations else 0.0
    variance = float(influence[:n].var()) / n + float(influence[n:].var()) / m + (float(exchanged.var()) if permutations else 0.0)
    squared = value**2 - chance**2
    reach = float(ndtri((1 + confidence) / 2)) * 2 * value * math.sqrt(variance)
    effect = (math.sqrt(max(bound, 0.0)) for bound in (squared, squared - reach, squared + reach))
    return Measured(*(xp.asarray(figure) for figure in (value, p_value, *effect)), rows=(n, m))


def _distances(x: Array, y: Array, towards: Array, labels: Array, units: Array) -> tuple[Array, Array]:
    """[P] mean distances between the rows with a label and those without, for labels [n + m, P] of n rows each; and [n + m] mean
    influence of a row on the first.

    A projection is sorted once. The two distribution functions then differ, between one value and the next, by a running count.
    """
    xp = namespace(x)
    n, m = len(x), len(y)
    found, influence = xp.zeros(labels.shape[1]), xp.zeros(n + m)
    seen = xp.arange(1, n + m, dtype=xp.float64)[:, None] * n
    group = max(CELLS // (n + m), 1)
    number = towards.shape[1]
    for k in range(number):
        projected = xp.concatenate([x @ towards[:, k], y @ towards[:, k]]).astype(xp.float64) / units[k]
        order = xp.argsort(projected)
        widths = xp.diff(projected[order])
        for first in range(0, labels.shape[1], group):
            counts = xp.cumsum(labels[order[:-1], first : first + group], axis=0, dtype=xp.float64)
            counts *= n + m
            counts -= seen  # (F_x - F_y) n m, in whole numbers
            found[first : first + group] += widths @ xp.abs(counts) / (float(n) * m * number)
            if first == 0:
                # The distance is the integral of s (F_x - F_y), s its sign: a row weighs in with the integral of s above it.
                above = xp.zeros(n + m)
                above[:-1] = xp.cumsum((widths * xp.sign(counts[:, 0]))[::-1])[::-1]
                influence[order] += above / number
    return found, influence
