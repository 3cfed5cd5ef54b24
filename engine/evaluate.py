"""Champion and challenger on the same rows: the Scorecard, with confidence bounds for the difference, overall and per slice."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engine.metrics import F64, FAIRNESS, I64, Blocks, Metric, gaps, measure, of_task
from engine.nouns import Score, Scorecard, SliceGain, SliceScore, Task

if TYPE_CHECKING:
    from engine.slices import Cut

BLOCKS = 200  # resampled units: neighbours in time share weather and outages, so whole stretches are drawn, not single rows
ROWS_AT_ONCE = 1 << 13  # in one run of a graph: what lies between its layers takes a thousand times the memory of its inputs
MANY = 50  # sums of a metric that are not resampled all at once


def score(truth: F64, answer: F64, task: Task = "regression", cuts: Sequence[Cut] = ()) -> Score:
    """Every metric of one model on n rows, and on every slice of `cuts`.

    `truth` is [n]: values, or places of classes. `answer` is [n]: values, or the positive class's probability; [n, k] with more
    than two classes. A metric is NaN where it has no meaning (AUROC of one class alone) or an answer of a classification is not
    finite.
    """
    found = of_task(task, answer)
    more = FAIRNESS if cuts and task == "binary" else {}
    everything = Blocks(np.zeros(truth.size, dtype=np.int64), 1)
    whole, *sliced = measure(task, found | more, truth, answer, [everything, *(cut.blocks for cut in cuts)])
    slices = [s for cut, values in zip(cuts, sliced, strict=True) for s in _slices(cut, values)]
    return Score(truth.size, {name: float(whole[name][0]) for name in found}, tuple(slices))


def constant(before: F64, truth: F64, task: Task, classes: int) -> Score:
    """How good one answer for all n rows of `truth` would be, from the m that came `before`: their mean, or each class's share.

    A model that has learnt something is better, by whatever metric: the mean is the constant with the least squares, the
    shares that with the least log loss, and the most frequent class that which is right most often.
    """
    if task == "multiclass":
        shares = np.bincount(before.astype(np.int64), minlength=classes) / before.size
        return score(truth, np.tile(shares, (truth.size, 1)), task)
    return score(truth, np.full(truth.size, before.mean()), task)


def _slices(cut: Cut, values: Mapping[str, F64]) -> Iterator[SliceScore]:
    for place, (value, span, rows) in enumerate(zip(cut.values, cut.spans, cut.rows, strict=True)):
        metrics = {name: float(each[place]) for name, each in values.items()}
        yield SliceScore(cut.column, value, rows, metrics, rows >= cut.min_rows, span)


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
    cuts: Sequence[Cut] = (),
) -> Scorecard:
    """Both models on the same rows in time order, answers as in `score`.

    `gain` is how much better the challenger is (`Metric.gain`). `low` is its one-sided lower bound at `confidence` from a paired
    bootstrap over up to 200 contiguous blocks (Künsch 1989; Efron and Tibshirani 1993, chapter 16); resamples in which the metric
    has no meaning are left out. The slices of `cuts` get bounds from the same resamples (`_slice_gains`).
    """
    mine = score(truth, challenger, task, cuts)
    if champion is None:
        return Scorecard(metric, truth.size, mine, None, None, None, None, gaps=gaps(mine))
    theirs = score(truth, champion, task, cuts)
    measured = of_task(task, challenger)[metric]
    gain = float(measured.gain(np.array(mine.metrics[metric]), np.array(theirs.metrics[metric])))
    low, drawn = gain, Resamples.of(truth.size, resamples, seed)
    if np.isfinite(gain):
        low = _quantile(drawn.gains(measured, truth, challenger, champion), 1 - confidence)

    def resample(rows: I64) -> F64:
        return drawn.gains(measured, truth, challenger, champion, rows)

    slices = _slice_gains(metric, measured, mine, theirs, cuts, resample, confidence)
    return Scorecard(metric, truth.size, mine, theirs, champion_version, gain, low, slices, gaps(mine, theirs))


def _slice_gains(
    name: str,
    metric: Metric,
    mine: Score,
    theirs: Score,
    cuts: Sequence[Cut],
    resample: Callable[[I64], F64],
    confidence: float,
) -> tuple[SliceGain, ...]:
    """The gain on every slice with rows enough.

    Its bounds are at 1 − (1 − confidence) / k for k slices (Bonferroni 1936). Of many slices one looks bad by chance; but
    the chance that the true gain of any is above its upper bound stays near 1 − confidence, however the slices overlap.
    """
    members = (rows for cut in cuts for rows in cut.members())
    found = []
    for my, their, rows in zip(mine.slices, theirs.slices, members, strict=True):
        gain = float(metric.gain(np.array(my.metrics[name]), np.array(their.metrics[name])))
        if my.enough and np.isfinite(gain):
            found.append((my, their.metrics[name], gain, rows))
    share = (1 - confidence) / max(len(found), 1)
    slices = []
    for my, their_value, gain, rows in found:
        gains, tail = resample(rows), _expanded(share, min(rows.size, BLOCKS))
        bounds = _quantile(gains, tail), _quantile(gains, 1 - tail)
        slices.append(SliceGain(my.column, my.value, my.rows, my.metrics[name], their_value, gain, *bounds))
    return tuple(slices)


@dataclass(frozen=True)
class Resamples:
    """Rows drawn again and again in whole blocks of neighbours. `draws` [resamples, blocks]: how often each block was drawn."""

    blocks: Blocks
    draws: F64

    @classmethod
    def of(cls, rows: int, resamples: int, seed: int) -> Resamples:
        """As many blocks as are drawn from, all nearly equally long."""
        starts = np.linspace(0, rows, min(BLOCKS, rows) + 1).astype(int)[:-1]
        blocks = Blocks(np.repeat(np.arange(starts.size), np.diff(np.append(starts, rows))), starts.size)
        draws = np.random.default_rng(seed).multinomial(starts.size, np.full(starts.size, 1 / starts.size), size=resamples)
        return cls(blocks, draws.astype(float))

    def gains(self, metric: Metric, truth: F64, challenger: F64, champion: F64, rows: I64 | None = None) -> F64:
        """The challenger's gain in every resample, on some of the rows if they are given; NaN where the metric has no meaning."""
        blocks = self.blocks
        if rows is not None:
            truth, challenger, champion = truth[rows], challenger[rows], champion[rows]
            blocks = Blocks(blocks.of_row[rows], blocks.count)
        sums = [metric.sums(truth, said, blocks) for said in (challenger, champion)]
        # A hundred resamples at a time where there are many sums, as for the AUROC of many classes.
        parts = np.array_split(self.draws, max(1, len(self.draws) // 100) if sums[0].shape[1] > MANY else 1)
        with np.errstate(divide="ignore", invalid="ignore"):  # a resample without any row of a slice
            return np.concatenate([metric.gain(*(metric.of(part @ each) for each in sums)) for part in parts])


def _expanded(share: float, drawn: int) -> float:
    """The smaller tail of a bootstrap's percentiles that leaves out `share`: with few units drawn they are too narrow.

    Hesterberg 2015, "What Teachers Should Know About the Bootstrap": further out, as Student's t is against the normal, and by
    √(n / (n − 1)). Student's quantile by Cornish and Fisher's expansion (Abramowitz and Stegun 26.7.5).

    >>> round(_expanded(0.05, 20), 4), round(_expanded(0.05, 100_000), 4)
    (0.038, 0.05)
    """
    if share <= 0:  # a confidence of 1
        return 0.0
    freedom = max(drawn - 1, 1)
    z = NormalDist().inv_cdf(share)
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return NormalDist().cdf(t * math.sqrt(1 + 1 / freedom))


def _quantile(gains: F64, share: float) -> float:
    meant = gains[~np.isnan(gains)]
    return float(np.quantile(meant, share)) if meant.size else float("nan")


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
    if len(parts) == 1:
        return answers(session.run([output], parts[0])[0])
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # a thread a part: the same sums on any number of cores
        return answers(np.concatenate(list(pool.map(lambda part: session.run([output], part)[0], parts))))


def answers(output: npt.NDArray[np.generic]) -> F64:
    """A model's output [n, width] as float64: [n] when there is one number a row, else [n, k]."""
    said = np.asarray(output, dtype=np.float64)
    return said.reshape(-1) if said.shape[1] == 1 else said
