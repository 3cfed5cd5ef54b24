"""A year of hourly windows: is a stream as quick and as small at its end as it was in its first weeks?

The engine is `warmstart run`, a process of its own with a live Triton, MLflow and the retention that is shipped. This program
lets one window after another land as the engine finishes them. Most are kept; a schedule retrains every week, the world changes
four times a year and drift does the rest, and some windows are broken. From time to time it looks from outside at what the
engine takes: seconds, memory, open files, bytes of every kind, and how long `warmstart status` takes.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import result
from engine.ledger import Ledger
from engine.nouns import Outcome

YEAR = 8760
ROWS = 400
EVERY = 250  # windows from one look to the next
SEASONS = 4  # how often the world is another one
BROKEN = 97  # every so many windows one is broken
ROOT = Path(__file__).resolve().parent.parent
NAME = "hourly"
STREAM = """
# @package _global_
stream:
  name: hourly
  source: {_target_: engine.windows.ParquetFolder, folder: windows}
  target: wear
  time: at
  columns: {speed: number, load: number, kind: category}
trigger:
  triggers:
    - {_target_: engine.triggers.Schedule, days: 7}
    - {_target_: engine.triggers.Drift, columns: 1}
model: {width: 16, members: 2, bins: 8, learning_rate: 0.01}
gate: {min_rows: 50, margin: -0.1, max_latency_ratio: 1000}
platform: {poll: 0.01}
retention: {quarantined: 30}
"""
BOUNDED = ("models", "artifacts", "jobs", "answers", "quarantine")  # what retention says how much to keep of
GROWING = ("ledger.db", "mlflow.db")  # a row for every window, for ever

# What must hold. Growth is from the middle of the run to its end; by the middle everything that is bounded is full.
STATUS = 1.0  # seconds
BOUND = 1.5  # times as many bytes at most, of each kind that is bounded
MEMORY = 4096  # bytes of the engine a window, after the first 1,000
QUICK = 1.5  # times as many CPU seconds a window at most


@dataclass(frozen=True)
class Look:
    """What the engine takes after so many windows. Seconds a window and CPU seconds are of the windows since the last look."""

    windows: int
    versions: int
    quiet: float
    cpu: float
    memory: int
    server: int
    files: int
    status: float
    status_cpu: float
    sizes: dict[str, int]


def rows(hour: int, windows: int = YEAR) -> pl.DataFrame:
    """An hour of measurements. With every season `speed` goes somewhere else, and wears in another way."""
    random = np.random.default_rng(hour)
    season = SEASONS * hour // windows
    speed = random.normal((0.0, 2.0, -2.0, 1.0)[season], 1.0, ROWS)
    load = np.where(random.random(ROWS) < 0.1, np.nan, random.uniform(0, 4, ROWS))
    kind = random.choice(["a", "b", "c"], ROWS, p=[0.5, 0.3, 0.2])
    wear = 20 + (3, 2, 4, 3)[season] * speed + np.nan_to_num(load) + 2.0 * (kind == "b") + random.normal(0, 0.5, ROWS)
    begin = datetime(2024, 1, 1) + timedelta(hours=hour)
    at = [begin + timedelta(seconds=9 * i) for i in range(ROWS)]
    found = pl.DataFrame({"at": at, "speed": speed, "load": load, "kind": kind, "wear": wear})
    return found.drop("load") if hour % BROKEN == BROKEN // 2 else found


def live_through(
    project: Path, windows: int, every: int, overrides: Sequence[str] = (), until: float = float("inf")
) -> list[Look]:
    """Let `windows` windows land and be carried to their Outcome, with a look at the engine after `every` so many.

    Begins no window after `until` (of `time.monotonic`).
    """
    folder, state = project / "windows", project / ".warmstart"
    folder.mkdir(parents=True)
    (project / "stream").mkdir()
    (project / "stream" / f"{NAME}.yaml").write_text(STREAM)
    looks: list[Look] = []
    with _engine(project, overrides) as engine, contextlib.closing(Ledger(f"sqlite:///{state / 'ledger.db'}")) as ledger:
        cpu = 0.0
        for hour in range(windows):
            if time.monotonic() > until:
                break
            name = f"{datetime(2024, 1, 1) + timedelta(hours=hour):%Y-%m-%dT%H}"
            part = folder / f".{name}.parquet"
            rows(hour, windows).write_parquet(part)
            part.rename(folder / f"{name}.parquet")
            look = (hour + 1) % every == 0
            _wait(ledger, name, engine, closed=look)  # the next one lands while this one is carried
            if look:
                before, cpu = cpu, _cpu(engine.pid)
                looks.append(_look(project, ledger, engine.pid, hour + 1, every, (cpu - before) / every))
                print("  ".join(_cells(looks[-1])), flush=True)
    return looks


@contextlib.contextmanager
def _engine(project: Path, overrides: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "engine.app", "run", f"stream={NAME}", *overrides]
    with (project / "run.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=project, env=_environment(), stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    runtime = os.environ.get("WARMSTART_TRITON", str((ROOT / ".triton").resolve()))
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    found = os.environ | {"WARMSTART_TRITON": runtime, "PYTHONPATH": path}
    found.pop("WARMSTART_STATE", None)
    return found


def _wait(ledger: Ledger, window: str, engine: subprocess.Popen[bytes], closed: bool) -> None:
    """Until the engine works on a window, or is done with it."""
    while True:
        newest = ledger.cycles(NAME, limit=1)
        if newest and newest[0].window.id == window and (newest[0].closed is not None or not closed):
            return
        if engine.poll() is not None:
            raise SystemExit(f"the engine ended with exit code {engine.returncode} while window {window} was pending")
        time.sleep(0.02)


def _quiet(ledger: Ledger, count: int) -> float:
    """The median seconds of the newest windows that nothing was trained on: from the end of the one before to their own."""
    cycles = ledger.cycles(NAME, limit=count)
    pairs = itertools.pairwise([cycle for cycle in cycles if cycle.closed is not None])
    took = [b.closed - a.closed for a, b in pairs if a.closed and b.closed and b.outcome in (Outcome.KEPT, Outcome.QUARANTINED)]
    return statistics.median(took) if took else math.nan


# looking


def _look(project: Path, ledger: Ledger, pid: int, windows: int, every: int, cpu: float) -> Look:
    state = project / ".warmstart"
    server = json.loads((state / "server" / "server.json").read_text())
    status, status_cpu = _status(project)
    return Look(
        windows=windows,
        versions=max((row.version for row in ledger.releases(NAME)), default=0),
        quiet=_quiet(ledger, every),
        cpu=cpu,
        memory=_memory(pid),
        server=_memory(server["pid"]),
        files=len(os.listdir(f"/proc/{pid}/fd")),  # noqa: PTH208
        status=status,
        status_cpu=status_cpu,
        sizes=sizes(state),
    )


def sizes(state: Path) -> dict[str, int]:
    """Bytes of each kind of file in the state, the rest as `other`."""
    found = dict.fromkeys((*BOUNDED, *GROWING, "other"), 0)
    for folder, _, names in os.walk(state):
        for name in names:
            path = Path(folder, name)
            kind = path.relative_to(state).parts[0]
            kind = kind.removesuffix("-wal").removesuffix("-shm")
            with contextlib.suppress(FileNotFoundError):  # the engine works on
                found[kind if kind in found else "other"] += path.stat().st_size
    return found


def _status(project: Path) -> tuple[float, float]:
    """Seconds of `warmstart status`, the whole command, on the clock and of CPU."""
    used, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "engine.app", "status"]
    subprocess.run(command, cwd=project, env=_environment(), check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime


def _memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _cpu(pid: int) -> float:
    """CPU seconds of a process, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# what must hold


def bounds(looks: Sequence[Look]) -> list[tuple[bool, str]]:
    """Everything that must hold, in words with its numbers."""
    last, middle = looks[-1], looks[(len(looks) - 1) // 2]
    begun = [look for look in looks if look.windows >= min(1000, last.windows // 3)]
    # The median of the slopes between any two looks: right after a fine-tune there are some 15 MB more, gone at the next look.
    slope = statistics.median((b.memory - a.memory) / (b.windows - a.windows) for a, b in itertools.combinations(begun, 2))
    slowest = max(look.status for look in looks)
    half = len(looks) // 2
    early, late = (statistics.median(look.cpu for look in part) for part in (looks[1:half], looks[half:]))
    found = [
        (slowest < STATUS, f"`warmstart status` took {slowest:.2f} s at most, {STATUS:g} s allowed"),
        (slope < MEMORY, f"the engine's memory grew by {slope:.0f} bytes a window, {MEMORY:,} allowed"),
        (late < QUICK * early, f"{late * 1e3:.0f} ms of CPU a window in the second half, {early * 1e3:.0f} ms in the first"),
        (last.files <= middle.files + 8, f"{last.files} open files at the end, {middle.files} in the middle"),
    ]
    for kind in BOUNDED:
        words = f"{kind}: {_size(last.sizes[kind])} at the end, {_size(middle.sizes[kind])} in the middle"
        found.append((last.sizes[kind] <= BOUND * middle.sizes[kind], f"{words}, {BOUND:g} times as much allowed"))
    return found


def growth(looks: Sequence[Look], kind: str) -> float:
    """Bytes a window from the middle of the run to its end."""
    last, middle = looks[-1], looks[(len(looks) - 1) // 2]
    return (last.sizes[kind] - middle.sizes[kind]) / (last.windows - middle.windows)


# telling

HEADINGS = ("windows", "version", "s a quiet window", "CPU s", "memory", "Triton", "files", "status s", "(CPU)")


def _cells(look: Look) -> list[str]:
    counts = [f"{look.windows:,}", str(look.versions), f"{look.quiet:.3f}", f"{look.cpu:.3f}"]
    counts += [_size(look.memory), _size(look.server), str(look.files), f"{look.status:.2f}", f"{look.status_cpu:.2f}"]
    return counts + [_size(look.sizes[kind]) for kind in (*BOUNDED, *GROWING, "other")]


def _size(count: float) -> str:
    """Bytes as a person says them.

    >>> [_size(count) for count in (0, 2_345, 12_345_678, 1.2e9)]
    ['0 kB', '2 kB', '12.3 MB', '1200.0 MB']
    """
    return f"{count / 1e3:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def main() -> None:
    """Run, print and write `results/hourly.md`; exit 1 when something that must hold does not."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--windows", type=int, default=YEAR)
    parser.add_argument("--every", type=int, default=EVERY, help="windows from one look to the next")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no window after so many minutes")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    begin = time.monotonic()
    project = folder / "project"
    try:
        looks = live_through(project, arguments.windows, arguments.every, arguments.overrides, begin + 60 * arguments.minutes)
        seconds = time.monotonic() - begin
        with contextlib.closing(Ledger(f"sqlite:///{project / '.warmstart' / 'ledger.db'}")) as ledger:
            counts = ledger.counts(NAME)
            causes = Counter(row.cause for row in ledger.releases(NAME))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if len(looks) < 4:
        sys.exit(f"{len(looks)} looks say nothing of growth: more windows, or a smaller --every")
    found = bounds(looks)
    grown = ", ".join(f"{kind} by {growth(looks, kind):,.0f} bytes a window" for kind in GROWING)
    body = [
        f"{sum(counts.values()):,} windows of {ROWS} rows in {seconds / 60:.1f} minutes: "
        + ", ".join(f"{n:,} {outcome}" for outcome, n in sorted(counts.items()))
        + f"; {sum(causes.values())} releases.",
        f"What has a row for every window for ever grew: {grown}.",
        "",
        *(f"- {'held' if held else 'NOT HELD'}: {words}" for held, words in found),
        "",
        "A quiet window is one that was kept or quarantined: the median seconds from the end of the one before to its own, with "
        "tidying up and looking for it. CPU seconds are the engine's own, a window, without training and Triton.",
        "",
        *result.table([*HEADINGS, *BOUNDED, *GROWING, "other"], [_cells(look) for look in looks]),
    ]
    path = result.write("hourly", "A year of hourly windows", body)
    print(path.read_text())
    sys.exit(0 if all(held for held, _ in found) else 1)


if __name__ == "__main__":
    main()
