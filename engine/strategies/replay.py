"""Continue from the champion on fresh rows mixed with past ones that fade: the default.

How fast the past fades is the strongest setting there is, and it belongs to the stream: with a half-life of 0 / 1 / 4 / ∞ windows
the weekly error on flights was 11.09 / 10.40 / 10.73 / 11.87, while another stream was best at 4. Ages run on inside a window, so
that its last rows weigh most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.strategies import Floats, Integers, batches


@dataclass(frozen=True)
class Replay:
    """`draws` times as many rows as are fresh, each drawn with weight 2^(−age / `half_life`), ages in windows.

    The last `windows` past windows take part. Without a champion the rows are drawn `first_draws` times. However large
    a window is, its fit ends after `most_steps`.
    """

    half_life: float = 1.5
    windows: int = 8
    draws: float = 4
    first_draws: float = 20
    batch: int = 256
    least_steps: int = 32
    most_steps: int = 20_000
    keep_optimizer: bool = True
    name: ClassVar[str] = "replay"
    warm: ClassVar[bool] = True

    def draw(self, ages: Floats, fresh: int, first: bool, rng: np.random.Generator) -> Integers:
        """Every row in proportion to its weight."""
        weights = np.exp2(-ages / self.half_life)
        draws = (self.first_draws if first else self.draws) * fresh
        return batches(weights, draws, self.batch, self.least_steps, rng, self.most_steps)
