"""The default model for tables: raw columns in, prediction out, everything that depends on data inside.

Numbers are encoded in bins, categories as embeddings, two wide layers are shared by a small ensemble. Scales, bins and
vocabularies are module state: they travel with the checkpoint and the exported graph, so no second preprocessing exists.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler

from engine.data import table
from engine.models import Batch
from engine.models.categories import CategoryEncoder
from engine.models.ensemble import Ensemble
from engine.models.heads import head
from engine.models.numbers import NumberEncoder
from engine.nouns import Schema


class TableNet(pl.LightningModule):
    """A network for the rows of a `Schema`; implements `engine.models.Learner`.

    `width` and `members` size the two shared layers, `bins` the encoding of numbers and `embedding` that of categories; `unknown`
    is the share of categories that training hides. `learning_rate` falls linearly to zero within a fit (AdamW).
    """

    def __init__(
        self,
        schema: Schema,
        width: int = 128,
        members: int = 4,
        bins: int = 16,
        embedding: int = 8,
        unknown: float = 0.01,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-3,
    ) -> None:
        super().__init__()
        self.schema = schema
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.specs = table.signature(schema)
        categories = tuple(spec.name for spec in self.specs if spec.datatype == "BYTES")
        self.numbers = NumberEncoder(sum(spec.width for spec in self.specs if spec.datatype != "BYTES"), bins)
        self.categories = CategoryEncoder(categories, embedding, unknown)
        self.ensemble = Ensemble(members, self.numbers.width + self.categories.width, width)
        self.head = head(schema, members, width)
        self.rows_seen = 0
        self.rows_at_refit = 0

    @property
    def vocabularies(self) -> dict[str, list[str]]:
        """Per category column its strings, in the order of their codes from 1."""
        return self.categories.vocabularies

    def adapt(self, inputs: table.Arrays, target: np.ndarray[Any, np.dtype[np.float64]], fresh: int) -> None:
        """Grow the vocabularies, follow the target's scale, and refit the bins of numbers each time the history has doubled."""
        self.rows_seen += fresh
        self.categories.grow(inputs)
        self.head.adapt(target)
        if self.rows_seen >= 2 * self.rows_at_refit:
            numbers = [inputs[spec.name].astype(np.float64) for spec in self.specs if spec.datatype != "BYTES"]
            if numbers:
                self.numbers.refit(np.concatenate(numbers, axis=1))
            self.rows_at_refit = self.rows_seen

    def _raw(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        pairs = list(zip(self.specs, inputs, strict=True))
        features = []
        if self.numbers.columns:
            columns = [x.to(torch.float64) for spec, x in pairs if spec.datatype != "BYTES"]
            features.append(self.numbers(torch.cat(columns, dim=1)))
        if self.vocabularies:
            features.append(self.categories([x for spec, x in pairs if spec.datatype == "BYTES"]))
        raw: torch.Tensor = self.head(self.ensemble(torch.cat(features, dim=1)))
        return raw

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Predict float32 `[rows, 1]`, or `[rows, classes]`, from the tensors of the schema's signature; strings as codes."""
        return self.head.predict(self._raw(inputs))

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        """The mean loss of the members, each against the target for itself."""
        inputs, target = batch
        return self.head.loss(self._raw(inputs), target)

    def validation_step(self, batch: Batch, index: int) -> torch.Tensor:
        """The loss of the members' common answer would hide which of them drifts; it is the training loss, without dropout."""
        return self.training_step(batch, index)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with a learning rate that falls linearly to zero over the fit's steps."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)
        steps = self.trainer.max_steps
        falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": falling, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what is no tensor: vocabularies and counters."""
        checkpoint["table"] = {
            "columns": [column.name for column in self.schema.columns],
            "classes": list(self.schema.classes),
            "vocabularies": self.vocabularies,
            "rows_seen": self.rows_seen,
            "rows_at_refit": self.rows_at_refit,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back, and make the tables large enough for the weights that follow."""
        stored = checkpoint["table"]
        columns = [column.name for column in self.schema.columns]
        if stored["columns"] != columns:
            changed = ", ".join(sorted(set(stored["columns"]) ^ set(columns))) or "their order"
            raise ValueError(
                f"the parent was trained on other columns ({changed}); start a new model from nothing (strategy: cold)"
            )
        if stored.get("classes", []) != list(self.schema.classes):
            raise ValueError("the parent was trained on other classes; begin a stream under another name with these")
        self.rows_seen, self.rows_at_refit = stored["rows_seen"], stored["rows_at_refit"]
        self.categories.restore(stored["vocabularies"])
