"""Champion and challenger on the same rows: the Scorecard, with a confidence bound for the difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.nouns import Score, Scorecard

F64 = npt.NDArray[np.float64]

BLOCKS = 200  # resampled units: neighbours in time share weather and outages, so whole stretches are drawn, not single rows


@dataclass(frozen=True)
class Metric:
    """A metric that is a function of a mean loss, so that a resample costs one dot product. Lower is better."""

    loss: Callable[[F64, F64], F64]
    of_mean: Callable[[F64], F64]


METRICS = {
    "rmse": Metric(lambda truth, answer: (truth - answer) ** 2, np.sqrt),
    "mae": Metric(lambda truth, answer: np.abs(truth - answer), lambda mean: mean),
}


def score(truth: F64, answer: F64) -> Score:
    """Every metric of one model on n rows; `truth` and `answer` are [n]."""
    metrics = {name: float(metric.of_mean(metric.loss(truth, answer).mean())) for name, metric in METRICS.items()}
    return Score(truth.size, metrics)


def compare(
    metric: str,
    truth: F64,
    challenger: F64,
    champion: F64 | None,
    champion_version: int | None = None,
    confidence: float = 0.9,
    resamples: int = 1000,
    seed: int = 0,
) -> Scorecard:
    """Both models on the same rows in time order, [n] each.

    `gain` is the champion's metric over the challenger's, minus one. `low` is its one-sided lower bound at `confidence` from a
    paired bootstrap over up to 200 contiguous blocks (Künsch 1989; Efron and Tibshirani 1993, chapter 16).
    """
    mine = score(truth, challenger)
    if champion is None:
        return Scorecard(metric, truth.size, mine, None, None, None, None)
    theirs = score(truth, champion)
    measure = METRICS[metric]
    gains = _bootstrap(measure, measure.loss(truth, challenger), measure.loss(truth, champion), resamples, seed)
    gain = theirs.metrics[metric] / max(mine.metrics[metric], np.finfo(float).tiny) - 1
    return Scorecard(metric, truth.size, mine, theirs, champion_version, gain, float(np.quantile(gains, 1 - confidence)))


def _bootstrap(measure: Metric, challenger: F64, champion: F64, resamples: int, seed: int) -> F64:
    n = challenger.size
    starts = np.linspace(0, n, min(BLOCKS, n) + 1).astype(int)[:-1]
    sizes = np.diff(np.append(starts, n)).astype(float)
    sums = np.stack([np.add.reduceat(challenger, starts), np.add.reduceat(champion, starts), sizes], axis=1)
    draws = np.random.default_rng(seed).multinomial(starts.size, np.full(starts.size, 1 / starts.size), size=resamples)
    totals = draws.astype(float) @ sums
    low, high = (measure.of_mean(totals[:, k] / totals[:, 2]) for k in (0, 1))
    gains: F64 = high / np.maximum(low, np.finfo(float).tiny) - 1
    return gains


def predict(graph: Path, inputs: Mapping[str, npt.NDArray[np.generic]], output: str) -> F64:
    """The exported graph's answers [n] to raw columns, on the CPU: the very file that Triton serves."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    answers = session.run([output], dict(inputs))[0]
    return np.asarray(answers, dtype=np.float64).reshape(-1)
