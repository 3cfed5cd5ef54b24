"""Charts as text: SVG that stretches to whatever is free, with labels in HTML, so that letters keep their size on any screen.

Every chart over windows has one column of width 1 for each; charts below one another share that axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import zip_longest

HEIGHT = 100.0  # of every plot, in its own units
SHADES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.5)  # of effect over limit, in the heat map of drift
Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart. `look` is its class in the style sheet; `titles` show under the pointer."""

    name: str
    look: str
    values: Values
    titles: Sequence[str]
    dots: bool = False


def lines(found: Sequence[Line], limit: float | None = None) -> str:
    """Lines over the windows, with a scale at the left and, if there is one, a limit."""
    values = [v for line in found for v in line.values if v is not None] + ([limit] if limit is not None else [])
    if not values:
        return '<p class="none">no window was measured yet</p>'
    ticks = scale(min(values), max(values))
    low, high = ticks[0], ticks[-1]

    def y(value: float) -> float:
        return HEIGHT * (1 - (value - low) / (high - low))

    count = max(len(line.values) for line in found)
    drawn = [f'<path class="grid" d="M0 {y(t):.2f}H{count}"/>' for t in ticks]
    if limit is not None:
        drawn.append(f'<path class="limit" d="M0 {y(limit):.2f}H{count}"><title>limit {limit:g}</title></path>')
    for line in found:
        drawn += _line(line, [None if v is None else y(v) for v in line.values])
    labels = "".join(f'<span style="top:{y(t):.2f}%">{t:g}</span>' for t in ticks)
    return f'<div class="scale">{labels}</div>{_plot(drawn, count, "plot")}'


def _line(line: Line, heights: Values) -> list[str]:
    path, dots, before = [], [], False
    for i, (height, title) in enumerate(zip(heights, line.titles, strict=True)):
        if height is not None:
            path.append(f"{'L' if before else 'M'}{i + 0.5:g} {height:.2f}{'' if before else 'h0'}")
            dots.append(f'<path class="{"dot" if line.dots else "spot"}" d="M{i + 0.5:g} {height:.2f}h0">{_title(title)}</path>')
        before = height is not None
    drawn = [] if line.dots else [f'<path class="line" d="{"".join(path)}"/>']
    return [f'<g class="{line.look}">', *drawn, *dots, "</g>"]


def strip(looks: Sequence[str], titles: Sequence[str]) -> str:
    """One cell a window, each in the look of what happened."""
    cells = [
        f'<rect class="{look}" x="{i + 0.08:g}" y="0" width="0.84" height="{HEIGHT:g}">{_title(title)}</rect>'
        for i, (look, title) in enumerate(zip(looks, titles, strict=True))
        if look
    ]
    return _plot(cells, len(looks), "strip")


def spans(values: Sequence[int | None], what: str) -> str:
    """Runs of the same number as blocks, each labelled where there is room."""
    blocks, start = [], 0
    for end in range(1, len(values) + 1):
        if end == len(values) or values[end] != values[start]:
            if values[start] is not None:
                share = 100 * (end - start) / len(values)
                label = f"<b>{values[start]}</b>" if share >= 2.4 else ""
                wide = " wide" if share >= 7 else ""
                blocks.append(
                    f'<span class="span{wide}" style="left:{100 * start / len(values):.3f}%;width:{share:.3f}%" '
                    f'title="{what} {values[start]}: {end - start} windows">{label}</span>'
                )
            start = end
    return f'<div class="spans">{"".join(blocks)}</div>'


def heat(
    values: Values,
    titles: Sequence[str],
    shades: Sequence[float] = SHADES,
    marked: Sequence[bool] = (),
    pale: Sequence[bool] = (),
) -> str:
    """One row of a heat map, a cell a window, the warmer the more `shades` its value reaches; marked ones have a dot."""
    looks = ["" if v is None else f"h{sum(v >= shade for shade in shades)}" for v in values]
    looks = [f"{look} pale" if look and faint else look for look, faint in zip_longest(looks, pale)]
    cells = [
        f'<rect class="{look}" x="{i}" y="0" width="1.02" height="{HEIGHT:g}">{_title(title)}</rect>'
        for i, (look, title) in enumerate(zip(looks, titles, strict=True))
        if look
    ]
    dots = [f'<path class="mark" d="M{i + 0.5:g} {HEIGHT / 2:g}h0"/>' for i, mark in enumerate(marked) if mark]
    return _plot([*cells, *dots], len(values), "heat")


def axis(names: Sequence[str], most: int = 8) -> str:
    """The names of some windows under a chart; every other one goes where it is narrow."""
    if not names:
        return ""
    step = max(1, math.ceil(len(names) / most))
    marks = []
    for n, i in enumerate(range(0, len(names), step)):
        left = 100 * (i + 0.5) / len(names)
        marks.append(f'<span class="{"minor" if n % 2 else "major"}" style="left:{left:.3f}%">{escape(names[i])}</span>')
    return f'<div class="axis">{"".join(marks)}</div>'


def bar(share: float) -> str:
    """A bar of a table cell, as a share of its full length."""
    return f'<div class="bar"><i style="width:{100 * min(max(share, 0.0), 1.0):.2f}%"></i></div>'


def scale(low: float, high: float) -> list[float]:
    """Three to seven round numbers that span the values; from zero where that wastes less than half of the room.

    >>> scale(7.2, 18.9)
    [0.0, 5.0, 10.0, 15.0, 20.0]
    >>> scale(0.96, 0.99)
    [0.96, 0.97, 0.98, 0.99]
    """
    if 0 < low <= high / 2:
        low = 0.0
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * k, 12) for k in range(first, max(last, first + 1) + 1)]


def _plot(drawn: Sequence[str], count: int, look: str) -> str:
    box = f"0 0 {max(count, 1)} {HEIGHT:g}"
    return f'<svg class="{look}" viewBox="{box}" preserveAspectRatio="none" role="img">{"".join(drawn)}</svg>'


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>"
