"""What the first released model would have answered, had nobody retrained it: the line that the live one is held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from engine import evaluate, wiring
from engine.contracts import learning
from engine.data import table
from engine.ledger import Ledger
from engine.ledger.codec import decode
from engine.ledger.rows import Cycle

Metrics = dict[str, float]


def left_alone(ledger: Ledger, stream: str, models: Path) -> Callable[[Sequence[Cycle]], dict[str, Metrics]] | None:
    """Scores cycles with the first released version's graph in the model repository `models`; None when it is not kept there.

    A window whose file is gone, or has not the columns of that time, is left out.
    """
    done = [row for row in ledger.releases(stream) if row.state == "done" and row.cycle]
    if not done or done[0].cycle is None:
        return None
    graph = models / stream / str(done[0].version) / "model.onnx"
    recorded = ledger.step(done[0].cycle, "configuration")
    if recorded is None or not graph.exists():
        return None
    settings = decode(dict[str, Any], recorded.result)["stream"]
    schema = wiring.schema(settings)
    # Without the checks of one's own of that time, which may be gone by now and say nothing about limits.
    contract = wiring.contract(settings | {"contract": settings["contract"] | {"checks": []}}, schema)
    within = contract.within(schema, learning.remembered(ledger, stream, contract.learn))

    def scores(cycles: Sequence[Cycle]) -> dict[str, Metrics]:
        found: dict[str, Metrics] = {}
        labelled = ledger.labelled(stream)
        for cycle in cycles:
            try:
                rows = table.labelled(labelled[cycle.id].window if cycle.id in labelled else cycle.window, schema, within)
                arrays, truth = table.inputs(rows, schema), table.target(rows, schema).reshape(-1)
            except (OSError, ValueError, pl.exceptions.PolarsError):
                continue
            said = evaluate.predict(graph, arrays, schema.target)
            found[cycle.id] = evaluate.score(truth, said, schema.task).metrics
        return found

    return scores
