"""Train from nothing on the last windows: the yardstick for every warm start, and the way out when columns change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.strategies import Floats, Integers, batches


@dataclass(frozen=True)
class Cold:
    """`epochs` over the fresh rows and those of the last `windows` past windows, all alike, with new weights."""

    windows: int = 3
    epochs: float = 20
    batch: int = 256
    least_steps: int = 32
    most_steps: int = 20_000
    keep_optimizer: bool = False
    name: ClassVar[str] = "cold"
    warm: ClassVar[bool] = False

    def draw(self, ages: Floats, fresh: int, first: bool, rng: np.random.Generator) -> Integers:
        """Every row equally often."""
        return batches(np.ones(len(ages)), self.epochs * len(ages), self.batch, self.least_steps, rng, self.most_steps)
