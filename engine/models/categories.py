"""Categories as embeddings whose vocabularies only grow.

Code 0 is every string that is not in the vocabulary, code 1 is "" (missing), and the words follow in the order in which they were
first seen. A code is never given to another word. While training, a small share of codes is dropped to 0, so that the unknown's
embedding is an average that can answer, and a word that is new starts from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

SMALLEST = 16


def capacity(codes: int) -> int:
    """Rows of a table for so many codes: a power of two with a quarter to spare, so that shapes, and with them the exported
    graph, rarely change.

    >>> [capacity(n) for n in (2, 12, 13, 14, 100)]
    [16, 16, 32, 32, 128]
    """
    return max(SMALLEST, 1 << int(np.ceil(np.log2(codes * 1.25))))


class CategoryEncoder(nn.Module):
    """int64 codes, one tensor `[rows, 1]` per column → float32 `[rows, columns × size]`.

    `dropout` is the share of codes that training replaces by the unknown. Beyond `most_words` a column takes no new words.
    """

    def __init__(self, columns: tuple[str, ...], size: int = 8, dropout: float = 0.01, most_words: int = 1 << 20) -> None:
        super().__init__()
        self.size, self.dropout, self.most_words = size, dropout, most_words
        self.vocabularies: dict[str, list[str]] = {column: [""] for column in columns}
        self.tables = nn.ParameterList(nn.Parameter(torch.randn(SMALLEST, size) * 0.1) for _ in columns)

    @property
    def width(self) -> int:
        """Features out, per row."""
        return len(self.tables) * self.size

    @torch.no_grad()
    def grow(self, strings: dict[str, np.ndarray[Any, np.dtype[Any]]]) -> None:
        """Add the words of `strings` that are new, each starting from the unknown's embedding."""
        for number, (column, words) in enumerate(self.vocabularies.items()):
            known = set(words)
            new = sorted({word for word in strings[column].ravel() if word not in known})[: self.most_words - len(words)]
            if not new:
                continue
            first = len(words) + 1
            words.extend(new)
            self.resize(number, capacity(len(words) + 1))
            self.tables[number][first : first + len(new)] = self.tables[number][0]

    @torch.no_grad()
    def resize(self, number: int, rows: int) -> None:
        """Make room for `rows` codes in a column's table, keeping what is there."""
        table = self.tables[number]
        if rows > len(table):
            spare = table[:1].expand(rows - len(table), -1)
            self.tables[number] = nn.Parameter(torch.cat([table, spare]))

    def restore(self, vocabularies: Mapping[str, list[str]]) -> None:
        """Take the words of a checkpoint back, and make the tables large enough for the weights that follow."""
        for number, (column, words) in enumerate(vocabularies.items()):
            self.vocabularies[column][:] = words
            self.resize(number, capacity(len(words) + 1))

    def forward(self, codes: list[torch.Tensor]) -> torch.Tensor:
        """Look the codes up, one after the other in the features."""
        if self.training and self.dropout:
            codes = [code * (torch.rand_like(code, dtype=torch.float32) >= self.dropout) for code in codes]
        looked_up = nn.functional.embedding  # one Gather in the exported graph, which may then grow
        return torch.cat([looked_up(code.squeeze(1), table) for table, code in zip(self.tables, codes, strict=True)], dim=1)
