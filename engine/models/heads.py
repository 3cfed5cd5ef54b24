"""The last layer for each task: from the members' features to one answer, and the loss that trains it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from engine.nouns import Schema


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

    @property
    def adapted(self) -> bool:
        """Whether it was standardised before, here or in the checkpoint that it was loaded from."""
        return bool(self.mean != 0 or self.deviation != 1)

    @torch.no_grad()
    def adapt(self, target: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        """Standardise by these targets from now on; every prediction stays what it was."""
        adapted, mean, deviation = self.adapted, self.mean.clone(), self.deviation.clone()
        self.mean[0] = float(target.mean())
        self.deviation[0] = float(target.std()) or 1.0
        if adapted:
            self.weight.copy_(self.weight * (deviation / self.deviation))
            self.bias.copy_((self.bias * deviation + mean - self.mean) / self.deviation)

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


class Multiclass(Head):
    """Log loss over several classes; the answer is one probability a class, averaged over the members.

    Raw outputs are `[rows, members, classes]`, answers `[rows, classes]`.
    """

    def __init__(self, members: int, width: int, classes: int) -> None:
        super().__init__(members, width)
        self.weight = nn.Parameter(torch.empty(members, width, classes).uniform_(-(width**-0.5), width**-0.5))
        self.bias = nn.Parameter(torch.zeros(members, classes))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """One raw output per member and class."""
        return torch.einsum("rmw,mwk->rmk", features, self.weight) + self.bias

    def predict(self, raw: torch.Tensor) -> torch.Tensor:
        """The members' mean probabilities, float32 `[rows, classes]`."""
        return torch.softmax(raw, dim=2).mean(dim=1)

    def loss(self, raw: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The log loss; targets are the places of the classes."""
        wanted = target.to(torch.int64).expand(-1, raw.shape[1])
        return nn.functional.cross_entropy(raw.flatten(0, 1), wanted.flatten())


def head(schema: Schema, members: int, width: int) -> Head:
    """The head for a schema's task."""
    if schema.task == "regression":
        return Regression(members, width)
    if schema.task == "binary":
        return Binary(members, width)
    if len(schema.classes) < 2:
        raise ValueError("a multiclass task needs its classes by name: give them in `stream.classes`")
    return Multiclass(members, width, len(schema.classes))
