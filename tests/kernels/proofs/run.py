"""Declared cases of one `.cu` file in a process of their own, where a bug may abort or hang it.

    python -m proofs.run FILE MODE ORDER BUG CASE...

BUG is the number of a planted one in the file's table, or - for none. Says "right" and exits with 0, or "wrong: " and what, and
exits with 1; a sanitizer or a deadlock ends it with another status.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
from cuda_on_cpu import SANITIZER, CpuRawModule, Mode

from kernels import gpu
from proofs import PROOFS
from proofs.proof import Bug, Proof

FOLDERS = (Path(__file__).parents[1], Path(__file__).parents[3])
TIMEOUT = 240  # seconds; a barrier that some threads never reach hangs where each is the operating system's


def compiler(mode: Mode, order: int = 0, bug: Bug | None = None) -> gpu.Compiler:
    """What the launch code takes as its `compiler`: the unchanged file, or the file with one bug, executed on the CPU."""

    def compile_for_host(file: str, options: tuple[str, ...]) -> CpuRawModule:
        text = gpu.source(file)
        if bug:
            assert bug.right in text, f"{file} no longer holds {bug.right!r}"
            text = text.replace(bug.right, bug.wrong)
        return CpuRawModule(text, options, mode, order)

    return compile_for_host


def apart(proof: Proof, mode: Mode, order: int, cases: tuple[str, ...], bug: int | None = None) -> tuple[int, str]:
    """The exit status and the words of a process that runs these cases."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, FOLDERS)),
        "LD_PRELOAD": _library(SANITIZER[mode]) if mode in SANITIZER else "",
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "TSAN_OPTIONS": "halt_on_error=1:history_size=0",
        "OPENBLAS_NUM_THREADS": "1",
    }
    planted = "-" if bug is None else str(bug)
    command = [sys.executable, "-m", "proofs.run", proof.file, mode.name, str(order), planted, *cases]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    return ended.returncode, ended.stdout + ended.stderr


def caught(proof: Proof, number: int) -> tuple[bool, str]:
    """Whether a planted bug is caught in the way that was declared, and what was said."""
    bug = proof.bugs[number]
    status, said = apart(proof, bug.mode, bug.order, (bug.case,), number)
    return status != 0 and bug.says in said, said


def main(file: str, mode: str, order: str, bug: str, *cases: str) -> int:
    """Run the cases, each checked against its reference."""
    proof = PROOFS[file]
    compile_for_host = compiler(Mode[mode], int(order), None if bug == "-" else proof.bugs[int(bug)])
    for name in cases:
        found = proof.cases[name].launch(compile_for_host, np.asarray)
        try:
            proof.cases[name].check(found)
        except AssertionError as error:
            print(f"wrong: {name}: {error}")
            return 1
    print("right")
    return 0


@cache
def _library(name: str) -> str:
    return subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
