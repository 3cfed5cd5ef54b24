"""What fits into no memory, in little of it: the Profile of ten million rows of Parquet, and MMD of 200,000 rows.

Each figure is of a process of its own, which says how much memory it held at most, its imports and what it read included. The
largest table takes 4 GB of the disk while it is read.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks import result

ROWS, COLUMNS, GROUP = 10_000_000, 100, 250_000
MMD = 100_000, 64  # of each side
LIMIT = 2e9  # bytes
GROWTH = 1.25  # times as much core time a row, from a quarter of the rows to all of them
ROOT = Path(__file__).parents[1]


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
    begin = time.perf_counter(), time.process_time()
    profile_of(Path(path), made)
    tell(*begin)


def compared(rows: str, columns: str) -> None:
    """MMD, with every row and 200 permutations."""
    from kernels.statistics import mmd

    random = np.random.default_rng(0)
    x, y = (random.standard_normal((int(rows), int(columns)), dtype=np.float32) for _ in range(2))
    y[:, 0] += 0.05
    mmd.measure(x[:100], y[:100], permutations=1)  # what is imported and compiled is
    begin = time.perf_counter(), time.process_time()
    mmd.measure(x, y, rows=None)
    tell(*begin)


def tell(clock: float, cpu: float) -> None:
    """Seconds since then by the clock and of the cores, and the most memory that this process ever held, as JSON."""
    passed = {"seconds": time.perf_counter() - clock, "cpu": time.process_time() - cpu}
    print(json.dumps(passed | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def alone(*arguments: str) -> dict[str, float]:
    """What a process of its own tells."""
    command = [sys.executable, "-m", "benchmarks.bounded", *arguments]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def claims(
    profiles: Sequence[tuple[int, Mapping[str, float]]], mmd: Mapping[str, float], mmd_rows: int
) -> list[tuple[bool, str]]:
    """Whether each promise held, and in which words; `profiles` are by rows, the fewest first."""
    (least, first), (most, last) = profiles[0], profiles[-1]
    peak = max(found["peak"] for _, found in profiles)
    times = last["cpu"] / first["cpu"]
    return [
        (peak < LIMIT, f"{peak / 1e9:.2f} GB for up to {most:,} rows, {LIMIT / 1e9:g} allowed"),
        (times / (most / least) < GROWTH, f"{most / least:.1f} times the rows take {times:.2f} times the core time"),
        (mmd["peak"] < LIMIT, f"{mmd['peak'] / 1e9:.2f} GB for MMD of 2 × {mmd_rows:,} rows, {LIMIT / 1e9:g} allowed"),
    ]


def main(words: Sequence[str] | None = None) -> None:
    """Run, print and write `results/bounded.md`; exit 1 when memory or time is not what was promised."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS, help="of the largest table; a half and a quarter of it come first")
    parser.add_argument("--mmd-rows", type=int, default=MMD[0], help="of each side")
    arguments = parser.parse_args(words)
    profiles = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet"
        for rows in (arguments.rows // 4, arguments.rows // 2, arguments.rows):
            table(path, rows)
            profiles.append((rows, alone("--profile", str(path))))
    whole = alone("--mmd", str(arguments.mmd_rows), str(MMD[1]))
    held = claims(profiles, whole, arguments.mmd_rows)
    cells = [
        [f"{rows:,} × {COLUMNS}", *(f"{found[name]:.1f}" for name in ("seconds", "cpu")), f"{found['peak'] / 1e6:.0f}"]
        for rows, found in profiles
    ]
    body = [
        *(f"- {'held' if good else 'NOT HELD'}: {words}" for good, words in held),
        "",
        "A window of Parquet, profiled over a reference's edges: seconds by the clock and of the cores. The memory is the most",
        "that the process held, which had made that reference of the same file before.",
        "",
        *result.table(["float32", "s", "core-s", "MB"], cells),
        "",
        f"MMD of {arguments.mmd_rows:,} against {arguments.mmd_rows:,} rows × {MMD[1]}, every pair of them, 200 permutations: "
        f"{whole['seconds']:.0f} s, {whole['cpu']:.0f} core-s, {whole['peak'] / 1e6:.0f} MB.",
    ]
    print(result.write("bounded", "Bounded memory", body).read_text())
    if not all(good for good, _ in held):
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--profile"]:
        profiled(*sys.argv[2:])
    elif sys.argv[1:2] == ["--mmd"]:
        compared(*sys.argv[2:])
    else:
        main()
