"""Numbers as a network likes them: bins, a robust scale with log tails, and a flag for missing.

Each column becomes `bins + 2` features: a piecewise-linear encoding on its quantiles (Gorishniy, Rubachev, Babenko, "On
Embeddings for Numerical Features in Tabular Deep Learning", 2022), its distance from the median in robust standard deviations,
linear up to one and logarithmic beyond, and 1 where it is missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

FAR = 1e4
"""Distances from the median are told apart up to this many robust deviations; anything beyond, ±inf too, counts as that far."""

LARGEST = 1e150
"""Values are fitted up to this size, and differences down to its inverse: beyond, squares and ratios leave float64."""


class NumberEncoder(nn.Module):
    """float64 `[rows, columns]` → float32 `[rows, columns × (bins + 2)]`.

    All differences are taken in float64, so that identifiers and epoch times keep their digits; only the result is cast.
    """

    def __init__(self, columns: int, bins: int = 16) -> None:
        super().__init__()
        self.columns, self.bins = columns, bins
        self.center: torch.Tensor
        self.scale: torch.Tensor
        self.low: torch.Tensor
        self.slope: torch.Tensor
        self.register_buffer("center", torch.zeros(columns, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(columns, dtype=torch.float64))
        self.register_buffer("low", torch.zeros(columns, bins, dtype=torch.float64))
        self.register_buffer("slope", torch.zeros(columns, bins, dtype=torch.float64))

    @property
    def width(self) -> int:
        """Features out, per row."""
        return self.columns * (self.bins + 2)

    def refit(self, values: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        """Take medians, scales and bins from `values`, `[rows, columns]`. A column without a finite value keeps what it has."""
        for column in range(self.columns):
            known = values[:, column][np.isfinite(values[:, column])].clip(-LARGEST, LARGEST)
            if len(known) == 0:
                continue
            edges = np.quantile(known, np.linspace(0, 1, self.bins + 1))
            center, quartiles = np.median(known), np.quantile(known, (0.25, 0.75))
            # Half of the values may be one value; then the deviation measures the others, and a constant is measured in ones.
            scale = (quartiles[1] - quartiles[0]) / 1.349 or known.std() or 1.0
            scale = max(scale, 1 / LARGEST)
            edges = np.unique(edges)
            low = np.full(self.bins, edges[-1])
            slope = np.zeros(self.bins)
            low[: len(edges) - 1] = edges[:-1]
            slope[: len(edges) - 1] = 1 / np.maximum(np.diff(edges), 1 / LARGEST)
            for buffer, new in ((self.center, center), (self.scale, scale), (self.low, low), (self.slope, slope)):
                buffer[column] = torch.as_tensor(new, dtype=torch.float64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode raw values; NaN is missing: all its bins are 0, as if it were the median otherwise."""
        missing = torch.isnan(x)
        x = torch.where(missing, self.center, x)
        reach = FAR * self.scale
        x = torch.minimum(torch.maximum(x, self.center - reach), self.center + reach)
        z = (x - self.center) / self.scale
        distance = z.abs()
        z = torch.where(distance <= 1, z, z.sign() * (1 + torch.log(distance.clamp(min=1))))
        bins = ((x.unsqueeze(2) - self.low) * self.slope).clamp(0, 1)
        bins = torch.where(missing.unsqueeze(2), 0.0, bins)
        return torch.cat([bins.flatten(1), z, missing.to(z.dtype)], dim=1).to(torch.float32)
