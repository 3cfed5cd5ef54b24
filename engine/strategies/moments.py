"""Continue an optimizer across a warm start: its moments are part of what the champion has learnt."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as lightning
import torch


class Moments(lightning.Callback):
    """Load the champion's optimizer state at the start of a fit; learning rates stay those of the new fit.

    Where a parameter grew, such as an embedding table with new words, its moments are padded with zeros. When the optimizers do
    not match (another kind, or other parameters) every moment starts at zero.
    """

    def __init__(self, optimizer_states: list[dict[str, Any]]) -> None:
        self.optimizer_states = optimizer_states

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Optimizers exist, and the state of an interrupted fit is restored after this: that one wins."""
        for optimizer, stored in zip(trainer.optimizers, self.optimizer_states, strict=False):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            if sum(len(group["params"]) for group in stored["param_groups"]) != len(parameters):
                continue
            state = {}
            for number, parameter in enumerate(parameters):
                if number in stored["state"]:
                    state[number] = {name: _padded(value, parameter) for name, value in stored["state"][number].items()}
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _padded(value: Any, parameter: torch.Tensor) -> Any:
    if not isinstance(value, torch.Tensor) or value.dim() == 0 or value.shape == parameter.shape:
        return value
    padded = torch.zeros(parameter.shape, dtype=value.dtype)
    padded[: len(value)] = value
    return padded
