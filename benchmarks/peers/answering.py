"""What runs inside a peer's process: load, warm up, answer. NumPy and the standard library only: every environment has those."""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[], Mapping[str, Any]]
Statistics = Callable[[Any, Any], dict[str, Call]]

WARM = 20_000  # rows to warm up with: past every peer's limit for taking another way with many rows


def answer(statistics: Statistics) -> None:
    """Answer on standard output until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("columns", type=int)
    parser.add_argument("device", choices=("cpu", "cuda"))
    arguments = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints by itself is no answer
    tables = [np.load(arguments.folder / f"{name}.npy", mmap_mode="r") for name in ("reference", "current")]
    tables = [np.array(table[:, : arguments.columns]) for table in tables]
    watch: Stopwatch = Stopwatch()
    if arguments.device == "cuda":
        watch = DeviceStopwatch()
        tables = [watch.library.asarray(table) for table in tables]
    cold = statistics(*(table[:WARM] for table in tables))
    calls, took = watch.time(lambda: statistics(*tables))
    print(json.dumps({"calls": list(calls), **took}), file=answers, flush=True)
    for line in sys.stdin:
        name = line.strip()
        if name in cold:  # what is imported or compiled on first use is nobody's time
            cold.pop(name)()
        values, took = watch.time(calls[name])
        found = {name: _floats(column) for name, column in values.items()}
        print(json.dumps({"values": found, **took}), file=answers, flush=True)


class Stopwatch:
    """Wall seconds, CPU seconds of all threads, and the most bytes that a call held beyond what was there before it."""

    def time(self, call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
        """What `call` returns, and what it took."""
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what earlier calls freed would hide what this one takes
        before = self.held()
        cpu, wall = time.process_time(), time.perf_counter()
        result = call()
        self.wait()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return result, {"wall": wall, "cpu": cpu, "peak": self.most() - before}

    def wait(self) -> None:
        """Until the work is done: on the CPU it is when the call returns."""

    def held(self) -> int:
        """Bytes held now; forgets the most held so far."""
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")

    def most(self) -> int:
        """The most bytes held since `held`."""
        return _status("VmHWM")


class DeviceStopwatch(Stopwatch):
    """The same of a GPU: its own memory, and the clock stops when the device is done."""

    def __init__(self) -> None:
        import cupy

        self.library = cupy
        self.pool = cupy.get_default_memory_pool()

    def wait(self) -> None:
        """Until the device is done."""
        self.library.cuda.Device().synchronize()

    def held(self) -> int:
        """Bytes of the device's memory that arrays hold; hands back the rest, so that the pool's size is the most held."""
        self.wait()
        self.pool.free_all_blocks()
        return int(self.pool.used_bytes())

    def most(self) -> int:
        """Bytes that the pool took from the device."""
        return int(self.pool.total_bytes())


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def _floats(column: Any) -> list[float]:
    """One number a column, in host memory."""
    return [float(value) for value in np.ravel(column.get() if hasattr(column, "get") else column)]
