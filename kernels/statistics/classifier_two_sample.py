"""Classifier two-sample test: can a classifier tell the two tables' rows apart?"""

from __future__ import annotations

import math

import numpy as np

from kernels.arrays import Array, host, namespace
from kernels.measured import Measured
from kernels.table_rows import sampled

ROWS = 5_000  # of a side that are looked at, unless told otherwise
FOLDS = 2


def classifier_two_sample(scores_x: Array, scores_y: Array) -> float:
    """The area under the ROC curve: the chance that a row of y has a higher score than a row of x, ties counting half.

    0.5 where the scores say nothing, 1 where every row of y is above all of x. The scores [n] and [m] are those of a classifier
    that did not see these rows.

    Source: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", 2017.

    >>> classifier_two_sample(np.array([0.1, 0.4]), np.array([0.4, 0.9]))
    0.875
    """
    return float(_placements(scores_x, scores_y).mean())


def measure(x: Array, y: Array, *, rows: int | None = ROWS, seed: int = 0, confidence: float = 0.95) -> Measured:
    """The area under the ROC curve of gradient-boosted trees, its p-value, and how far it is above one half. Shape [].

    scikit-learn's HistGradientBoostingClassifier on the host, which takes columns of any unit and missing values as they are, so
    that a change in what is missing is seen; infinities count as the largest floats. A side with more than `rows` rows is
    represented by that many, drawn by the seed. Each half of both sides is scored by trees grown on the other halves.

    value    the mean of the two areas
    p_value  Mann and Whitney's, normal with ties, one-sided: below one half is no evidence. The two areas count as one
    effect   value - 0.5, at most 0.5: how well these trees, grown on that many rows, tell the populations apart. More rows make
             better trees: compare windows of about the same size, or set `rows` below the smallest
    interval DeLong's, normal, the two areas counting as one; it holds for the trees as they were grown, and from some thirty
             rows a side on

    NaN where a side has fewer than four rows.

    Source: DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating characteristic
    curves", 1988.

    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.standard_normal((400, 2)), rng.standard_normal((400, 2))
    >>> found = measure(x, np.column_stack([y[:, 0], y[:, 0]]))
    >>> bool(found.p_value < 1e-9), bool(found.effect > 0.3)
    (True, True)
    """
    from scipy.special import ndtr, ndtri
    from sklearn.ensemble import HistGradientBoostingClassifier

    xp = namespace(x)
    rng = np.random.default_rng(seed)
    both = [np.nan_to_num(host(sampled(side, rows, rng)), nan=np.nan) for side in (x, y)]
    looked_at = len(both[0]), len(both[1])
    if min(looked_at) < 2 * FOLDS or x.shape[1] == 0:
        return Measured(*(xp.asarray(math.nan),) * 5, rows=looked_at)
    folds = [rng.permutation(len(side)) % FOLDS for side in both]
    areas, by_chance, deviations = [], [], []
    for fold in range(FOLDS):
        grown_on = [side[of != fold] for side, of in zip(both, folds, strict=True)]
        labels = np.repeat([0, 1], [len(side) for side in grown_on])
        trees = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=seed)
        trees.fit(np.concatenate(grown_on), labels)
        scores = [trees.decision_function(side[of == fold]) for side, of in zip(both, folds, strict=True)]
        areas.append(classifier_two_sample(*scores))
        by_chance.append(math.sqrt(_variance_by_chance(*scores)))
        deviations.append(math.sqrt(_variance(*scores)))

    # Trees grown on one half and scored on the other are as right as the other way round, near enough: by chance alone, both
    # halves' areas rise and fall together, so that their mean deviates as much as either does.
    value, spread = float(np.mean(areas)), float(np.mean(by_chance))
    p_value = float(ndtr((0.5 - value) / spread)) if spread > 0 else 1.0
    reach = float(ndtri((1 + confidence) / 2)) * float(np.mean(deviations))
    effect = value - 0.5
    low, high = max(effect - reach, -0.5), min(effect + reach, 0.5)
    return Measured(*(xp.asarray(figure) for figure in (value, p_value, effect, low, high)), rows=looked_at)


def _placements(x: Array, y: Array) -> Array:
    """[m] the share of x below each of y, ties counting half."""
    ordered = np.sort(x)
    return (np.searchsorted(ordered, y) + np.searchsorted(ordered, y, side="right")) / (2 * len(x))


def _variance(x: Array, y: Array) -> float:
    """Of the area: DeLong's."""
    of_y, of_x = _placements(x, y), _placements(y, x)
    return float(of_y.var(ddof=1)) / len(y) + float(of_x.var(ddof=1)) / len(x)


def _variance_by_chance(x: Array, y: Array) -> float:
    """Of the area if the scores say nothing, given their ties: Mann and Whitney's."""
    n, m = len(x), len(y)
    _, ties = np.unique(np.concatenate([x, y]), return_counts=True)
    ties = ties.astype(np.float64)
    return (n + m + 1 - float((ties**3 - ties).sum()) / ((n + m) * (n + m - 1))) / (12 * n * m)
