"""Models: what a fine-tune asks of a LightningModule, whoever wrote it.

The default for tables is `engine.models.table.TableNet`. To use another, name it in the stream's configuration, with its own
arguments beside it:

    model:
      _target_: my_package.MyModel
      width: 64

It is built as `MyModel(schema=schema, width=64)` and must be a `pytorch_lightning.LightningModule` with the members of `Learner`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from engine.data.table import Arrays

Batch = tuple[tuple[torch.Tensor, ...], torch.Tensor]
"""The inputs of `forward`, and the target float64 `[rows, 1]`: of a classification the class's place in `schema.classes`."""


@runtime_checkable
class Learner(Protocol):
    """What a LightningModule must have besides its own `configure_optimizers`.

    State that is no tensor goes through Lightning's `on_save_checkpoint` and `on_load_checkpoint` (plain values only: checkpoints
    are read with `weights_only=True`). `on_load_checkpoint` runs before the weights are loaded and makes their shapes fit.
    """

    vocabularies: Mapping[str, list[str]]
    """Per category column its strings, at least one, in the order of their codes from 1; code 0 is every other string. They may
    only grow."""

    def adapt(self, inputs: Arrays, target: np.ndarray[Any, np.dtype[np.float64]], fresh: int) -> None:
        """Look at raw rows before a fit: grow vocabularies, refit scales. The last `fresh` rows are new, the others are past."""

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Predict float32 `[rows, 1]` from the tensors of `engine.data.table.signature`, in its order, named or as `*inputs`.

        Of a binary task that is the probability of the second class; of a multiclass task it is `[rows, classes]`.

        Each is `[rows, width]`: float64 with NaN for missing, bool, or int64 codes of a category column.
        """

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        """The loss of one batch."""

    def validation_step(self, batch: Batch, index: int) -> torch.Tensor:
        """The mean loss of rows that are held out for stopping."""
