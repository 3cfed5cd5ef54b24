"""A few networks in one: members share their matrices and differ in cheap per-member scales.

Gorishniy, Kotelnikov, Babenko, "TabM: Advancing Tabular Deep Learning with Parameter-Efficient Ensembling", 2024, after
Wen, Tran, Ba, "BatchEnsemble", 2020.
"""

from __future__ import annotations

import torch
from torch import nn


class SharedLinear(nn.Module):
    """`[rows, members, n]` → `[rows, members, m]`: one matrix; inputs, outputs and bias scaled per member.

    With `diverse` the input scales start as random signs, which is what makes the members differ; elsewhere they start at one.
    """

    def __init__(self, members: int, n: int, m: int, diverse: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(m, n))
        nn.init.uniform_(self.weight, -(n**-0.5), n**-0.5)
        signs = torch.randint(0, 2, (members, n)) * 2.0 - 1
        self.scale_in = nn.Parameter(signs if diverse else torch.ones(members, n))
        self.scale_out = nn.Parameter(torch.ones(members, m))
        self.bias = nn.Parameter(torch.empty(members, m).uniform_(-(n**-0.5), n**-0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer to every member's own features."""
        return nn.functional.linear(x * self.scale_in, self.weight) * self.scale_out + self.bias


class Ensemble(nn.Module):
    """`[rows, n]` → `[rows, members, width]`: two shared layers with ReLU."""

    def __init__(self, members: int, n: int, width: int) -> None:
        super().__init__()
        self.first = SharedLinear(members, n, width, diverse=True)
        self.second = SharedLinear(members, width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give every member the same row."""
        return torch.relu(self.second(torch.relu(self.first(x.unsqueeze(1)))))
