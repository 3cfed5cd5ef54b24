"""What a model is measured by, and how a metric is made from sums over rows.

Every metric is a function of sums (of losses, of hits, of counts per class or per bin of probability), so the same few lines give
it for all rows, for every slice of them in one pass, and for every resample of a bootstrap.

| task | metrics, the first one judges unless the gate names another |
|---|---|
| regression | rmse, mae, r2 |
| binary | log_loss, accuracy, precision, recall, f1 (of the positive class, at a probability of one half), auroc, ece |
| multiclass | the same: precision, recall, f1 and auroc (each class against the others) as means over the classes |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.nouns import Gap, Score, SliceScore, Task

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

SURE = float(np.finfo(np.float32).eps)  # answers are FP32: a probability nearer to 0 or 1 than this is not one that they can tell
BINS = 15  # of the calibration error, of equal width
RANKS = 256  # different probabilities that an AUROC tells apart when it is resampled; measured, it is exact


@dataclass(frozen=True)
class Blocks:
    """Which block each row belongs to: a stretch of neighbours that is resampled whole, or a slice that is measured by itself."""

    of_row: I64
    count: int

    def sum(self, *values: F64) -> F64:
        """The blocks' sums of each of s `values` [n], and last how many rows they have, [blocks, s + 1]."""
        sums = [np.bincount(self.of_row, weights=each, minlength=self.count) for each in (*values, None)]
        return np.stack(sums, axis=1).astype(np.float64)

    def tally(self, places: I64, width: int, weights: F64 | None = None) -> F64:
        """How often each of `width` places occurs (or the sum of its `weights`) in each block, [blocks, width]."""
        flat = np.bincount(self.of_row * width + places, weights=weights, minlength=self.count * width)
        return flat.reshape(self.count, width).astype(np.float64)


Sums = Callable[[F64, F64, Blocks], F64]


@dataclass(frozen=True)
class Metric:
    """How a metric is made from sums. `sums` gives [blocks, s] from truth and answer, `of` the metric from totals [..., s].

    `relative`: a gain is a share of the champion's value (0.03 is a loss 3% smaller). Metrics that live between fixed ends gain
    in points instead (0.03 is an accuracy of .93 after .90), because a share of them would mean little near the ends. `apart`
    is the metric of every block by itself, for several ways to cut the rows into blocks, where sums that can be added would be
    large or inexact.
    """

    sums: Sums
    of: Callable[[F64], F64]
    higher: bool = False
    relative: bool = False
    apart: Callable[[F64, F64, Sequence[Blocks]], list[F64]] | None = None

    def gain(self, challenger: F64, champion: F64) -> F64:
        """How much better the challenger's value is; below zero it is worse. NaN where there is nothing to compare."""
        with np.errstate(invalid="ignore"):
            if self.relative:
                return np.asarray(champion / np.maximum(challenger, np.finfo(float).tiny) - 1)
            return np.asarray(challenger - champion if self.higher else champion - challenger)

    def worse(self, value: float, tolerance: float) -> float:
        """The value that is worse than `value` by `tolerance`: a share of a loss, points of anything else."""
        if self.relative:
            return value * (1 + tolerance)
        return value - tolerance if self.higher else value + tolerance


def _mean_of(loss: Callable[[F64, F64], F64]) -> Sums:
    return lambda truth, answer, blocks: blocks.sum(loss(truth, answer))


def _mean(totals: F64) -> F64:
    mean: F64 = totals[..., 0] / totals[..., 1]
    return mean


def _spread(truth: F64, answer: F64, blocks: Blocks) -> F64:
    return _squares(truth - truth.mean(), truth, answer, blocks)


def _squares(around: F64, truth: F64, answer: F64, blocks: Blocks) -> F64:
    return blocks.sum((truth - answer) ** 2, around, around**2)


def _r2_apart(truth: F64, answer: F64, cuts: Sequence[Blocks]) -> list[F64]:
    """Around each block's own mean; from its first value first, so that a constant one has exactly no spread."""
    found = []
    for blocks in cuts:
        first = np.zeros(blocks.count)
        first[blocks.of_row[::-1]] = truth[::-1]
        around = truth - first[blocks.of_row]
        totals = blocks.sum(around)
        around -= _share(totals[:, 0], totals[:, 1])[blocks.of_row]
        found.append(_r2(_squares(around, truth, answer, blocks)))
    return found


def _r2(totals: F64) -> F64:
    squares = totals[..., 2] - totals[..., 1] ** 2 / totals[..., 3]
    return 1 - _share(totals[..., 0], squares, np.nan)


def _share(part: F64, whole: F64, empty: float = 0.0) -> F64:
    """`part` of `whole`, or `empty` where there is no whole."""
    share: F64 = np.divide(part, whole, out=np.full(np.shape(part), empty), where=whole > 0)
    return share


def _classes(answer: F64) -> F64:
    """Probabilities [n, k] from an answer [n, k], or [n] for the positive one of two classes."""
    return np.stack([1 - answer, answer], axis=1) if answer.ndim == 1 else answer


def _said(answer: F64) -> I64:
    return (answer > 0.5).astype(np.int64) if answer.ndim == 1 else answer.argmax(axis=1)


def _log_loss(truth: F64, answer: F64) -> F64:
    chances = _classes(answer)[np.arange(truth.size), truth.astype(np.int64)]
    return -np.log(np.clip(chances, SURE, 1 - SURE))


def _confusion(truth: F64, answer: F64, blocks: Blocks) -> F64:
    """Hits, answers and truths of each class, [blocks, 3 × classes]; of two classes the positive one's."""
    said, true = _said(answer), truth.astype(np.int64)
    width = 2 if answer.ndim == 1 else answer.shape[1]
    hits = blocks.tally(true, width, (said == true).astype(np.float64))
    found = np.stack([hits, blocks.tally(said, width), blocks.tally(true, width)], axis=1)
    return found[:, :, 1:].reshape(blocks.count, -1) if answer.ndim == 1 else found.reshape(blocks.count, -1)


def _of_classes(part: Callable[[F64, F64, F64], F64]) -> Callable[[F64], F64]:
    """The mean over the classes that occur, as an answer or in truth."""

    def of(totals: F64) -> F64:
        hits, said, true = np.moveaxis(totals.reshape(*totals.shape[:-1], 3, -1), -2, 0)
        return _share(part(hits, said, true).sum(axis=-1), (said + true > 0).sum(axis=-1).astype(np.float64))

    return of


def _ranks(truth: F64, answer: F64, blocks: Blocks) -> F64:
    """How many rows of the class and of the others have each rank of probability, [blocks, classes × 2 × ranks]."""
    found = []
    width = min(RANKS, truth.size)
    for chance, positive in _against_the_others(truth, answer):
        _, rank = np.unique(chance, return_inverse=True)
        if rank.max() >= width:
            rank = rank * width // (rank.max() + 1)
        found += [blocks.tally(rank, width, mask.astype(np.float64)) for mask in (positive, ~positive)]
    return np.concatenate(found, axis=1)


def _against_the_others(truth: F64, answer: F64) -> Iterator[tuple[F64, npt.NDArray[np.bool_]]]:
    """Probability and truth of each class; of two classes the positive one's."""
    if answer.ndim == 1:
        yield answer, truth == 1
    else:
        yield from ((chance, truth == number) for number, chance in enumerate(answer.T))


def _auroc_apart(truth: F64, answer: F64, cuts: Sequence[Blocks]) -> list[F64]:
    """The pairs in the right order counted exactly, a tie for one half (Mann and Whitney 1947); rows are sorted once for all."""
    pairs: list[list[tuple[F64, F64]]] = [[] for _ in cuts]
    for chance, positive in _against_the_others(truth, answer):
        order = np.argsort(chance)
        for blocks, found in zip(cuts, pairs, strict=True):
            found.append(_pairs(chance, positive, order, blocks))
    return [_mean_share(*np.moveaxis(np.array(found), 0, -1)) for found in pairs]


def _pairs(chance: F64, positive: npt.NDArray[np.bool_], order: I64, blocks: Blocks) -> tuple[F64, F64]:
    """Pairs of a positive and a negative row of each block: those in the right order, and all, each [blocks]."""
    block = blocks.of_row[order]
    inner = np.argsort(block.astype(np.uint16), kind="stable")  # a radix sort, so blocks are few
    order, block = order[inner], block[inner]
    sorted_chance = chance[order]
    fresh = np.append(True, (sorted_chance[1:] != sorted_chance[:-1]) | (block[1:] != block[:-1]))
    tie = np.cumsum(fresh) - 1
    hits = np.bincount(tie, weights=positive[order])
    others = np.bincount(tie) - hits
    of_tie = block[fresh]
    positives, negatives = (np.bincount(of_tie, weights=w, minlength=blocks.count) for w in (hits, others))
    below = np.cumsum(others) - others - (np.cumsum(negatives) - negatives)[of_tie]
    right = np.bincount(of_tie, weights=hits * (below + others / 2), minlength=blocks.count)
    return right.astype(np.float64), (positives * negatives).astype(np.float64)


def _mean_share(right: F64, pairs: F64) -> F64:
    """The mean AUROC over the classes, [..., classes], for which there are pairs."""
    return _share(_share(right, pairs).sum(axis=-1), (pairs > 0).sum(axis=-1).astype(np.float64), np.nan)


def _auroc(classes: int) -> Callable[[F64], F64]:
    def of(totals: F64) -> F64:
        positive, negative = np.moveaxis(totals.reshape(*totals.shape[:-1], classes, 2, -1), -2, 0)
        below = np.cumsum(negative, axis=-1) - negative / 2
        return _mean_share((positive * below).sum(axis=-1), positive.sum(axis=-1) * negative.sum(axis=-1))

    return of


def _calibration(truth: F64, answer: F64, blocks: Blocks) -> F64:
    """Probability and hits in each bin of probability, and the rows, [blocks, 2 × bins + 1]."""
    chance = answer if answer.ndim == 1 else answer.max(axis=1)
    hit = truth if answer.ndim == 1 else (_said(answer) == truth).astype(np.float64)
    bins = np.clip(np.ceil(chance * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return np.concatenate([blocks.tally(bins, BINS, chance), blocks.tally(bins, BINS, hit), blocks.sum()], axis=1)


def _ece(totals: F64) -> F64:
    gaps = np.abs(totals[..., :BINS] - totals[..., BINS:-1]).sum(axis=-1)
    return np.asarray(gaps / totals[..., -1])


def _classification(classes: int) -> dict[str, Metric]:
    return {
        "log_loss": Metric(_mean_of(_log_loss), _mean, relative=True),
        "accuracy": Metric(_mean_of(lambda truth, answer: (_said(answer) == truth).astype(np.float64)), _mean, higher=True),
        "precision": Metric(_confusion, _of_classes(lambda hits, said, true: _share(hits, said)), higher=True),
        "recall": Metric(_confusion, _of_classes(lambda hits, said, true: _share(hits, true)), higher=True),
        "f1": Metric(_confusion, _of_classes(lambda hits, said, true: _share(2 * hits, said + true)), higher=True),
        "auroc": Metric(_ranks, _auroc(classes), higher=True, apart=_auroc_apart),
        "ece": Metric(_calibration, _ece),
    }


REGRESSION = {
    "rmse": Metric(_mean_of(lambda truth, answer: (truth - answer) ** 2), lambda t: np.sqrt(_mean(t)), relative=True),
    "mae": Metric(_mean_of(lambda truth, answer: np.abs(truth - answer)), _mean, relative=True),
    "r2": Metric(_spread, _r2, higher=True, apart=_r2_apart),
}
BINARY = _classification(classes=1)
NAMES: dict[Task, tuple[str, ...]] = {"regression": tuple(REGRESSION), "binary": tuple(BINARY), "multiclass": tuple(BINARY)}
"""Per task its metrics; the first one is what `metric: auto` means."""


def named(name: str) -> Metric:
    """The direction and the kind of gain of a metric."""
    return (REGRESSION | BINARY)[name]


def chosen(name: str, task: Task) -> str:
    """The metric that a configuration means: `auto` is rmse for a regression and log_loss for a classification."""
    return NAMES[task][0] if name == "auto" else name


def of_task(task: Task, answer: F64) -> dict[str, Metric]:
    """The metrics of a task for answers of this shape."""
    if task == "regression":
        return REGRESSION
    return BINARY if answer.ndim == 1 else _classification(answer.shape[1])


FAIRNESS = {
    "selection_rate": Metric(_mean_of(lambda truth, answer: _said(answer).astype(np.float64)), _mean, higher=True),
    "true_positive_rate": Metric(_confusion, lambda totals: _share(totals[..., 0], totals[..., 2], np.nan), higher=True),
}
"""What the slices of a binary task are measured by as well: P(answered positive), and the same among those that are positive."""

DIFFERENCES = {"selection_rate": "demographic_parity_difference", "true_positive_rate": "equal_opportunity_difference"}
"""What the gap between groups in these is called in the literature on fairness, and in fairlearn and AIF360."""


def measure(task: Task, found: Mapping[str, Metric], truth: F64, answer: F64, cuts: Sequence[Blocks]) -> list[dict[str, F64]]:
    """Every metric of every block by itself, [blocks], for several ways to cut the rows; what metrics share is summed once.

    The metrics of a classification are NaN for a block with an answer that is not finite.
    """
    finite = np.isfinite(answer) if answer.ndim == 1 else np.isfinite(answer).all(axis=1)
    broken = task != "regression" and not finite.all()
    if broken:
        answer = np.where(np.isfinite(answer), answer, 0.5)
    apart = {name: metric.apart(truth, answer, cuts) for name, metric in found.items() if metric.apart}
    measured = []
    for number, blocks in enumerate(cuts):
        sums: dict[Sums, F64] = {}
        values: dict[str, F64] = {}
        for name, metric in found.items():
            if name in apart:
                values[name] = apart[name][number]
                continue
            if metric.sums not in sums:
                sums[metric.sums] = metric.sums(truth, answer, blocks)
            values[name] = metric.of(sums[metric.sums])
        if broken:
            lost = np.bincount(blocks.of_row[~finite], minlength=blocks.count) > 0
            values = {name: np.where(lost, np.nan, value) for name, value in values.items()}
        measured.append(values)
    return measured


def worst(score: Score, name: str) -> SliceScore | None:
    """The slice, of those with rows enough, on which a metric is worst; None without one."""
    found = [s for s in score.slices if s.enough and not math.isnan(s.metrics[name])]
    sign = 1 if named(name).higher else -1
    return min(found, key=lambda s: sign * s.metrics[name], default=None)


def gaps(score: Score, other: Score | None = None) -> tuple[Gap, ...]:
    """How far apart the slices of each column are: the largest minus the smallest value of a metric over those with rows enough.

    Of a binary task also, over the groups g of a column:

    demographic parity difference = max P(answered positive | g) − min P(answered positive | g)
    equal opportunity difference  = max P(answered positive | positive, g) − min P(answered positive | positive, g)

    as fairlearn defines them (`method="between_groups"`). `other` is a second model on the same rows.
    """
    columns = dict.fromkeys(s.column for s in score.slices)
    names = dict.fromkeys(name for s in score.slices for name in s.metrics)
    found = []
    for column in columns:
        for name in names:
            mine, theirs = (_ordered(each, column, name) for each in (score, other))
            if len(mine) > 1:
                (lowest, low), (highest, high) = mine[0], mine[-1]
                apart = theirs[-1][1] - theirs[0][1] if len(theirs) > 1 else None
                found.append(Gap(column, DIFFERENCES.get(name, name), high - low, apart, lowest, highest))
    return tuple(found)


def _ordered(score: Score | None, column: str, name: str) -> list[tuple[str, float]]:
    values = [(s.value, s.metrics[name]) for s in (score.slices if score else ()) if s.column == column and s.enough]
    return sorted((pair for pair in values if not math.isnan(pair[1])), key=lambda pair: pair[1])
