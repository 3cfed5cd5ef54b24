"""Batches for a fit: whole tensors, cut from tensors that already lie where the model is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import torch

from engine.data.table import Arrays
from engine.models import Batch


def tensors(
    inputs: Arrays, vocabularies: Mapping[str, list[str]], device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, ...]:
    """The tensors of a model's `forward`: strings as int64 codes (place in the vocabulary from 1, else 0)."""
    made = []
    for name, array in inputs.items():
        if name in vocabularies:
            words = pl.Series(vocabularies[name], dtype=pl.String)
            codes = pl.Series(array.ravel().tolist(), dtype=pl.String).replace_strict(
                words, pl.int_range(1, len(words) + 1, eager=True), default=0, return_dtype=pl.Int64
            )
            array = codes.to_numpy().reshape(array.shape)
        made.append(torch.from_numpy(np.require(array, requirements=("C", "W"))).to(device))
    return tuple(made)


class Batches:
    """The batches of a fit, one per row of `order`, `[steps, batch]`.

    Lightning takes any iterable with a length: a DataLoader would collate row by row, 50 times slower. It stores `state_dict` in
    its checkpoints, so a fit that is resumed goes on with the next batch.
    """

    def __init__(self, inputs: tuple[torch.Tensor, ...], target: torch.Tensor, order: torch.Tensor) -> None:
        self.inputs, self.target, self.order = inputs, target, order
        self.done = 0

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        for rows in self.order[self.done :]:
            self.done += 1
            yield tuple(x[rows] for x in self.inputs), self.target[rows]
        self.done = 0

    def state_dict(self) -> dict[str, Any]:
        """How many batches were given out."""
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after them."""
        self.done = state["done"]


class InOrder:
    """All rows in order, in batches of at most `batch`: what a held-out slice is measured on."""

    def __init__(self, inputs: tuple[torch.Tensor, ...], target: torch.Tensor, batch: int = 65536) -> None:
        self.inputs, self.target, self.batch = inputs, target, batch

    def __len__(self) -> int:
        return -(-len(self.target) // self.batch)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.target), self.batch):
            rows = slice(start, start + self.batch)
            yield tuple(x[rows] for x in self.inputs), self.target[rows]
