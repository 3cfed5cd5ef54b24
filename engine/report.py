"""What `status` says, read from the ledger alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.ledger import Ledger
from engine.ledger.rows import Cycle
from engine.nouns import Outcome, Small
from engine.untaken import Untaken, kept, of_json

SMALL_FILE = "small.json"  # in the folder of what is joined from small windows: those that wait for more rows


def stream_status(
    ledger: Ledger, stream: str, small: Small | None = None, untaken: Untaken | None = None, last: int = 5
) -> dict[str, Any]:
    """What is live, what happened last, what waits: plain values, ready for JSON. Times are Unix seconds."""
    releases = [r for r in ledger.releases(stream) if r.state == "done"]
    unsettled = ledger.unsettled(stream)
    return {
        "stream": stream,
        "live": releases[-1].version if releases else None,
        "since": releases[-1].done if releases else None,
        "held": ledger.held(stream),
        "events": [event.reason for event in ledger.announced(stream)],
        "counts": ledger.counts(stream),
        "waiting": [c.version for c in unsettled if c.outcome == Outcome.WAITING],
        "small": asdict(small) if small else None,
        "untaken": asdict(untaken or Untaken()),
        "unfinished": [c.window.id for c in unsettled if c.closed is None],
        "unlabelled": [c.window.id for c in ledger.awaiting_labels(stream)],
        "last": [_line(cycle) for cycle in ledger.cycles(stream, limit=last)],
    }


def small(state: Path) -> dict[str, Small]:
    """Stream → the small windows of it that wait for more rows."""
    found = {path.parent.name: small_in(path.parent) for path in sorted((state / "gathered").glob(f"*/{SMALL_FILE}"))}
    return {stream: waiting for stream, waiting in found.items() if waiting}


def untaken(state: Path) -> dict[str, Untaken]:
    """Stream → what the last look did not take up, where there is anything."""
    found = {path.stem: kept(path) for path in sorted((state / "untaken").glob("[!.]*.json"))}
    return {stream: left for stream, left in found.items() if left.unfinished or left.passed_over}


def small_in(folder: Path) -> Small | None:
    """The small windows that waited for more rows when the engine last looked."""
    path = folder / SMALL_FILE
    if not path.exists():
        return None
    found = json.loads(path.read_text())
    return Small(tuple(found["windows"]), found["rows"], found["needed"])


def _line(cycle: Cycle) -> dict[str, Any]:
    return {
        "window": cycle.window.id,
        "rows": cycle.window.rows,
        "attempt": cycle.attempt,
        "outcome": cycle.outcome,
        "version": cycle.version,
        "reason": cycle.reason,
        "seconds": None if cycle.seconds is None else round(cycle.seconds, 3),
    }


def labels_awaited(windows: Sequence[str]) -> str:
    """Which windows wait for labels.

    >>> labels_awaited(["day-2"]), labels_awaited([f"day-{n}" for n in range(2, 9)])
    ('1 window waits for labels: day-2', '7 windows wait for labels: day-2, day-3, day-4, day-5, … day-8')
    """
    many = len(windows) > 1
    shown = ", ".join(windows) if len(windows) <= 5 else f"{', '.join(windows[:4])}, … {windows[-1]}"
    return f"{len(windows):,} window{'s' * many} wait{'s' * (not many)} for labels: {shown}"


def print_status(streams: list[dict[str, Any]], served: Callable[[Sequence[str]], str]) -> None:
    """The same for a person: one line a window, as wide as it is; then what `served` says of Triton and the live versions."""
    from rich.console import Console
    from rich.text import Text

    from engine.display import outcome_line

    console = Console(highlight=False, soft_wrap=True)
    if not streams:
        console.print("no stream has any history here yet: `warmstart run stream=NAME` begins one")
    for found in streams:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["since"])) if found["since"] else ""
        live = f"version {found['live']} is live since {since}" if found["live"] else "nothing is live yet"
        counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(found["counts"].items()))
        console.print(Text.assemble((found["stream"], "bold"), f": {live}; {counts}"))
        if found["held"]:
            console.print(Text(f"  held: {found['held']}", "bold magenta"))
        for reason in found["events"]:
            console.print(Text(f"  the next window retrains: {reason}", "bold cyan"))
        for version in found["waiting"]:
            console.print(Text(f"  version {version} waits: `warmstart approve` or `warmstart reject`", "bold magenta"))
        if waiting := found["unlabelled"]:
            console.print(Text(f"  {labels_awaited(waiting)}", "bold cyan"))
        if found["small"]:
            console.print(Text(f"  {Small(**found['small'])}", "cyan"))
        left = of_json(found["untaken"])
        for words in filter(None, (*map(str, left.unfinished), left.others)):
            console.print(Text(f"  {words}", "yellow"))
        for line in found["last"]:
            console.print(
                Text("  ") + outcome_line(line["window"], line["outcome"], line["version"], line["seconds"], line["reason"])
            )
    console.print(Text(served([f"version {found['live']} of {found['stream']}" for found in streams if found["live"]])))
