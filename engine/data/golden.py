"""Golden rows: raw inputs with the outputs that the checkpoint gave for them, to hold every copy of a model against.

The file is `serving.golden`'s, the inputs as `engine.data.table.inputs` makes them. Beside real rows there are edge rows: what
goes wrong in production first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.data.table import Arrays
from serving.golden import Golden

ROWS = 64
UNSEEN = "\N{REPLACEMENT CHARACTER} never seen"


def rows(inputs: Arrays) -> Arrays:
    """At most `ROWS` rows spread evenly over `inputs`, and the first four times: missing, unseen, +inf, -inf where it fits."""
    count = len(next(iter(inputs.values())))
    if count == 0:
        raise ValueError("golden rows need at least one row to start from")
    spread = np.unique(np.linspace(0, count - 1, ROWS).astype(np.int64))
    chosen = {}
    for name, array in inputs.items():
        edges = np.repeat(array[:1], 4, axis=0)
        if array.dtype == object:
            edges[:, 0] = ["", UNSEEN, "", UNSEEN]
        elif array.dtype == np.float64:
            edges[:] = np.array([[np.nan], [np.nan], [np.inf], [-np.inf]])
        chosen[name] = np.concatenate([array[spread], edges])
    return chosen


def write(path: Path, inputs: Arrays, outputs: Arrays) -> None:
    """Write the file that goes into the version folder."""
    Golden(inputs, outputs).save(path)


def read(path: Path) -> tuple[Arrays, Arrays]:
    """Inputs, strings as objects again, and outputs."""
    golden = Golden.load(path)
    inputs = {name: array.astype(object) if array.dtype.kind == "U" else array for name, array in golden.inputs.items()}
    return inputs, dict(golden.outputs)
