"""The page of two tables compared: every column with its two distributions drawn, the furthest from its limit first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files

import numpy as np

from engine.comparison import Comparison, Vectors, seen, seen_vectors
from engine.nouns import ColumnDrift, Measure
from engine.page.charts import HEIGHT
from engine.profile import F64, SAMPLE, SEGMENT_SAMPLE, Profile

BARS = 40  # of equal width, of a number's distribution
VALUES = 12  # of a category; rarer ones are one bar
DRAWN = 300  # columns; of a table with more, only the furthest


def page(found: Comparison) -> str:
    """The whole document."""
    style = (files("engine.page") / "style.css").read_text()
    columns = furthest_first(found.report.columns)
    cards = "".join(_card(found, column) for column in columns[:DRAWN])
    more = (
        f'<p class="none">{len(columns) - DRAWN:,} columns that are less far away are not drawn.</p>'
        if len(columns) > DRAWN
        else ""
    )
    title = f"{found.current} against {found.reference}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)} – warmstart</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{style}</style></head>\n<body><main>{_head(found, columns)}{_whole(found)}"
        f"{''.join(_vectors(name, each) for name, each in found.vectors.items())}"
        f'<div class="cards">{cards}</div>{more}\n'
        "<footer>Written by <b>warmstart drift --reference A --current B --html FILE</b>. "
        f"Point at a bar to read its share. Numbers are drawn from at most {SAMPLE:,} values of a side, {SEGMENT_SAMPLE:,} in a "
        "segment; the last bars hold what lies beyond the lowest and highest 0.2%.</footer></main></body></html>\n"
    )


def furthest_first(columns: Sequence[ColumnDrift]) -> list[ColumnDrift]:
    """The columns by their effect as a share of its limit; what could not be measured last."""
    return sorted(columns, key=lambda c: -(c.effect / c.limit if c.limit and not math.isnan(c.effect) else -1.0))


def _head(found: Comparison, columns: Sequence[ColumnDrift]) -> str:
    whole = [c for c in columns if not c.segment]
    drifted, parts = [c for c in whole if c.drifted], [c for c in columns if c.segment and c.drifted]
    names = ", ".join(c.column for c in drifted[:5]) + (f" and {len(drifted) - 5} more" if len(drifted) > 5 else "")
    state = f"{len(drifted)} of {len(whole)} columns drifted" + (f": {names}." if drifted else ".")
    if len(columns) > len(whole):
        state += f" In segments {len(parts)} of {len(columns) - len(whole)} did."
    tiles = [
        ("rows of the reference", f"{found.report.rows_reference:,}"),
        ("rows compared with it", f"{found.report.rows_current:,}"),
        ("columns", f"{len(whole):,}"),
        ("drifted", f"{len(drifted):,}"),
    ]
    shown = "".join(f'<div class="tile"><span>{escape(k)}</span><b>{escape(v)}</b></div>' for k, v in tiles)
    notes = "".join(f'<div class="alert">{escape(note)}</div>' for note in found.notes)
    notes += "".join(f'<p class="soft">{escape(note[:1].upper() + note[1:])}.</p>' for note in found.report.notes)
    return (
        f'\n<header><h1>{escape(found.current)}</h1><p class="state">{escape(state)}</p>'
        f'<p class="soft">Against {escape(found.reference)}.</p>{notes}</header><div class="tiles">{shown}</div>'
    )


def _whole(found: Comparison) -> str:
    said = "".join(f'<p class="soft">{escape(line[:1].upper() + line[1:])}.</p>' for line in seen(found))
    if not found.whole:
        return f"\n<section><h2>The table as a whole</h2>{said}</section>"
    return (
        "\n<section><h2>The table as a whole</h2><p>Changes that no column shows by itself: in how columns go together.</p>"
        f"{said}{_measures(found.whole)}</section>"
    )


def _card(found: Comparison, column: ColumnDrift) -> str:
    limit = f", limit {column.limit:g}" if column.limit else ""
    interval = "" if math.isnan(column.low) else f" ({_g(column.low)} to {_g(column.high)})"
    q = _g(column.q_value) if column.q_value else "< 1e-300"
    said = f"{column.effect_name} {_g(column.effect)}{interval}{limit}; q {q}"
    sides = (found.before, found.after)
    if column.segment:
        sides = (found.before.segments[column.segment], found.after.segments[column.segment])
    chart = (_number if column.column in found.before.numbers else _category)(*sides, column.column)
    badge = '<span class="badge rejected">drifted</span>' if column.drifted else '<span class="badge kept">quiet</span>'
    return (
        f'\n<section class="card"><h2>{escape(column.name)} <small>{badge}</small></h2><p>{escape(said)}</p>{chart}'
        f"<details><summary>{len(column.measures)} statistics</summary>{_measures(column.measures)}</details></section>"
    )


def _vectors(name: str, vectors: Vectors) -> str:
    title, *sides = seen_vectors(name, vectors)
    said = "".join(f'<p class="soft">{escape(line[:1].upper() + line[1:])}.</p>' for line in sides)
    return f"\n<section><h2>{escape(title)}</h2>{said}{_measures(vectors.measures)}</section>"


def _measures(measures: Mapping[str, Measure]) -> str:
    counted = any(m.rows for m in measures.values())
    titles = ("value", "effect", "interval", "p", *(("rows",) if counted else ()))
    named = "".join(f'<th class="n">{name}</th>' for name in titles)
    head = f"<tr><th>statistic</th>{named}</tr>"
    rows = "".join(
        f'<tr><td class="tight">{escape(name.replace("_", " "))}</td>'
        + "".join(f'<td class="n">{cell}</td>' for cell in _cells(m)[: len(titles)])
        + "</tr>"
        for name, m in measures.items()
    )
    return f'<div class="scroll"><table>{head}{rows}</table></div>'


def _cells(m: Measure) -> tuple[str, ...]:
    rows = f"{m.rows[0]:,} and {m.rows[1]:,}" if m.rows else ""
    return _g(m.value), _g(m.effect), f"{_g(m.low)} to {_g(m.high)}", _g(m.p_value), rows


def _number(before: Profile, after: Profile, name: str) -> str:
    told = _date if before.kinds.get(name) == "time" else _g
    samples = [profile.samples[profile.numbers.index(name)] for profile in (before, after)]
    both = np.concatenate(samples)
    if not both.size:
        return '<p class="none">no finite value on either side</p>'
    low, high = np.quantile(both, (0.002, 0.998))
    if not high > low:
        low, high = float(both.min()), float(both.max())
    if not high > low:
        return f'<p class="none">always {told(float(both[0]))}</p>'
    edges = np.linspace(low, high, BARS + 1)
    shares = [np.histogram(sample.clip(low, high), edges)[0] / max(sample.size, 1) for sample in samples]
    top = max(float(share.max()) for share in shares)
    steps = [_steps(share / top) for share in shares]
    spots = "".join(
        f'<rect class="spot" x="{k}" y="0" width="1" height="{HEIGHT:g}"><title>{told(float(edges[k]))} to '
        f"{told(float(edges[k + 1]))}: {shares[0][k]:.1%} of the reference, {shares[1][k]:.1%} now</title></rect>"
        for k in range(BARS)
    )
    missing = [float(p.counts.missing[p.numbers.index(name)]) / max(p.rows, 1) for p in (before, after)]
    gone = f"; missing {missing[0]:.1%}, now {missing[1]:.1%}" if any(missing) else ""
    return (
        f'<svg class="two" viewBox="0 0 {BARS} {HEIGHT:g}" preserveAspectRatio="none" role="img">'
        f'<path class="was" d="{steps[0]}V{HEIGHT:g}H0Z"/><path class="now" d="{steps[1]}"/>{spots}</svg>'
        f'<div class="ends"><span>{told(low)}</span><span>{told(high)}</span></div>{_legend(gone)}'
    )


def _steps(heights: F64) -> str:
    places = [HEIGHT * (1 - float(height)) for height in heights]
    return f"M0 {places[0]:.2f}" + "".join(f"V{place:.2f}H{k + 1}" for k, place in enumerate(places))


def _category(before: Profile, after: Profile, name: str) -> str:
    was, now = before.categories[name], after.categories[name]
    order = sorted({**was, **now}, key=lambda value: -(was.get(value, 0) + now.get(value, 0)))
    rows = [(value or "(missing)", was.get(value, 0), now.get(value, 0)) for value in order[:VALUES]]
    if rest := order[VALUES:]:
        rows.append((f"{len(rest):,} others", sum(was.get(v, 0) for v in rest), sum(now.get(v, 0) for v in rest)))
    totals = max(sum(was.values()), 1), max(sum(now.values()), 1)
    top = max((max(a / totals[0], b / totals[1]) for _, a, b in rows), default=1.0) or 1.0
    bars = "".join(
        f'<label title="{escape(value)}">{escape(value)}</label><div class="both" title="{escape(value)}: '
        f'{a / totals[0]:.1%} of the reference, {b / totals[1]:.1%} now">'
        f'<i class="was" style="width:{100 * a / totals[0] / top:.2f}%"></i>'
        f'<i class="now" style="width:{100 * b / totals[1] / top:.2f}%"></i></div>'
        for value, a, b in rows
    )
    return f'<div class="chart values">{bars}</div>{_legend("")}'


def _legend(more: str) -> str:
    return (
        '<div class="legend"><span><i class="key-first"></i>reference</span><span><i class="key-live"></i>now</span>'
        f"<span>{escape(more.removeprefix('; '))}</span></div>"
    )


def _date(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):  # a duration, or no time that a calendar has
        return _g(seconds)


def _g(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3g}"
