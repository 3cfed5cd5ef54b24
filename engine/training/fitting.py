"""The fit itself, under Lightning: watched, stopped at its best weights, and resumable."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as lightning
import torch
from hydra.utils import instantiate

from engine.data import table
from engine.data.batches import Batches, InOrder, tensors
from engine.nouns import JobSpec
from engine.strategies import Integers, Strategy
from engine.strategies.moments import Moments
from engine.training.rows import Rows, names_of

CHECKPOINT_EVERY = 60.0
"""Seconds between checkpoints of a running fit."""

STOP_CHECKS = 4
"""How often in a fit the stop slice is looked at. With a learning rate that falls to zero the last look is usually the best."""


class TrainingDiverged(RuntimeError):
    """The loss is no longer a number."""


def run(
    spec: JobSpec,
    strategy: Strategy,
    module: Any,
    rows: Rows,
    drawn: tuple[table.Arrays, np.ndarray[Any, np.dtype[np.float64]], Integers],
    parent: dict[str, Any] | None,
    resume: bool,
) -> tuple[lightning.Trainer, Watch]:
    """Fit the model on what was `drawn` (inputs, target, the rows of every step), or go on; it ends with its best weights.

    Raises TrainingDiverged, or KeyboardInterrupt when it was asked to stop.
    """
    inputs, target, order = drawn
    watch = Watch(Path(spec.folder) / "last.ckpt", names_of(spec))
    moments = [Moments(parent["optimizer_states"])] if parent and strategy.keep_optimizer else []
    with _quiet():
        trainer: lightning.Trainer = instantiate({**spec.trainer, "_partial_": True})(
            callbacks=[watch, *moments],
            max_steps=len(order),
            val_check_interval=max(1, len(order) // STOP_CHECKS) if rows.stop.height else None,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        device = trainer.strategy.root_device
        made = tensors(inputs, module.vocabularies, device), torch.from_numpy(target).to(device)
        stop = None
        if rows.stop.height:
            stop_inputs = tensors(table.inputs(rows.stop, spec.schema), module.vocabularies, device)
            stop = InOrder(stop_inputs, torch.from_numpy(table.target(rows.stop, spec.schema)).to(device))
        batches = Batches(*made, torch.from_numpy(order).to(device))
        trainer.fit(module, batches, stop, ckpt_path=watch.path if resume else None, weights_only=True if resume else None)
    if trainer.interrupted:
        raise KeyboardInterrupt
    watch.finish(module)
    return trainer, watch


class Watch(lightning.Callback):
    """Looks after a running fit: the loss must be a number, the best weights on the stop slice are kept, and now and then a
    checkpoint is written from which the same job can go on.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what
        self.saved = time.monotonic()
        self.losses: list[torch.Tensor] = []
        self.stop_losses: list[tuple[torch.Tensor, int]] = []
        self.fit_loss = float("nan")
        self.best_loss: float | None = None
        self.best: dict[str, torch.Tensor] = {}

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collect the loss without waiting for the device; check and save at intervals."""
        self.losses.append(outputs["loss"].detach())
        if trainer.global_step % 50 == 0:
            self._check(trainer.global_step)
        if time.monotonic() - self.saved >= CHECKPOINT_EVERY:
            partial = self.path.with_name(f".{self.path.name}")
            trainer.save_checkpoint(partial, weights_only=False)
            partial.replace(self.path)
            self.saved = time.monotonic()

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect the loss of a part of the stop slice, weighted by its rows."""
        rows = len(batch[1])
        self.stop_losses.append((outputs.detach() * rows, rows))

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the weights if they are the best so far."""
        loss = float(sum(loss for loss, _ in self.stop_losses)) / sum(rows for _, rows in self.stop_losses)
        self.stop_losses.clear()
        if self.best_loss is None or loss < self.best_loss:
            self.best_loss = loss
            self.best = {name: value.detach().clone() for name, value in pl_module.state_dict().items()}

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """A last look at the loss, over the steps since the previous one."""
        self._check(trainer.global_step)

    def _check(self, step: int) -> None:
        if not self.losses:
            return
        self.fit_loss = float(torch.stack(self.losses).mean())
        self.losses.clear()
        if not np.isfinite(self.fit_loss):
            raise TrainingDiverged(
                f"the loss on {self.what} became {self.fit_loss} by step {step}; lower model.learning_rate, "
                "or look for extreme targets"
            )

    def finish(self, module: lightning.LightningModule) -> None:
        """Give the module its best weights and forget them here, so that the final checkpoint holds them once."""
        if self.best:
            module.load_state_dict(self.best)
            self.best = {}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed fit must know."""
        return {"best_loss": self.best_loss, "best": self.best, "fit_loss": self.fit_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.best_loss, self.best, self.fit_loss = state_dict["best_loss"], state_dict["best"], state_dict["fit_loss"]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's greetings (which accelerators exist, a tip) and two warnings; all others stay."""
    logger = logging.getLogger("pytorch_lightning")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Lightning 2.6 asks torch's pytree in a way that torch 2.9 and later deprecate.
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
            # A fit without a stop slice is meant to run its whole budget.
            warnings.filterwarnings("ignore", message="You defined a `validation_step` but have no `val_dataloader`")
            yield
    finally:
        logger.setLevel(before)
