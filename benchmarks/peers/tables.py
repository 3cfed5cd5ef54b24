"""The seeded data: a reference table and a current one, float32 columns of mixed shapes, some of them shifted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

# Column j has shape j modulo their number. No missing values: most peers give NaN or an error for a column with one.
SHAPES: tuple[Callable[[np.random.Generator, int], F32], ...] = (
    lambda random, rows: random.standard_normal(rows, np.float32),
    lambda random, rows: random.standard_normal(rows, np.float32).round(1),  # ties
    lambda random, rows: random.standard_exponential(rows, np.float32),
    lambda random, rows: np.exp(random.standard_normal(rows, np.float32) / 2),
    lambda random, rows: random.random(rows, np.float32),
    lambda random, rows: random.standard_normal(rows, np.float32) + 4 * (random.random(rows, np.float32) < 0.3),  # two peaks
    lambda random, rows: random.standard_normal(rows, np.float32) / (0.3 + random.random(rows, np.float32)),  # heavy tails
    lambda random, rows: random.poisson(40, rows).astype(np.float32),
)
# By shape, what happens to the current table's column: a tenth of a standard deviation, or a tenth more of everything.
SHIFTS: dict[int, Callable[[F32], F32]] = {
    0: lambda values: values + np.float32(0.1) * values.std(),
    2: lambda values: values * np.float32(1.1),
    5: lambda values: values + np.float32(0.1) * values.std(),
}


def write(folder: Path, rows: int, columns: int, kind: str = "float32", seed: int = 4) -> None:
    """Write `reference.npy` and `current.npy`, [rows, columns] each; the same values in float64 if that is the `kind`."""
    for side, name in enumerate(("reference", "current")):
        table = np.empty((rows, columns), kind)
        for j in range(columns):
            shape = j % len(SHAPES)
            values = SHAPES[shape](np.random.default_rng((seed, side, j)), rows)
            table[:, j] = SHIFTS[shape](values) if side == 1 and shape in SHIFTS else values
        np.save(folder / f"{name}.npy", table)
