"""A year of real flights, week by week, through the whole engine: `make run`.

The engine is `warmstart run stream=flights`, a process of its own with a live Triton. This program is the world around it: it
lets one week after another land in the folder, fires requests all the while, and at the end compares what was answered live with
what the first model, left alone, would have said. Interrupted and started again it goes on; once finished it begins anew.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from engine import evaluate, flights
from engine.data import table
from engine.ledger import Ledger
from engine.nouns import LiveScore, Outcome
from engine.page import written
from serving.endpoint import Endpoint
from serving.errors import Refused, Unreachable

STREAM = "flights"
REQUESTS_PER_SECOND = 25
LEGEND = """A line for each week. promoted: the new model was proven better and answers from now on. kept: nothing asked for one.
rejected: the gate at work; the new model was not surely better, and the live one answers on.
"""


@dataclass
class Traffic:
    """Clients that ask the live endpoint without a version, from the first release to the end."""

    state: Path
    fired: int = 0
    failed: list[str] = field(default_factory=list)
    versions: Counter[int] = field(default_factory=Counter)
    rows: pl.DataFrame | None = None

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fire, daemon=True)

    def start(self) -> None:
        """Begin, once something is live."""
        if not self._thread.is_alive():
            self._thread.start()

    def stop(self) -> None:
        """End, and wait for the last answer."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _fire(self) -> None:
        record = json.loads((self.state / "server" / "server.json").read_text())
        endpoint = Endpoint(record["address"])
        choose = random.Random(0)
        while not self._stop.wait(1 / REQUESTS_PER_SECOND):
            rows = self.rows
            if rows is None:
                continue
            start = choose.randrange(rows.height - 8)
            try:
                answer = endpoint.infer(STREAM, table.inputs(rows[start : start + choose.randint(1, 8)], flights.SCHEMA))
                self.versions[answer.version] += 1
            except (Refused, Unreachable) as error:
                self.failed.append(str(error))
            self.fired += 1
        endpoint.close()


def live_through(state: Path, weeks: int, overrides: list[str], traffic: bool = True) -> dict[str, Any]:
    """Let `weeks` weeks land, one after another as the engine finishes them. Returns what happened, as plain values."""
    folder = state / STREAM
    folder.mkdir(parents=True, exist_ok=True)
    landed: dict[str, float] = {}
    clients = Traffic(state)
    started = time.monotonic()
    with _engine(state, overrides) as engine:
        ledger = Ledger(f"sqlite:///{state / 'ledger.db'}")
        for name, rows in [week for _, week in zip(range(weeks), flights.weeks(), strict=False)]:
            clients.rows = rows
            path = folder / f"{name}.parquet"
            if not path.exists():
                part = folder / f".{name}.parquet"
                rows.write_parquet(part)
                part.rename(path)
                landed[name] = time.time()
            _wait_for(ledger, name, engine)
            if traffic and ledger.releases(STREAM):
                clients.start()
        seconds = time.monotonic() - started
        clients.stop()
        print("the last week is done: the engine is asked to stop, and says that it could go on", flush=True)
        found = _summary(ledger, state, landed)
        ledger.close()
    requests = {
        "fired": clients.fired,
        "failed": len(clients.failed),
        "errors": clients.failed[:5],
        "versions": len(clients.versions),
    }
    return found | {"seconds": seconds, "requests": requests}


@contextlib.contextmanager
def _engine(state: Path, overrides: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "engine.app", "run", f"stream={STREAM}", f"platform.state={state}", *overrides]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(ledger: Ledger, window: str, engine: subprocess.Popen[bytes]) -> None:
    while True:
        if any(c.window.id == window and c.closed is not None for c in ledger.cycles(STREAM, limit=3)):
            return
        if engine.poll() is not None:
            raise SystemExit(f"the engine ended with exit code {engine.returncode} while week {window} was pending")
        time.sleep(0.02)


def _summary(ledger: Ledger, state: Path, landed: dict[str, float]) -> dict[str, Any]:
    cycles = ledger.cycles(STREAM)
    squares: dict[str, list[float]] = {"rows": [], "live": [], "static": []}
    first = state / "models" / STREAM / "1" / "model.onnx"
    weekly = []
    for cycle, live in ledger.results(STREAM, "score", LiveScore):
        rows = pl.read_parquet(cycle.window.uri)
        truth = table.target(rows, flights.SCHEMA).reshape(-1)
        said = np.load(live.answers)
        left_alone = evaluate.predict(first, table.inputs(rows, flights.SCHEMA), flights.SCHEMA.target)
        errors = float(((truth - said) ** 2).sum()), float(((truth - left_alone) ** 2).sum())
        squares["rows"].append(rows.height)
        squares["live"].append(errors[0])
        squares["static"].append(errors[1])
        weekly.append(
            {
                "window": cycle.window.id,
                "start": cycle.window.start,
                "rows": rows.height,
                "live": (errors[0] / rows.height) ** 0.5,
                "static": (errors[1] / rows.height) ** 0.5,
                "outcome": cycle.outcome,
            }
        )
    total = sum(squares["rows"])
    timings = []
    for cycle in cycles:
        steps = {s.name: s for s in ledger.steps(cycle.id)}
        timings.append(
            {
                "window": cycle.window.id,
                "outcome": cycle.outcome,
                "landed": landed.get(cycle.window.id),
                "opened": cycle.opened,
                "steps": {name: [s.started, s.finished] for name, s in steps.items()},
            }
        )
    return {
        "rows": total,
        "live_rmse": (sum(squares["live"]) / total) ** 0.5 if total else None,
        "static_rmse": (sum(squares["static"]) / total) ** 0.5 if total else None,
        "outcomes": dict(Counter(cycle.outcome for cycle in cycles)),
        "weekly": weekly,
        "timings": timings,
    }


def show(found: dict[str, Any]) -> None:
    """The last table: what was answered live, and what a model left alone would have cost."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    months: dict[str, list[dict[str, Any]]] = {}
    for week in found["weekly"]:
        months.setdefault(week["start"][:7], []).append(week)
    lines = Table(title="\nRMSE of air_time in minutes, every week predicted before it was trained on", title_justify="left")
    for heading in ("month", "flights", "live (Triton)", "first model left alone", "promoted", "kept", "rejected"):
        lines.add_column(heading, justify="left" if heading == "month" else "right")

    def add(name: str, weeks: list[dict[str, Any]], **style: Any) -> None:
        rows = sum(w["rows"] for w in weeks)
        errors = [f"{(sum(w[k] ** 2 * w['rows'] for w in weeks) / rows) ** 0.5:.2f}" for k in ("live", "static")]
        ended = Counter(w["outcome"] for w in weeks)
        lines.add_row(
            name, f"{rows:,}", *errors, *(str(ended[o]) for o in (Outcome.PROMOTED, Outcome.KEPT, Outcome.REJECTED)), **style
        )

    for month, weeks in months.items():
        add(month, weeks)
    lines.add_section()
    add("the year", found["weekly"], style="bold")
    console.print(lines)
    requests = found["requests"]
    minutes, seconds = divmod(round(found["seconds"]), 60)
    since = sum(week["outcome"] == Outcome.PROMOTED for week in found["weekly"])
    which = f", the first and the {since} promoted since" if requests["versions"] == since + 1 else ""
    console.print(
        f"{requests['fired']:,} requests fired, {requests['failed']} failed; {requests['versions']} versions answered{which}. "
        f"The year took {minutes} min {seconds} s. (The first week trained the first model: nothing could predict it, and the "
        "table begins with the second.)"
    )
    for error in requests["errors"]:
        console.print(f"  failed: {error}", style="red")


def main() -> None:
    """Run the year and show the table; exit 1 when a request failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--state", type=Path, default=Path(".warmstart/year"))
    parser.add_argument("--weeks", type=int, default=flights.WEEKS)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    state = arguments.state.absolute()
    if (state / "year.json").exists():
        shutil.rmtree(state)
    state.mkdir(parents=True, exist_ok=True)
    os.environ.pop("WARMSTART_FLIGHTS", None)
    print(LEGEND, flush=True)
    found = live_through(state, arguments.weeks, arguments.overrides)
    (state / "year.json").write_text(json.dumps(found, indent=1))
    show(found)
    ledger = Ledger(f"sqlite:///{state / 'ledger.db'}")
    written.write(ledger, STREAM, state / "models", page := state / "reports" / f"{STREAM}.html")
    ledger.close()
    print(f"The whole year as a page: {page}")
    sys.exit(1 if found["requests"]["failed"] else 0)


if __name__ == "__main__":
    main()
