"""Golden rows: inputs and the outputs they must give, kept beside a model so that any server can be held to them.

One `.npz` without pickled objects: `in.NAME` and `out.NAME`, each with the batch axis first, strings as fixed-width Unicode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.generic]]
FILE = "golden.npz"


@dataclass(frozen=True, slots=True)
class Golden:
    """`inputs` and `outputs` by the names that the model gives them."""

    inputs: Arrays
    outputs: Arrays

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.inputs.values())))

    def save(self, path: Path) -> None:
        """Write the file. Missing strings are stored as "", which is what a server is sent for them."""
        arrays = {f"in.{name}": _stored(array) for name, array in self.inputs.items()}
        arrays |= {f"out.{name}": _stored(array) for name, array in self.outputs.items()}
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Golden:
        """Read what `save` wrote."""
        inputs: dict[str, NDArray[np.generic]] = {}
        outputs: dict[str, NDArray[np.generic]] = {}
        with np.load(path, allow_pickle=False) as arrays:
            for key in arrays.files:
                side, _, name = key.partition(".")
                (inputs if side == "in" else outputs)[name] = arrays[key]
        return cls(inputs, outputs)


def _stored(array: NDArray[np.generic]) -> NDArray[np.generic]:
    if array.dtype != object:
        return array
    text = ["" if value is None else str(value) for value in array.ravel().tolist()]
    return np.array(text, dtype=np.str_).reshape(array.shape)
