"""What `status` says, read from the ledger alone."""

from __future__ import annotations

import time
from typing import Any

from engine.ledger import Cycle, Ledger
from engine.nouns import Outcome

NOT_RUNNING = "Triton: no embedded server runs here"


def stream_status(ledger: Ledger, stream: str, last: int = 5) -> dict[str, Any]:
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
        "unfinished": [c.window.id for c in unsettled if c.closed is None],
        "last": [_line(cycle) for cycle in ledger.cycles(stream, limit=last)],
    }


def _line(cycle: Cycle) -> dict[str, Any]:
    seconds = round(cycle.closed - cycle.opened, 3) if cycle.closed else None
    return {
        "window": cycle.window.id,
        "rows": cycle.window.rows,
        "attempt": cycle.attempt,
        "outcome": cycle.outcome,
        "version": cycle.version,
        "reason": cycle.reason,
        "seconds": seconds,
    }


def print_status(streams: list[dict[str, Any]], server: dict[str, Any] | None) -> None:
    """The same for a person: one line a window, as wide as it is."""
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
        for line in found["last"]:
            console.print(
                Text("  ") + outcome_line(line["window"], line["outcome"], line["version"], line["seconds"], line["reason"])
            )
    console.print(f"Triton: gRPC {server['address']}, HTTP {server['http']}, process {server['pid']}" if server else NOT_RUNNING)
