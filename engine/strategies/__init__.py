"""How a fine-tune starts and which rows it draws: one file per strategy, one Protocol.

A stream names its strategy in its configuration, with the strategy's arguments:

    strategy:
      _target_: engine.strategies.replay.Replay
      half_life: 1.0
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]


class Strategy(Protocol):
    """What a fine-tune asks of a strategy."""

    name: ClassVar[str]
    warm: ClassVar[bool]
    """Whether training starts from the champion's weights, if there is a champion."""

    @property
    def windows(self) -> int:
        """How many of the latest past windows to read beside the fresh ones."""

    @property
    def keep_optimizer(self) -> bool:
        """Whether the champion's optimizer state is continued, or starts at zero."""

    def draw(self, ages: Floats, fresh: int, first: bool, rng: np.random.Generator) -> Integers:
        """Rows for every step of a fit, `[steps, batch]`.

        `ages` holds each row's age in windows: 0 at the end of the latest window, 1 at its beginning, which is the end of the one
        before. Past rows come first, then the `fresh` ones. `first`: the weights are new, there is no champion to start from.
        """


def batches(
    weights: Floats, draws: float, batch: int, least_steps: int, rng: np.random.Generator, most_steps: int = 20_000
) -> Integers:
    """About `draws` rows in proportion to `weights`, `[rows]`, shuffled into full batches: from `least_steps` to `most_steps`.

    The draw is systematic (one random offset, then equal strides through the cumulated weights): a row comes up its expected
    number of times, rounded up or down. With equal weights and `draws` a multiple of the rows that is an epoch, or several.
    """
    steps = min(max(least_steps, round(draws / batch)), most_steps)
    ends = np.cumsum(weights)
    positions = (np.arange(steps * batch) + rng.random()) * (ends[-1] / (steps * batch))
    rows = np.searchsorted(ends, positions, side="right").clip(max=len(weights) - 1)
    return rng.permutation(rows).astype(np.int64).reshape(steps, batch)
