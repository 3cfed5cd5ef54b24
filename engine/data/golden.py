"""Golden rows: raw inputs with the outputs that the checkpoint gave for them, to hold every copy of a model against.

The file `golden.npz` holds arrays `in.NAME` as `engine.data.table.inputs` makes them (strings as fixed-width Unicode, so that
reading needs no pickle) and `out.NAME`. Beside real rows there are edge rows: what goes wrong in production first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.data.table import Arrays

ROWS = 64
UNSEEN = "\N{REPLACEMENT CHARACTER} never seen"


def rows(inputs: Arrays) -> Arrays:
    """At most `ROWS` rows spread evenly over `inputs`, and the first one four times: missing, unseen, +inf, -inf where it fits."""
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
    """Write the file; strings are stored as Unicode."""
    stored = {f"in.{name}": array.astype(np.str_) if array.dtype == object else array for name, array in inputs.items()}
    np.savez(path, allow_pickle=False, **stored, **{f"out.{name}": array for name, array in outputs.items()})


def read(path: Path) -> tuple[Arrays, Arrays]:
    """Inputs, strings as objects again, and outputs."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name].astype(object) if file[name].dtype.kind == "U" else file[name] for name in file.files}
    named = {
        side: {name.removeprefix(side): a for name, a in arrays.items() if name.startswith(side)} for side in ("in.", "out.")
    }
    return named["in."], named["out."]
