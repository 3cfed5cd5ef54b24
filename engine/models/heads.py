"""The last layer for each task: from the members' features to one prediction, and the loss that trains it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from engine.nouns import Task


class Head(nn.Module):
    """`[rows, members, width]` → raw outputs `[rows, members]`; a task's head says what they mean."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, width).uniform_(-(width**-0.5), width**-0.5))
        self.bias = nn.Parameter(torch.zeros(members))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """One raw output per member."""
        return (features * self.weight).sum(dim=2) + self.bias

    def adapt(self, target: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        """Look at the targets `[rows, 1]` before a fit."""

    def predict(self, raw: torch.Tensor) -> torch.Tensor:
        """The members' common answer, float32 `[rows, 1]`."""
        raise NotImplementedError

    def loss(self, raw: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean of the members' own losses against the target, float64 `[rows, 1]`."""
        raise NotImplementedError


class Regression(Head):
    """Squared error on a standardised target.

    The standardisation follows the data, and the layer is rescaled so that no prediction moves when it does: PopArt (van Hasselt
    et al., "Learning values across many orders of magnitude", 2016). Before the first `adapt` it is the identity.
    """

    def __init__(self, members: int, width: int) -> None:
        super().__init__(members, width)
        self.mean: torch.Tensor
        self.deviation: torch.Tensor
        self.register_buffer("mean", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("deviation", torch.ones(1, dtype=torch.float64))
        self.adapted = False

    @torch.no_grad()
    def adapt(self, target: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        """Standardise by these targets from now on; every prediction stays what it was."""
        mean, deviation = self.mean.clone(), self.deviation.clone()
        self.mean[0] = float(target.mean())
        self.deviation[0] = float(target.std()) or 1.0
        if self.adapted:
            self.weight.copy_(self.weight * (deviation / self.deviation))
            self.bias.copy_((self.bias * deviation + mean - self.mean) / self.deviation)
        self.adapted = True

    def predict(self, raw: torch.Tensor) -> torch.Tensor:
        """The members' mean, in the target's own unit."""
        return (raw.mean(dim=1, keepdim=True) * self.deviation + self.mean).to(torch.float32)

    def loss(self, raw: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The squared error in units of the target's variance."""
        wanted = ((target - self.mean) / self.deviation).to(torch.float32)
        return (raw - wanted).square().mean()


class Binary(Head):
    """Log loss; the prediction is the probability of the positive class, averaged over the members."""

    def predict(self, raw: torch.Tensor) -> torch.Tensor:
        """The members' mean probability."""
        return torch.sigmoid(raw).mean(dim=1, keepdim=True)

    def loss(self, raw: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The log loss."""
        wanted = target.to(torch.float32).expand_as(raw)
        return nn.functional.binary_cross_entropy_with_logits(raw, wanted)


def head(task: Task, members: int, width: int) -> Head:
    """The head for a task."""
    heads: dict[Task, type[Head]] = {"regression": Regression, "binary": Binary}
    if task not in heads:
        raise ValueError(
            f"the default model for tables has no head for a {task} task, only for {', '.join(heads)}; bring your own"
        )
    return heads[task](members, width)
