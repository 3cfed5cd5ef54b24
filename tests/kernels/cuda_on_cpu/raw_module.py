"""`cupy.RawModule` for NumPy arrays: the same source, compiled by g++ behind `cuda_cpu.h`."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

HEADER = Path(__file__).with_name("cuda_cpu.h")
KERNEL = re.compile(r"__global__\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?void\s+(\w+)\s*\(")


class Mode(Enum):
    """How the threads of a block run, and what watches them. A sanitizer has to be loaded before Python: see `SANITIZER`."""

    FAST = ("-O2",)
    CHECK = ("-O1", "-DCUDA_CPU_CHECK")
    ADDRESS = (
        *("-O1", "-g1", "-DCUDA_CPU_CHECK", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"),
        "-fsanitize-sections=cuda_shared",
    )
    RACES = ("-O1", "-g1", "-DCUDA_CPU_RACES", "-fsanitize=thread")


# The library that LD_PRELOAD must name in a process that loads a module of that mode.
SANITIZER = {Mode.ADDRESS: "libasan.so", Mode.RACES: "libtsan.so"}


class CpuRawModule:
    """The kernels of one CUDA source. Raises CalledProcessError with g++'s message if it does not compile.

    order: which thread of a block runs first: 0 ascending, 1 descending, any other number a shuffle by that seed.
    """

    def __init__(self, code: str, options: tuple[str, ...] = (), mode: Mode = Mode.FAST, order: int = 0) -> None:
        exports = "\n".join(f"CUDA_CPU_EXPORT({name})" for name in KERNEL.findall(code))
        unit = f'#include "{HEADER.name}"\n#line 1 "kernel.cu"\n{code}\n{exports}\n'
        command = ["g++", "-std=c++20", "-shared", "-fPIC", "-pthread", "-ffp-contract=off", "-w", f"-I{HEADER.parent}"]
        command += ["-fno-gnu-unique"]  # each library has variables of its own, also those that the header declares
        command += [*mode.value, *options, "-x", "c++", "-"]
        self._library = ctypes.CDLL(str(_built(unit, command)))
        self._order = order

    def get_function(self, name: str) -> Callable[[tuple[int, ...], tuple[int, ...], tuple[Any, ...]], None]:
        """The kernel `name`: call it with a grid, a block and its arguments, arrays and NumPy scalars."""
        launch = self._library[f"launch_{name}"]

        def call(grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
            held = [np.array([a.ctypes.data if isinstance(a, np.ndarray) else a]) for a in arguments]
            pointers = (ctypes.c_void_p * len(held))(*(value.ctypes.data for value in held))
            shape = [*grid, *[1] * (3 - len(grid)), *block, *[1] * (3 - len(block))]
            launch(*map(ctypes.c_uint, shape), pointers, os.cpu_count() or 1, self._order)

        return call


def store() -> Path:
    """The folder of what was compiled, this user's own: what has not changed since is not compiled again."""
    folder = Path(tempfile.gettempdir()) / f"cuda_on_cpu-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _built(unit: str, command: list[str]) -> Path:
    """The shared library of a source, compiled unless a run before this one did."""
    digest = hashlib.sha256("\0".join([unit, HEADER.read_text(), *command]).encode()).hexdigest()[:24]
    library = store() / f"{digest}.so"
    if not library.exists():
        unfinished = store() / f"{digest}.{os.getpid()}"
        # A sanitizer that watches this process would only slow the compiler down.
        plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        subprocess.run([*command, "-o", str(unfinished)], input=unit, text=True, check=True, env=plain)
        unfinished.replace(library)
    return library
