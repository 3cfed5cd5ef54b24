"""The model of a fine-tune, and the weights that it starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from hydra.utils import instantiate

from engine.nouns import JobSpec


def build(spec: JobSpec) -> Any:
    """The model that the job names. Raises ValueError when it is no Learner, saying what it lacks."""
    # Hydra would turn the schema into a configuration of its own if it were passed through it.
    module = instantiate({**spec.model, "_partial_": True})(schema=spec.schema)
    name = spec.model["_target_"]
    if not isinstance(module, lightning.LightningModule):
        raise ValueError(f"model: {name} is no pytorch_lightning.LightningModule")
    given = ("forward", "training_step", "validation_step", "configure_optimizers")  # Lightning's own do nothing
    lacking = [each for each in given if getattr(type(module), each) is getattr(lightning.LightningModule, each)]
    lacking += [each for each in ("vocabularies", "adapt") if not hasattr(module, each)]
    if lacking:
        raise ValueError(f"model: {name} has no {', '.join(lacking)}; engine.models.Learner says what each is")
    return module


def final_checkpoint(folder: Path) -> dict[str, Any]:
    """What a finished job left."""
    state: dict[str, Any] = torch.load(folder / "checkpoint.ckpt", map_location="cpu", weights_only=True)
    return state


def last_checkpoint(folder: Path) -> dict[str, Any] | None:
    """What an unfinished job left, if anything."""
    path = folder / "last.ckpt"
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def load(module: Any, checkpoint: Any) -> None:
    """Put the weights of a checkpoint into the model."""
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"])


def inherit(module: Any, parent: dict[str, Any], spec: JobSpec) -> None:
    """Start from the champion's weights. Raises ValueError when they are another model's."""
    try:
        load(module, parent)
    except (KeyError, RuntimeError) as error:
        raise ValueError(
            f"model: {spec.model['_target_']} cannot start from the champion's weights, which look like another model's "
            f"({' '.join(str(error).split())[:200]}); train it from nothing once, with `strategy=cold`"
        ) from error
