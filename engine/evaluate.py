"""Champion and challenger on the same rows: the Scorecard, with a confidence bound for the difference.

Every metric is a function of sums over rows (of losses, of hits, of counts per class or per bin of probability), so one paired
bootstrap over blocks of neighbouring rows serves them all: a resample is a weighted sum of the blocks' sums.

| task | metrics, the first one judges unless the gate names another |
|---|---|
| regression | rmse, mae, r2 |
| binary | log_loss, accuracy, precision, recall, f1 (of the positive class, at a probability of one half), auroc, ece |
| multiclass | the same: precision, recall, f1 and auroc (each class against the others) as means over the classes |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.nouns import Score, Scorecard, Task

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

BLOCKS = 200  # resampled units: neighbours in time share weather and outages, so whole stretches are drawn, not single rows
SURE = float(np.finfo(np.float32).eps)  # answers are FP32: a probability nearer to 0 or 1 than this is not one that they can tell
BINS = 15  # of the calibration error, of equal width
RANKS = 256  # different probabilities that an AUROC tells apart when it is resampled
ALL_RANKS = 1 << 16  # and when it is measured: exact up to as many
ROWS_AT_ONCE = 1 << 15  # in one run of a graph: what lies between its layers takes a thousand times the memory of its inputs


@dataclass(frozen=True)
class Blocks:
    """Which block of neighbouring rows each row belongs to."""

    of_row: I64
    count: int

    def sum(self, values: F64) -> F64:
        """The blocks' sums of `values`, [n] or [n, s], as [blocks, s]."""
        columns = values[:, None] if values.ndim == 1 else values
        return np.stack([np.bincount(self.of_row, weights=c, minlength=self.count) for c in columns.T], axis=1)

    def tally(self, places: I64, width: int, weights: F64 | None = None) -> F64:
        """How often each of `width` places occurs (or the sum of its `weights`) in each block, [blocks, width]."""
        flat = np.bincount(self.of_row * width + places, weights=weights, minlength=self.count * width)
        return flat.reshape(self.count, width).astype(np.float64)


@dataclass(frozen=True)
class Metric:
    """How a metric is made from sums. `sums` gives [blocks, s] from truth and answer, `of` the metric from totals [..., s].

    `relative`: a gain is a share of the champion's value (0.03 is a loss 3% smaller). Metrics that live between fixed ends gain
    in points instead (0.03 is an accuracy of .93 after .90), because a share of them would mean little near the ends.
    """

    sums: Callable[[F64, F64, Blocks], F64]
    of: Callable[[F64], F64]
    higher: bool = False
    relative: bool = False

    def gain(self, challenger: F64, champion: F64) -> F64:
        """How much better the challenger's value is; below zero it is worse."""
        if self.relative:
            return np.asarray(champion / np.maximum(challenger, np.finfo(float).tiny) - 1)
        return np.asarray(challenger - champion if self.higher else champion - challenger)

    def worse(self, value: float, tolerance: float) -> float:
        """The value that is worse than `value` by `tolerance`: a share of a loss, points of anything else."""
        if self.relative:
            return value * (1 + tolerance)
        return value - tolerance if self.higher else value + tolerance


def _mean_of(loss: Callable[[F64, F64], F64]) -> Callable[[F64, F64, Blocks], F64]:
    return lambda truth, answer, blocks: blocks.sum(np.stack([loss(truth, answer), np.ones(truth.size)], axis=1))


def _mean(totals: F64) -> F64:
    mean: F64 = totals[..., 0] / totals[..., 1]
    return mean


def _spread(truth: F64, answer: F64, blocks: Blocks) -> F64:
    around = truth - truth.mean()
    return blocks.sum(np.stack([(truth - answer) ** 2, around, around**2, np.ones(truth.size)], axis=1))


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
    width = RANKS if blocks.count > 1 else min(ALL_RANKS, truth.size)
    chances = answer[:, None] if answer.ndim == 1 else answer
    for number, chance in enumerate(chances.T):
        _, rank = np.unique(chance, return_inverse=True)
        if rank.max() >= width:
            rank = rank * width // (rank.max() + 1)
        positive = truth == (1 if answer.ndim == 1 else number)
        found += [blocks.tally(rank, width, mask.astype(np.float64)) for mask in (positive, ~positive)]
    return np.concatenate(found, axis=1)


def _auroc(classes: int) -> Callable[[F64], F64]:
    def of(totals: F64) -> F64:
        positive, negative = np.moveaxis(totals.reshape(*totals.shape[:-1], classes, 2, -1), -2, 0)
        below = np.cumsum(negative, axis=-1) - negative / 2
        pairs = positive.sum(axis=-1) * negative.sum(axis=-1)
        each = _share((positive * below).sum(axis=-1), pairs)
        return _share(each.sum(axis=-1), (pairs > 0).sum(axis=-1).astype(np.float64), np.nan)

    return of


def _calibration(truth: F64, answer: F64, blocks: Blocks) -> F64:
    """Probability and hits in each bin of probability, and the rows, [blocks, 2 × bins + 1]."""
    chance = answer if answer.ndim == 1 else answer.max(axis=1)
    hit = truth if answer.ndim == 1 else (_said(answer) == truth).astype(np.float64)
    bins = np.clip(np.ceil(chance * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return np.concatenate(
        [blocks.tally(bins, BINS, chance), blocks.tally(bins, BINS, hit), blocks.sum(np.ones(truth.size))], axis=1
    )


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
        "auroc": Metric(_ranks, _auroc(classes), higher=True),
        "ece": Metric(_calibration, _ece),
    }


REGRESSION = {
    "rmse": Metric(_mean_of(lambda truth, answer: (truth - answer) ** 2), lambda t: np.sqrt(_mean(t)), relative=True),
    "mae": Metric(_mean_of(lambda truth, answer: np.abs(truth - answer)), _mean, relative=True),
    "r2": Metric(_spread, _r2, higher=True),
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


def _metrics(task: Task, answer: F64) -> dict[str, Metric]:
    if task == "regression":
        return REGRESSION
    return BINARY if answer.ndim == 1 else _classification(answer.shape[1])


def score(truth: F64, answer: F64, task: Task = "regression") -> Score:
    """Every metric of one model on n rows.

    `truth` is [n]: values, or places of classes. `answer` is [n]: values, or the positive class's probability; [n, k] with more
    than two classes. A metric is NaN where it has no meaning (AUROC of one class alone) or an answer of a classification is not
    finite.
    """
    one = Blocks(np.zeros(truth.size, dtype=np.int64), 1)
    metrics = _metrics(task, answer)
    if task != "regression" and not np.isfinite(answer).all():
        return Score(truth.size, dict.fromkeys(metrics, float("nan")))
    return Score(truth.size, {name: float(metric.of(metric.sums(truth, answer, one)[0])) for name, metric in metrics.items()})


def compare(
    metric: str,
    truth: F64,
    challenger: F64,
    champion: F64 | None,
    champion_version: int | None = None,
    confidence: float = 0.9,
    resamples: int = 1000,
    seed: int = 0,
    task: Task = "regression",
) -> Scorecard:
    """Both models on the same rows in time order, answers as in `score`.

    `gain` is how much better the challenger is (`Metric.gain`). `low` is its one-sided lower bound at `confidence` from a paired
    bootstrap over up to 200 contiguous blocks (Künsch 1989; Efron and Tibshirani 1993, chapter 16); resamples in which the metric
    has no meaning are left out.
    """
    mine = score(truth, challenger, task)
    if champion is None:
        return Scorecard(metric, truth.size, mine, None, None, None, None)
    theirs = score(truth, champion, task)
    measure = _metrics(task, challenger)[metric]
    gain = float(measure.gain(np.array(mine.metrics[metric]), np.array(theirs.metrics[metric])))
    low = gain
    if np.isfinite(gain):
        gains = _bootstrap(measure, truth, challenger, champion, resamples, seed)
        meant = gains[~np.isnan(gains)]
        low = float(np.quantile(meant, 1 - confidence)) if meant.size else float("nan")
    return Scorecard(metric, truth.size, mine, theirs, champion_version, gain, low)


def _bootstrap(measure: Metric, truth: F64, challenger: F64, champion: F64, resamples: int, seed: int) -> F64:
    n = truth.size
    starts = np.linspace(0, n, min(BLOCKS, n) + 1).astype(int)[:-1]
    blocks = Blocks(np.repeat(np.arange(starts.size), np.diff(np.append(starts, n))), starts.size)
    draws = np.random.default_rng(seed).multinomial(starts.size, np.full(starts.size, 1 / starts.size), size=resamples)
    sums = [measure.sums(truth, said, blocks) for said in (challenger, champion)]
    # A hundred resamples at a time: AUROC of many classes has many sums.
    parts = [part.astype(float) for part in np.array_split(draws, max(1, resamples // 100))]
    return np.concatenate([measure.gain(*(measure.of(part @ each) for each in sums)) for part in parts])


def predict(graph: Path, inputs: Mapping[str, npt.NDArray[np.generic]], output: str) -> F64:
    """The exported graph's answers to raw columns, on the CPU: the very file that Triton serves. Shaped as in `answers`."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    rows = max(map(len, inputs.values()))
    parts = [{name: array[i : i + ROWS_AT_ONCE] for name, array in inputs.items()} for i in range(0, max(rows, 1), ROWS_AT_ONCE)]
    return answers(np.concatenate([session.run([output], part)[0] for part in parts]))


def answers(output: npt.NDArray[np.generic]) -> F64:
    """A model's output [n, width] as float64: [n] when there is one number a row, else [n, k]."""
    said = np.asarray(output, dtype=np.float64)
    return said.reshape(-1) if said.shape[1] == 1 else said
