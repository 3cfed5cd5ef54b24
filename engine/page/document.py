"""The page: what a person wants to know first stands first, everything below it in the order of the loop."""

from __future__ import annotations

import math
import time
from html import escape
from importlib.resources import files

from engine.ledger.rows import ReleaseRow
from engine.nouns import Outcome
from engine.page import charts, slices
from engine.page.charts import Line
from engine.page.history import Episode, History
from engine.report import labels_awaited

SHOWN = 40  # lines of the story before the rest is folded away
OUTCOMES = tuple(str(outcome) for outcome in Outcome)


def page(history: History, now: float | None = None) -> str:
    """The whole document. `now` is the moment that it is written, in Unix seconds."""
    style = (files("engine.page") / "style.css").read_text()
    body = "".join(
        [
            _head(history, time.time() if now is None else now),
            _tiles(history),
            _quality(history),
            slices.panel(history),
            _drift(history),
            '<div class="pair">',
            _latency(history),
            _times(history),
            _resources(history),
            "</div>",
            _stages(history),
            _story(history),
        ]
    )
    title = escape(history.stream)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title} – warmstart</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{style}</style></head>\n<body><main>{body}\n"
        f"<footer>Written by <b>warmstart report stream={title}</b> from the ledger. "
        "Point at a mark to read its number.</footer></main></body></html>\n"
    )


# above everything: how it stands


def _head(history: History, now: float) -> str:
    live = history.live
    state = f"Version {live.version} is live since {_clock(live.done or live.asked)}." if live else "Nothing is live yet."
    windows = history.windows
    span = ""
    if windows:
        span = f"{len(windows):,} windows, {windows[0].cycle.window.id} to {windows[-1].cycle.window.id}"
        span += f"; {history.older:,} older cycles are not shown" if history.older else ""
    alerts = [f'<div class="alert">Held: {escape(history.held)}</div>'] if history.held else []
    alerts += [f'<div class="alert">The next window retrains: {escape(reason)}</div>' for reason in history.events]
    for episode in windows:
        cycle = episode.cycle
        if cycle.outcome == Outcome.WAITING:
            alerts.append(f'<div class="alert">Window {escape(cycle.window.id)}: {escape(cycle.reason or "")}</div>')
        if cycle.closed is None and cycle.window.id not in history.unlabelled:
            alerts.append(
                f'<div class="alert">Window {escape(cycle.window.id)} is unfinished: the next start goes on with it.</div>'
            )
    if history.unlabelled:
        alerts.append(f'<div class="alert">{escape(labels_awaited(history.unlabelled))}.</div>')
    closed = [e.cycle for e in windows if e.cycle.closed is not None]
    if closed and (last := closed[-1]).outcome == Outcome.QUARANTINED:
        alerts.append(f'<div class="alert bad">The last window is quarantined: {escape(last.reason or "")}</div>')
    return (
        f'\n<header><h1>{escape(history.stream)}</h1><p class="state">{state}</p>'
        f'<p class="soft">{escape(span)}{". " if span else ""}Written {_clock(now)}.</p>{"".join(alerts)}</header>'
    )


def _tiles(history: History) -> str:
    live, first = history.live_values(), history.first_values()
    now, alone = history.overall(live, first), history.overall(first, live)
    trained = [e for e in history.episodes if e.training]
    fits = sum(e.seconds.get("train", 0.0) for e in trained)
    rows = sum(e.training.rows_fit for e in trained if e.training)
    took = sorted(e.cycle.seconds for e in history.episodes if e.cycle.seconds is not None)
    tiles = []
    if now is None:
        now = history.overall(live, live)
    if now is not None:
        tiles.append((f"live {history.metric}", f"{now:.4g}"))
    if now is not None and alone:
        tiles.append(("first model left alone", f"{alone:.4g}"))
    tiles += [
        ("rows carried", f"{sum(e.cycle.window.rows for e in history.windows):,}"),
        ("a window, median", _seconds(took[len(took) // 2]) if took else "–"),
        ("fine-tunes", f"{len(trained):,} in {_seconds(fits)}"),
        ("rows fitted", f"{rows:,}"),
    ]
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><span>{escape(k)}</span><b>{escape(v)}</b></div>' for k, v in tiles)
        + "</div>"
    )


# over the windows


def _quality(history: History) -> str:
    windows, metric = history.windows, history.metric or "quality"
    live, first = history.live_values(), history.first_values()
    names = [e.cycle.window.id for e in windows]
    versions = [e.live.version if e.live else None for e in windows]
    alone = [f"{n}: the first model left alone, {metric} {_g(v)}" for n, v in zip(names, first, strict=True)]
    said = [f"{n}: version {v} live, {metric} {_g(x)}" for n, v, x in zip(names, versions, live, strict=True)]
    found = [Line("first", "first", first, alone)] if any(v is not None for v in first) else []
    found.append(Line("live", "live", live, said))
    looks = [e.cycle.outcome if e.cycle.outcome in OUTCOMES else "unfinished" for e in windows]
    titles = [f"{e.cycle.window.id}: {e.cycle.outcome or 'unfinished'}. {e.cycle.reason or ''}" for e in windows]
    counts = [f'<span><i class="key-{o}"></i>{history.counts[o]:,} {o}</span>' for o in OUTCOMES if history.counts.get(o)]
    keys = ['<span><i class="rule key-live"></i>answered live, before anybody trained on it</span>']
    if len(found) > 1:
        keys.append('<span><i class="rule key-first"></i>the first model left alone</span>')
    else:
        keys.append("<span>The first model's files are not kept here, so its line is missing.</span>")
    return (
        f"\n<section><h2>Quality: {escape(metric)}, window by window</h2><p>Below it, which version was asked, and how the "
        f'window ended.</p><div class="chart">{charts.lines(found)}'
        f'<div class="gap"></div><label>live version</label>{charts.spans(versions, "version")}'
        f'<div class="hair"></div><label>Outcome</label>{charts.strip(looks, titles)}{charts.axis(names)}</div>'
        f'<div class="legend">{"".join(keys)}</div><div class="legend">{"".join(counts)}</div></section>'
    )


def _drift(history: History) -> str:
    windows = history.windows
    shares: dict[str, list[float | None]] = {}
    titles: dict[str, list[str]] = {}
    for i, episode in enumerate(windows):
        for c in episode.drift.columns if episode.drift else ():
            share = c.effect / c.limit if c.limit and math.isfinite(c.effect) else None
            shares.setdefault(c.name, [None] * len(windows))[i] = share
            told = f"{episode.cycle.window.id}, {c.name}: {c.effect_name} {c.effect:.3f}, limit {c.limit:g}, q {c.q_value:.1e}"
            titles.setdefault(c.name, [""] * len(windows))[i] = told + (", drifted" if c.drifted else "")
    if not shares:
        return '\n<section><h2>Drift</h2><p class="none">no window was compared yet</p></section>'
    order = sorted(shares, key=lambda name: -max((v for v in shares[name] if v is not None), default=0.0))
    rows = [f'<label title="{escape(n)}">{escape(n)}</label>{charts.heat(shares[n], titles[n])}' for n in order[:60]]
    more = f" The {len(order) - 60} quietest columns are left out." if len(order) > 60 else ""
    ramp = "".join(f'<i class="h{n}"></i>' for n in range(len(charts.SHADES) + 1))
    newest = next(e for e in reversed(windows) if e.drift)
    notes = "".join(
        f'<p class="soft">{escape(newest.cycle.window.id)}: {escape(note)}</p>'
        for note in (newest.drift.notes if newest.drift else ())
    )
    return (
        "\n<section><h2>Drift</h2><p>Each window against what its champion was trained on: the column's effect as a share of its "
        f'limit, the furthest first.{more}</p><div class="chart">{"<div class=hair></div>".join(rows)}'
        f'{charts.axis([e.cycle.window.id for e in windows])}</div><div class="legend"><span>none</span>'
        f'<span class="ramp">{ramp}</span><span>2.5 × the limit or more; warm colours are over it</span></div>{notes}</section>'
    )


def _latency(history: History) -> str:
    found = [e for e in history.windows if e.latency]
    values = [e.latency.value if e.latency else None for e in history.windows]
    titles = [f"{e.cycle.window.id}: {e.latency.message}" if e.latency else "" for e in history.windows]
    limit = next((e.latency.limit for e in reversed(found) if e.latency), None)
    top = max((v for v in values if v is not None), default=0.0)
    shown = limit if limit is not None and limit <= 4 * max(top, 1.0) else None
    chart = charts.lines([Line("latency", "live", values, titles, dots=True)], shown)
    words = f"The gate allows {limit:g} ×." if limit is not None else ""
    return (
        "\n<section><h2>Latency of the challenger</h2><p>Median over the champion's, both in Triton, before it may be released. "
        f'{words}</p><div class="chart small">{chart}{charts.axis([e.cycle.window.id for e in history.windows], 4)}'
        "</div></section>"
    )


def _times(history: History) -> str:
    windows = history.windows
    values = [e.cycle.seconds if e.cycle.outcome in OUTCOMES else None for e in windows]
    titles = [f"{e.cycle.window.id}: {_g(v)} s, {e.cycle.outcome}" for e, v in zip(windows, values, strict=True)]
    chart = charts.lines([Line("time", "live", values, titles, dots=True)])
    return (
        "\n<section><h2>Time from window to Outcome</h2><p>In seconds, from the first step to the last, outages included.</p>"
        f'<div class="chart small">{chart}{charts.axis([e.cycle.window.id for e in windows], 4)}</div></section>'
    )


def _resources(history: History) -> str:
    trained = [e.training.resources if e.training else None for e in history.windows]
    if not any(trained):
        return ""
    memory = [used.peak_bytes / 1e6 if used else None for used in trained]
    seconds = [used.cpu_seconds if used else None for used in trained]
    gpu = max((used.gpu_bytes for used in trained if used), default=0)
    most = f" On the GPU at most {gpu / 1e6:,.0f} MB." if gpu else ""
    axis = charts.axis([e.cycle.window.id for e in history.windows], 4)

    def small(name: str, unit: str, values: list[float | None]) -> str:
        named = zip(history.windows, values, strict=True)
        titles = [f"{e.cycle.window.id}: {_g(v)} {unit}" if v is not None else "" for e, v in named]
        return f'<div class="chart small">{charts.lines([Line(name, "live", values, titles, dots=True)])}{axis}</div>'

    return (
        "\n<section><h2>Resources of the fine-tunes</h2><p>Memory of the job's process at its highest, in MB; then the seconds "
        f"that it kept a processor busy.{most}</p>{small('memory', 'MB', memory)}{small('processor', 's', seconds)}</section>"
    )


# tables


def _stages(history: History) -> str:
    stages = history.stages()
    whole = sum(stage.total for stage in stages) or 1.0
    most = max((stage.total for stage in stages), default=1.0) or 1.0
    rows = "".join(
        f'<tr><td class="tight">{escape(s.name)}</td><td class="n wide-only">{s.times:,}</td>'
        f'<td class="n">{escape(_seconds(s.median))}</td>'
        f'<td class="n">{escape(_seconds(s.slowest))}</td><td class="wide-only">{escape(s.window)}</td>'
        f'<td class="n">{s.total / whole:.0%}</td><td style="width:30%">{charts.bar(s.total / most)}</td></tr>'
        for s in stages
    )
    return (
        "\n<section><h2>Where the time goes</h2><p>Every step of the loop over the windows above, the dearest first.</p><table>"
        '<tr><th>step</th><th class="n wide-only">times</th><th class="n">median</th><th class="n">slowest</th>'
        f'<th class="wide-only">in window</th><th class="n">share</th><th></th></tr>{rows}</table></section>'
    )


def _story(history: History) -> str:
    told = [(e.cycle.closed or e.cycle.opened, _cycle_row(e)) for e in history.episodes]
    since = history.episodes[0].cycle.opened if history.episodes else 0.0
    told += [(r.done or r.asked, _release_row(r)) for r in history.releases if r.cause != "promotion" and r.asked >= since]
    rows = [row for _, row in sorted(told, key=lambda entry: -entry[0])]
    head = (
        '<tr><th>window</th><th>Outcome</th><th>version</th><th class="n wide-only">took</th><th class="wide-only">ended</th>'
        "<th>reason</th></tr>"
    )
    rest = rows[SHOWN:]
    folded = (
        f'<details><summary>{len(rest):,} earlier</summary><table class="story">{"".join(rest)}</table></details>' if rest else ""
    )
    return (
        "\n<section><h2>What happened</h2><p>The newest first. <code>warmstart explain VERSION|WINDOW</code> tells any of them "
        "whole.</p>"
        f'<table class="story">{head}{"".join(rows[:SHOWN])}</table>{folded}</section>'
    )


def _cycle_row(episode: Episode) -> str:
    cycle = episode.cycle
    outcome = cycle.outcome or "unfinished"
    again = f", attempt {cycle.attempt}" if cycle.attempt > 1 else ""
    took = "" if cycle.seconds is None else _seconds(cycle.seconds)
    reason = "; ".join(words for words in (cycle.reason, episode.labels) if words)
    return _row(cycle.window.id + again, outcome, outcome, cycle.version, took, cycle.closed, reason)


def _release_row(row: ReleaseRow) -> str:
    words = {"rollback": "rolled back", "approval": "approved"}.get(row.cause, row.cause)
    before = f", {row.expects} is out" if row.expects is not None and row.state == "done" else ""
    return _row("", "rolled", words, row.version, "", row.done, f"{row.cause} to version {row.version}: {row.state}{before}")


def _row(window: str, look: str, word: str, version: int | None, took: str, ended: float | None, reason: str) -> str:
    return (
        f'<tr><td class="tight">{escape(window)}</td><td><span class="badge {escape(look)}">{escape(word)}</span></td>'
        f'<td class="tight">{"" if version is None else f"v{version}"}</td><td class="n wide-only">{escape(took)}</td>'
        f'<td class="wide-only">{_clock(ended) if ended else ""}</td><td class="reason">{escape(reason)}</td></tr>'
    )


def _g(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _seconds(seconds: float) -> str:
    """A duration as a person says it.

    >>> [_seconds(s) for s in (0.0001, 0.0634, 1.2, 12.66, 125, 9000)]
    ['< 1 ms', '63 ms', '1.20 s', '12.7 s', '2 min 5 s', '2 h 30 min']
    """
    if seconds < 0.0005:
        return "< 1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.{2 if seconds < 9.995 else 1}f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 120 else f"{minutes} min {rest} s"


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
