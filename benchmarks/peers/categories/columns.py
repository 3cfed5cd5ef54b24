"""The seeded columns, as codes, and what the codes stand for. NumPy only: every environment has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

I32 = NDArray[np.int32]
FIRST = np.datetime64("2023-01-01")


@dataclass(frozen=True)
class Column:
    """Codes 0 to `size` - 1, and a share of missing values; `shift` is what the current table's first value has more of."""

    name: str
    kind: Literal["words", "boolean", "date"]
    size: int
    missing: float = 0.0
    shift: float = 1.02

    def codes(self, random: np.random.Generator, rows: int, moved: bool) -> I32:
        """Words and booleans by Zipf's law, dates alike."""
        weights = np.ones(self.size) if self.kind == "date" else 1 / np.arange(1.0, self.size + 1)
        weights[0] *= self.shift if moved else 1
        found = random.choice(self.size, rows, p=weights / weights.sum()).astype(np.int32)
        if self.missing:
            found[random.random(rows) < self.missing * (self.shift if moved else 1)] = -1
        return found

    def values(self, codes: I32) -> NDArray[Any]:
        """The column itself: objects (str, and None where missing), bool or datetime64[D]."""
        if self.kind == "boolean":
            return codes == 0
        if self.kind == "date":
            return FIRST + codes.astype("timedelta64[D]")
        words = np.array([*(f"product-{code:04d}" for code in range(self.size)), None], dtype=object)
        return words[codes]  # type: ignore[no-any-return]  # -1 is the last


COLUMNS = (
    Column("20 words", "words", 20),
    Column("1,000 words", "words", 1000),
    Column("20 words, 5% missing", "words", 20, missing=0.05),
    Column("booleans", "boolean", 2),
    Column("dates", "date", 1096),
)
CATEGORIES = tuple(column.name for column in COLUMNS if column.kind != "date")


def write(folder: Path, rows: int, seed: int = 5) -> None:
    """Write `reference.npy` and `current.npy`."""
    for side, name in enumerate(("reference", "current")):
        made = [column.codes(np.random.default_rng((seed, side, j)), rows, side == 1) for j, column in enumerate(COLUMNS)]
        np.save(folder / f"{name}.npy", np.column_stack(made))


def raw(table: I32) -> dict[str, NDArray[Any]]:
    """The columns by their names, each an array of its own."""
    return {column.name: column.values(table[:, j].copy()) for j, column in enumerate(COLUMNS)}
