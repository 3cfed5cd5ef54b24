"""Ours, from the raw column to the statistic: the engine's Profile of it, over the edges of the reference's, and `measure`.

Ready of the reference is its Profile, of dates their sorted values too. The current column is what the peer gets (`arrays`:
objects as pandas 2 holds them, bool or datetime64), whose conversion to polars is timed, or a polars Series (`polars`), as
Parquet is read.
"""

from __future__ import annotations

from typing import Any

import polars as pl

import kernels
from benchmarks.peers.answering import Call, answer
from benchmarks.peers.categories.columns import COLUMNS, raw
from engine.columns import holds, number
from engine.drift import measure
from engine.profile import Profile
from engine.profiling import counted
from kernels import suite

EXACT = "kolmogorov_smirnov"


def statistics(reference: Any, current: Any) -> dict[str, Call]:
    """Calls `FORM COLUMN: STATISTIC`, of all that the suite has for such a column."""
    calls: dict[str, Call] = {}
    before, after = raw(reference), raw(current)
    for column in COLUMNS:
        name, kept = column.name, profile(series(column.name, before[column.name]))
        names = suite.CATEGORIES if column.kind == "words" else suite.NUMBERS
        for form, values in (("arrays", after[name]), ("polars", series(name, after[name]))):
            calls |= {f"{form} {name}: {statistic}": of(kept, name, values, statistic) for statistic in names}
            calls[f"{form} {name}: all"] = of(kept, name, values, *names)
            if column.kind == "date":
                ordered = kernels.sort_columns(number(series(name, before[name]))[:, None])[0]
                calls[f"{form} {name}: {EXACT}"] = exact(ordered, name, values)
    return calls


def of(kept: Profile, name: str, values: Any, *statistics: str) -> Call:
    """The statistics of the current column; one that is asked for alone is the only value that comes back."""

    def run() -> dict[str, Any]:
        (found,) = measure(kept, profile(series(name, values), kept), statistics, statistics)
        wanted = {statistic: [found.measures[statistic].value] for statistic in statistics}
        return wanted if len(statistics) > 1 else {"value": wanted[statistics[0]]}

    return run


def exact(ordered: Any, name: str, values: Any) -> Call:
    """Kolmogorov-Smirnov over every value: a sort and a merge."""
    return lambda: {"value": kernels.ks_wasserstein(ordered, kernels.sort_columns(number(series(name, values))[:, None])[0])[:1]}


def series(name: str, values: Any) -> pl.Series:
    """A column of polars. Objects go through a list: of an array that begins with None polars makes no text."""
    is_text = not isinstance(values, pl.Series) and values.dtype.kind == "O"
    return pl.Series(name, values.tolist(), pl.String) if is_text else pl.Series(name, values)


def profile(values: pl.Series, reference: Profile | None = None) -> Profile:
    """Of one column, over the reference's edges or its own quantiles."""
    frame, kinds = values.to_frame(), {values.name: holds(values.name, values.dtype)}
    return counted(lambda names: [frame.select(names)], len(values), kinds, None if reference is None else reference.edges)


if __name__ == "__main__":
    answer(statistics)
