"""The panel of the slices: where the live model is worse than on all rows of a window, and how far apart the groups are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from engine import metrics
from engine.nouns import Score
from engine.page import charts
from engine.page.charts import Line
from engine.page.history import History

LOSSES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)  # of a slice against all rows, between the shades of its cell
ROWS = 14  # of one column, the worst ones


@dataclass
class _Row:
    """A slice over the windows: what it loses against all rows, a title, and where it is the worst or has few rows."""

    value: str
    losses: list[float | None]
    titles: list[str]
    worst: list[bool]
    few: list[bool]
    rows: list[int] = field(default_factory=list)

    @property
    def typical(self) -> float:
        """The mean loss over the windows in which the slice has rows enough, weighted by them."""
        found = [(v, n) for v, n, few in zip(self.losses, self.rows, self.few, strict=True) if v is not None and not few]
        return sum(v * n for v, n in found) / sum(n for _, n in found) if found else -math.inf


def panel(history: History) -> str:
    """One section; nothing for a stream that is not sliced."""
    scores = [e.live.score if e.live else None for e in history.windows]
    names = [e.cycle.window.id for e in history.windows]
    columns = dict.fromkeys(s.column for score in scores if score for s in score.slices)
    if history.metric is None or not columns:
        return ""
    ramp = "".join(f'<i class="h{n}"></i>' for n in range(len(LOSSES) + 1))
    far = f"twice the {escape(history.metric)}" if metrics.named(history.metric).relative else "50 points worse"
    return (
        f"\n<section><h2>Slices: {escape(history.metric)}, group by group</h2><p>The live model on each group against all rows "
        "of the same window, before anybody trained on them; the groups with the greatest loss first. The line is the gap: the "
        "largest minus the smallest value of the groups with rows enough.</p>"
        f"{''.join(_column(column, scores, names, history.metric) for column in columns)}"
        f'<div class="legend"><span>as good as all rows, or better</span><span class="ramp">{ramp}</span>'
        f'<span>{far} or more</span><span><i class="key-mark"></i>the worst group of its window</span>'
        "<span>pale: few rows</span></div></section>"
    )


def _column(column: str, scores: Sequence[Score | None], names: Sequence[str], metric: str) -> str:
    rows = sorted(_rows(column, scores, names, metric), key=lambda row: -row.typical)
    drawn = [
        f'<label title="{escape(column)}={escape(row.value)}">{escape(row.value)}</label>'
        f"{charts.heat(row.losses, row.titles, LOSSES, row.worst, row.few)}"
        for row in rows[:ROWS]
    ]
    more = f'<p class="soft">and {len(rows) - ROWS} groups that lose less</p>' if len(rows) > ROWS else ""
    return (
        f'<h3>{escape(column)}</h3><div class="chart low">{"<div class=hair></div>".join(drawn)}<div class="gap"></div>'
        f"{charts.lines([_gap(column, scores, names, metric)])}{charts.axis(names)}</div>{more}"
    )


def _rows(column: str, scores: Sequence[Score | None], names: Sequence[str], metric: str) -> list[_Row]:
    found: dict[str, _Row] = {}
    count = len(scores)
    for i, score in enumerate(scores):
        if score is None:
            continue
        whole = score.metrics[metric]
        of_column = Score(score.rows, score.metrics, tuple(s for s in score.slices if s.column == column))
        worst = metrics.worst(of_column, metric)
        for s in of_column.slices:
            fresh = _Row(s.value, [None] * count, [""] * count, [False] * count, [False] * count, [0] * count)
            row = found.setdefault(s.value, fresh)
            loss = -float(metrics.named(metric).gain(np.array(s.metrics[metric]), np.array(whole)))
            row.losses[i] = loss if math.isfinite(loss) else None
            span = f" ({s.span})" if s.span else ""
            row.titles[i] = (
                f"{names[i]}, {column}={s.value}{span}: {metric} {s.metrics[metric]:.4g} on {s.rows:,} rows; "
                f"all {score.rows:,}: {whole:.4g}{'; the worst group' if s is worst else ''}"
            )
            row.worst[i], row.few[i], row.rows[i] = s is worst, not s.enough, s.rows
    return list(found.values())


def _gap(column: str, scores: Sequence[Score | None], names: Sequence[str], metric: str) -> Line:
    values: list[float | None] = []
    titles = []
    shown = (metric, *metrics.DIFFERENCES.values())
    for name, score in zip(names, scores, strict=True):
        gaps = [gap for gap in metrics.gaps(score) if gap.column == column and gap.name in shown] if score else []
        own = next((gap for gap in gaps if gap.name == metric and math.isfinite(gap.value)), None)
        values.append(own.value if own else None)
        words = (f"{gap.name} {gap.value:.4g} apart, from {gap.lowest} to {gap.highest}" for gap in gaps)
        titles.append(f"{name}, {column}: {'; '.join(words)}")
    return Line("gap", "live", values, titles)
