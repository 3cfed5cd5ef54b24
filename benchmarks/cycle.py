"""How long from a window being whole in its folder to its model answering in Triton, and how long a switch and a rollback take.

The year of `benchmarks.year`, several times over, requests flowing, every gate on. Promoted windows without the first. Then, on
the state that the last run left, a release and a rollback in turn: ledger, Triton, verified answer and MLflow aliases, all of it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import result, year
from engine import flights
from engine.configuration import resolve
from engine.nouns import Outcome
from engine.opening import releases_of

ROUNDS = 20


def stages(timing: dict[str, Any]) -> dict[str, float]:
    """Seconds of one promoted window by stage, and `live` for the whole."""
    steps = timing["steps"]
    found = {"noticed": timing["opened"] - timing["landed"]}
    found |= {name.partition(".")[0]: end - begin for name, (begin, end) in steps.items() if not name.startswith("close")}
    found["live"] = steps["release.1"][1] - timing["landed"]
    found["between steps"] = found["live"] - sum(v for k, v in found.items() if k != "live")
    return found


def releases(state: Path) -> tuple[list[float], list[float]]:
    """Milliseconds of releases of a verified version, and of rollbacks from it, in turn."""
    config = resolve([f"stream={year.STREAM}", f"platform.state={state}"])
    switches, rollbacks = [], []
    with releases_of(config, "benchmark") as found:
        champion = found.registry.champion()
        assert champion is not None
        newest = champion.version
        found.rollback(None, "benchmark")
        for round_ in range(ROUNDS):
            live = found.registry.champion()
            assert live is not None
            found.ledger.hold(year.STREAM, None)
            begin = time.perf_counter()
            found.release(newest, live.version, f"benchmark:{round_}")
            switches.append((time.perf_counter() - begin) * 1e3)
            begin = time.perf_counter()
            found.rollback(None, "benchmark")
            rollbacks.append((time.perf_counter() - begin) * 1e3)
    return switches, rollbacks


def main() -> None:
    """Run, print and write `results/cycle.md`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--weeks", type=int, default=flights.WEEKS)
    arguments = parser.parse_args()
    runs: list[dict[str, list[float]]] = []
    totals = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.runs):
            state = Path(folder) / str(number)
            state.mkdir()
            found = year.live_through(state, arguments.weeks, [])
            if found["requests"]["failed"]:
                sys.exit(f"{found['requests']['failed']} requests failed: {found['requests']['errors']}")
            totals.append(found)
            promoted = [stages(t) for t in found["timings"][1:] if t["outcome"] == Outcome.PROMOTED and "release.1" in t["steps"]]
            runs.append({name: [p.get(name, 0.0) for p in promoted] for name in promoted[0]})
        switches, rollbacks = releases(Path(folder) / str(arguments.runs - 1))

    def over_runs(name: str, share: float) -> str:
        each = [float(np.quantile(run[name], share)) for run in runs]
        return f"{statistics.median(each):.3f} ({min(each):.3f}–{max(each):.3f})"

    rows = [[name, over_runs(name, 0.5), over_runs(name, 0.95)] for name in [*(n for n in runs[0] if n != "live"), "live"]]
    rows[-1] = [f"**{cell}**" for cell in ["whole window → live", *rows[-1][1:]]]
    quantiles = [
        [name, *(f"{np.quantile(values, q):.0f}" for q in (0.5, 0.95, 1))]
        for name, values in (
            ("release (load beside, switch, verify, aliases)", switches),
            ("rollback (both loaded; verify, aliases)", rollbacks),
        )
    ]
    promotions = sum(len(run["live"]) for run in runs)
    outcomes = "; ".join(", ".join(f"{n} {o}" for o, n in sorted(t["outcomes"].items())) for t in totals)
    took, live, static = (
        ", ".join(f"{t[key]:.{digits}f}" for t in totals)
        for key, digits in (("seconds", 0), ("live_rmse", 2), ("static_rmse", 2))
    )
    body = [
        f"{arguments.weeks} weekly windows of about 6,300 rows, {len(runs)} runs; {promotions} promoted windows.",
        f"Outcomes by run: {outcomes}. A year took {took} seconds.",
        f"Requests fired {sum(t['requests']['fired'] for t in totals):,}, failed 0.",
        f"Live RMSE {live}; first model left alone {static}.",
        "",
        "Seconds per promoted window: median over the runs, in brackets the smallest and the largest run.",
        "",
        *result.table(["stage", "median", "p95"], rows),
        "",
        f"Milliseconds over {ROUNDS} rounds:",
        "",
        *result.table(["change", "median", "p95", "max"], quantiles),
    ]
    path = result.write("cycle", "From a whole window to its model answering in Triton", body)
    print(path.read_text())


if __name__ == "__main__":
    main()
