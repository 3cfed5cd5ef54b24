"""Limits learnt from a stream's own quiet windows: how large an effect is here when nothing is wrong.

One limit for all columns is too low for those that breathe with the weekday and too high for those that never move. A stream
that is never quite still tells by itself how far each column goes on good days; the limit is put where an effect would come on
one good day in a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.nouns import DriftReport

TAIL = 0.2  # the share of the effects that says how the largest ones fall off


@dataclass(frozen=True)
class QuietLimits:
    """Learns a limit on a column's effect from the windows in which no column was called drifted.

    windows  quiet windows that are needed; before, the floor is the limit
    newest   how many of them count: what was quiet a year ago is not asked
    rate     share of quiet windows whose effect may be over the limit, before slack
    slack    the limit is this many times what the effects say, as good days to come may differ from those seen
    ceiling  in floors: no limit is ever over it. Effects that rise slowly are never called drift and lift their own limit; the
             ceiling is where that ends

    The rule: the effects over their 80% quantile fall off exponentially, at the mean by which they exceed it; where that tail
    reaches `rate` is the limit, or the largest effect seen if that is more. With slack, and between the floor and the ceiling.

    An exponential tail is what effects over many bins have. A limit that was learnt promises no more than its rate, window by
    window and about: for a promise over the whole stream take `engine.alarms.anytime`.

    Source: Pickands, "Statistical inference using extreme order statistics", 1975; Weissman, "Estimation of parameters and large
    quantiles based on the k largest observations", 1978.

    >>> QuietLimits(windows=5).limit([0.10, 0.12, 0.11, 0.13, 0.16], floor=0.05)
    0.15000000000000002
    >>> round(QuietLimits(windows=5, ceiling=10).limit([0.10, 0.12, 0.11, 0.13, 0.16], floor=0.05), 4)
    0.3158
    """

    windows: int = 20
    newest: int = 200
    rate: float = 0.001
    slack: float = 1.2
    ceiling: float = 3.0

    def limit(self, effects: Sequence[float], floor: float) -> float:
        """The limit of a column whose quiet windows had these effects, oldest first. Effects that are no numbers do not count."""
        seen = np.array([effect for effect in effects if math.isfinite(effect)][-self.newest :])
        if seen.size < self.windows:
            return floor
        start = float(np.quantile(seen, 1 - TAIL))
        excess = float(np.mean(seen[seen >= start] - start))
        reached = max(start + excess * math.log(TAIL / self.rate), float(seen.max()))
        return min(max(self.slack * reached, floor), self.ceiling * floor)

    def limits(self, reports: Sequence[DriftReport], floors: Mapping[str, float]) -> dict[str, float]:
        """The limits of the columns in `floors` after these windows, oldest first. A window that drifted is passed over whole.

        An effect counts when it is the one that is measured now, by name: one is no measure of another.
        """
        quiet = [report for report in reports if not report.drifted]
        now = {column.column: column.effect_name for column in reports[-1].columns} if reports else {}
        effects: dict[str, list[float]] = {name: [] for name in floors}
        for report in quiet:
            for column in report.columns:
                if column.column in effects and column.effect_name == now.get(column.column):
                    effects[column.column].append(column.effect)
        return {name: self.limit(effects[name], floor) for name, floor in floors.items()}
