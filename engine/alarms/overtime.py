"""Detectors over time: when did a number that every window has change? A live metric, an effect size, the share of a value.

ADWIN, Page-Hinkley and KSWIN are river's, CUSUM is here. A detector is a pure function of the numbers so far: replayed over the
recorded history it always says the same, so there is no state to keep or to lose, and no window is judged twice. A missing number
(NaN: a window without labels) is passed over. After an alarm a detector begins again with the next number.

| detector | finds | microseconds a number |
|---|---|--:|
| CUSUM | a lasting change of the mean, soonest of all when its size is known | 1 (35 when nothing is known) |
| PageHinkley | the same without a target: against the mean so far | 1 |
| ADWIN | a change of the mean, with a bound on every look; hardly ever speaks falsely | 1 |
| KSWIN | any change of the distribution | 1,500 |

None of these keeps the chance of any false alarm bounded for ever, as the monitor in `engine.alarms.anytime` does: each speaks
falsely from time to time, the docstrings say how often. The first `learn` numbers never alarm: they say how large a standard
deviation is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Detector(Protocol):
    """One method; Hydra builds the implementation by `_target_`."""

    def alarms(self, values: Sequence[float]) -> tuple[int, ...]:
        """The places in `values` at which it alarms, ascending."""
        ...


def alarm(detector: Detector, values: Sequence[float]) -> int | None:
    """The place of the first alarm, or None.

    >>> alarm(CUSUM(known=(1.0, 0.1)), [1.0, 1.1, 0.9, 1.0, 1.1, 1.0, 1.5, 1.6, 1.5])
    7
    """
    return next(iter(detector.alarms(values)), None)


@dataclass(frozen=True)
class CUSUM:
    """Two-sided cumulative sums: how far the numbers have run from what they should be, less a `slack` each time.

    slack  in standard deviations: half of the shift that should be found soonest
    limit  in standard deviations: an alarm when a sum is over it
    known  the mean and the standard deviation when all is well; without them each number is measured against all those before
           it, since the last alarm, by a t score, which is exactly normal for normal numbers however few there were
    learn  numbers without an alarm at the start, when nothing is known

    Of unchanged normal numbers about one in 10,000 alarms. When all is known a shift of one standard deviation is found after
    about 16 numbers, one of three after 4. When nothing is known it is the same for a shift that comes after 80 numbers; of those
    that come after 40, three in ten are missed, since what is not found soon becomes what is usual.

    Source: Page, "Continuous inspection schemes", 1954; Hawkins, "Self-starting CUSUM charts for location and scale", 1987.

    >>> CUSUM(known=(0.0, 1.0)).alarms([0, 1, -1, 0, 3, 3, 3, 3, 0])
    (7,)
    """

    slack: float = 0.5
    limit: float = 8.0
    known: tuple[float, float] | None = None
    learn: int = 20

    def alarms(self, values: Sequence[float]) -> tuple[int, ...]:
        """The places at which either sum is over the limit."""
        found = []
        count, mean, squares = 0, 0.0, 0.0  # of the numbers since the last alarm: Welford's sums
        above = below = 0.0
        for place, value in enumerate(values):
            if math.isnan(value):
                continue
            if self.known:
                score = _score(value, *self.known)
            else:
                score = _t_score(value, count, mean, squares) if count >= max(self.learn, 2) else 0.0
                count, step = count + 1, value - mean
                mean += step / count
                squares += step * (value - mean)
            above = max(0.0, above + score - self.slack)
            below = max(0.0, below - score - self.slack)
            if max(above, below) > self.limit:
                found.append(place)
                count, mean, squares = 0, 0.0, 0.0
                above = below = 0.0
        return tuple(found)


@dataclass(frozen=True)
class PageHinkley:
    """CUSUM against the mean so far, which needs no target: river's `PageHinkley`, two-sided.

    slack   in standard deviations: what a number may differ from the mean without counting
    limit   in standard deviations: an alarm when the sum has risen so far above its lowest

    A shift of one standard deviation is found after about 17 numbers, one of three after 4; of unchanged normal numbers one in
    1,500 alarms. river's own defaults (0.005 and 50) are for thousands of instances, not for windows.

    Source: Page, "Continuous inspection schemes", 1954; Hinkley, "Inference about the change-point from cumulative sum tests",
    1971.
    """

    slack: float = 0.25
    limit: float = 12.0
    learn: int = 30

    def alarms(self, values: Sequence[float]) -> tuple[int, ...]:
        """The places at which river's detector says drift."""
        from river import drift

        # river forgets by a factor each time; windows are too few for that to matter, and then the sum is Page's.
        return _replayed(
            drift.PageHinkley(min_instances=self.learn, delta=self.slack, threshold=self.limit, alpha=1.0), values, self.learn
        )


@dataclass(frozen=True)
class ADWIN:
    """A window of numbers that grows while they agree and is cut where two parts of it have different means: river's `ADWIN`.

    delta   chance of a false cut at each look, for numbers between 0 and 1
    learn   the first numbers give the scale; 0 takes the numbers as they are, for a metric that lives between 0 and 1, such as
            an accuracy, where the bound on false cuts is proven

    It looks at every number, where river by default looks at every 32nd: windows are few. Careful: a shift of one standard
    deviation is found after about 50 numbers, one of three after 11; of 130,000 unchanged normal numbers none alarmed.

    Source: Bifet and Gavaldà, "Learning from time-changing data with adaptive windowing", 2007.
    """

    delta: float = 0.01
    learn: int = 30

    def alarms(self, values: Sequence[float]) -> tuple[int, ...]:
        """The places at which river's detector says drift."""
        from river import drift

        make: Any = drift.ADWIN  # whose constructor has no types
        return _replayed(make(delta=self.delta, clock=1), values, self.learn)


@dataclass(frozen=True)
class KSWIN:
    """Kolmogorov-Smirnov between the last `recent` numbers and as many drawn from those before: river's `KSWIN`.

    alpha   of every single test: with one test a number, false alarms are certain in time, so keep it small
    memory  how many numbers are kept, the recent ones included

    The slowest by far, a whole test for each number. Ranks need no scale, so nothing is learnt; the first alarm can come when
    `memory` is full. A shift of two standard deviations is found after about 24 numbers, one of one hardly ever.

    Source: Raab, Heusinger and Schleif, "Reactive soft prototype computing for concept drift streams", 2020.
    """

    alpha: float = 0.0001
    memory: int = 100
    recent: int = 30
    seed: int = 0

    def alarms(self, values: Sequence[float]) -> tuple[int, ...]:
        """The places at which river's detector says drift."""
        from river import drift

        return _replayed(drift.KSWIN(alpha=self.alpha, window_size=self.memory, stat_size=self.recent, seed=self.seed), values, 0)


def _replayed(detector: Any, values: Sequence[float], learn: int) -> tuple[int, ...]:
    """The alarms of one of river's detectors, which begins again by itself; the first `learn` numbers give the scale."""
    places = [place for place, value in enumerate(values) if not math.isnan(value)]
    numbers = [float(values[place]) for place in places]
    if learn:
        centre, spread = _centre_and_spread(numbers[:learn])
        numbers = [_score(number, centre, spread) for number in numbers]
    found = []
    for count, (place, number) in enumerate(zip(places, numbers, strict=True)):
        detector.update(number)
        if detector.drift_detected and count >= learn:
            found.append(place)
    return tuple(found)


def _t_score(number: float, count: int, mean: float, squares: float) -> float:
    """How far a number is from those before it: N(0, 1) for normal numbers, and independent of them."""
    from scipy.special import ndtri, stdtr

    score = _score(number, mean, math.sqrt(squares / (count - 1))) * math.sqrt(count / (count + 1))
    tail = float(stdtr(count - 1, -abs(score)))
    return math.copysign(-float(ndtri(max(tail, 1e-300))), score)


def _centre_and_spread(numbers: Sequence[float]) -> tuple[float, float]:
    if not numbers:
        return 0.0, 1.0
    return float(np.mean(numbers)), float(np.std(numbers, ddof=1)) if len(numbers) > 1 else 0.0


def _score(number: float, centre: float, spread: float) -> float:
    """In standard deviations; where there were none, any difference is a large one and finite, so that sums stay numbers."""
    if spread > 0:
        return (number - centre) / spread
    return math.copysign(1e6, number - centre) if number != centre else 0.0
