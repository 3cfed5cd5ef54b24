"""The rows of a fine-tune: which windows are read, what is fitted, what stops it, what judges it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from engine.data import table
from engine.intact import WindowLost
from engine.nouns import JobSpec, Window
from engine.strategies import Floats, Strategy


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a job, past ones first, then the fresh ones to fit on; those held out stay apart.

    `windows` are the ids of the windows read, oldest first, and `left_out` those that are lost (digest → why); `ages` are those
    of the fitted rows, as in `Strategy.draw`. `unlabelled` counts the rows that were read and left out, having no target that can
    be learnt from.
    """

    windows: tuple[str, ...]
    left_out: dict[str, str]
    fitted: pl.DataFrame
    ages: Floats
    fresh: int
    stop: pl.DataFrame
    judge: pl.DataFrame
    unlabelled: int


def rows_of(spec: JobSpec, strategy: Strategy) -> Rows:
    """Read them. Raises WindowLost when the latest window is lost, ValueError when there is nothing to fit on."""
    left_out: dict[str, str] = {}

    def readable(windows: Sequence[Window]) -> Iterator[tuple[Window, pl.DataFrame]]:
        for window in windows:
            try:
                yield window, table.labelled(window, spec.schema, spec.within)
            except WindowLost as lost:
                if window == spec.fresh[-1]:
                    raise
                left_out[window.digest] = f"{window.id}: {lost.why}"

    past = list(readable(spec.past[-strategy.windows :] if strategy.windows else ()))
    recent = list(readable(spec.fresh))
    fresh = table.in_order([frame for _, frame in recent], spec.schema)
    fit, stop, judge = table.slices(fresh.height, spec.slices)
    if not len(fit):
        raise ValueError(f"{names_of(spec)}: no rows to fit on")
    frames = [frame for _, frame in past]
    counts = [frame.height for _, frame in (*past, *recent)]
    ages = [len(counts) - number - np.arange(1, count + 1) / count for number, count in enumerate(counts)]
    fitted = pl.concat([*frames, fresh[: fit.stop]], how="vertical_relaxed")
    return Rows(
        windows=tuple(window.id for window, _ in (*past, *recent)),
        left_out=left_out,
        fitted=fitted,
        ages=np.concatenate(ages)[: fitted.height],
        fresh=len(fit),
        stop=fresh[stop.start : stop.stop],
        judge=fresh[judge.start : judge.stop],
        unlabelled=sum(window.rows - frame.height for window, frame in (*past, *recent)),
    )


def names_of(spec: JobSpec) -> str:
    """The fresh windows, for messages."""
    return ", ".join(window.id for window in spec.fresh)
