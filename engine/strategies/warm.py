"""Continue from the champion on the fresh rows alone: the least work, and the most forgetting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.strategies import Floats, Integers, batches


@dataclass(frozen=True)
class Warm:
    """`epochs` over the fresh rows, or `first_epochs` when there is no champion yet; `most_steps` at most."""

    epochs: float = 4
    first_epochs: float = 20
    batch: int = 256
    least_steps: int = 32
    most_steps: int = 20_000
    keep_optimizer: bool = True
    name: ClassVar[str] = "warm"
    warm: ClassVar[bool] = True
    windows: ClassVar[int] = 0

    def draw(self, ages: Floats, fresh: int, first: bool, rng: np.random.Generator) -> Integers:
        """Fresh rows equally often, past rows never."""
        weights = np.zeros(len(ages))
        weights[len(ages) - fresh :] = 1
        draws = (self.first_epochs if first else self.epochs) * fresh
        return batches(weights, draws, self.batch, self.least_steps, rng, self.most_steps)
