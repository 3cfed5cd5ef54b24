"""What fits into no memory, in little of it: the Profile of ten million rows of Parquet, and MMD of 200,000 rows.

Each figure is of a process of its own, which says how much memory it held at most, its imports and what it read included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import result

ROWS, COLUMNS, GROUP = 10_000_000, 100, 250_000
MMD = 100_000, 64  # of each side
LIMIT = 2e9  # bytes


def table(path: Path, rows: int) -> None:
    """A Parquet file of normal float32 columns, written group by group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [f"x{j}" for j in range(COLUMNS)]
    with pq.ParquetWriter(path, pa.schema({name: pa.float32() for name in names})) as file:
        for start in range(0, rows, GROUP):
            values = np.random.default_rng(start).standard_normal((COLUMNS, min(GROUP, rows - start)), dtype=np.float32)
            file.write_table(pa.Table.from_arrays(list(map(pa.array, values)), names))


def profiled(path: str) -> None:
    """The Profile of a file by its own quantiles, then over those of the first."""
    from engine.parquet import profile_of

    made = profile_of(Path(path))
    middle = time.perf_counter()
    profile_of(Path(path), made)
    tell(middle)


def compared(rows: str, columns: str) -> None:
    """MMD, with every row and 200 permutations."""
    from kernels.statistics import mmd

    random = np.random.default_rng(0)
    x, y = (random.standard_normal((int(rows), int(columns)), dtype=np.float32) for _ in range(2))
    y[:, 0] += 0.05
    begin = time.perf_counter()
    mmd.measure(x, y, rows=None)
    tell(begin)


def tell(begin: float) -> None:
    """Seconds since then, of the process before, and its memory, as JSON."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    print(json.dumps({"seconds": time.perf_counter() - begin, "cpu": cpu, "peak": used.ru_maxrss * 1024}))


def alone(*arguments: str) -> dict[str, float]:
    """What a process of its own tells."""
    command = [sys.executable, "-m", "benchmarks.bounded", *arguments]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run, print and write `results/bounded.md`; exit 1 when memory or time is not what was promised."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--mmd-rows", type=int, default=MMD[0])
    arguments = parser.parse_args()
    cells, each = [], []
    with tempfile.TemporaryDirectory() as folder:
        for rows in (arguments.rows // 4, arguments.rows // 2, arguments.rows):
            path = Path(folder) / "table.parquet"
            table(path, rows)
            found = alone("--profile", str(path))
            each.append((rows, found))
            cells.append(
                [f"{rows:,} × {COLUMNS}", f"{found['seconds']:.1f}", f"{found['cpu']:.1f}", f"{found['peak'] / 1e6:.0f}"]
            )
    whole = alone("--mmd", str(arguments.mmd_rows), str(MMD[1]))
    (least, first), (most, last) = each[0], each[-1]
    growth = (last["seconds"] / first["seconds"]) / (most / least)
    held = [
        (
            max(found["peak"] for _, found in each) < LIMIT,
            f"{last['peak'] / 1e9:.2f} GB for {most:,} rows, {LIMIT / 1e9:g} allowed",
        ),
        (growth < 1.25, f"{most / least:.0f} times the rows take {last['seconds'] / first['seconds']:.2f} times the time"),
        (
            whole["peak"] < LIMIT,
            f"{whole['peak'] / 1e9:.2f} GB for MMD of 2 × {arguments.mmd_rows:,} rows, {LIMIT / 1e9:g} allowed",
        ),
    ]
    body = [
        *(f"- {'held' if good else 'NOT HELD'}: {words}" for good, words in held),
        "",
        "A window of Parquet, profiled over a reference's edges: seconds on the clock. CPU seconds and memory are of the whole",
        "process, which made that reference of the same file first.",
        "",
        *result.table(["float32", "s", "CPU s", "MB"], cells),
        "",
        f"MMD of {arguments.mmd_rows:,} against {arguments.mmd_rows:,} rows × {MMD[1]}, every pair of them, 200 permutations: "
        f"{whole['seconds']:.0f} s, {whole['cpu']:.0f} CPU s, {whole['peak'] / 1e6:.0f} MB.",
    ]
    print(result.write("bounded", "Bounded memory", body).read_text())
    sys.exit(0 if all(good for good, _ in held) else 1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--profile"]:
        profiled(*sys.argv[2:])
    elif sys.argv[1:2] == ["--mmd"]:
        compared(*sys.argv[2:])
    else:
        main()
