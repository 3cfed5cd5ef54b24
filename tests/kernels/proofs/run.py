"""Declared cases of one `.cu` file in a process of their own, where a bug may abort it.

    python -m proofs.run FILE MODE ORDER BUG CASE...

BUG is the number of a planted one in the file's table, or - for none. Says "right" and exits with 0, or "wrong: " and what, and
exits with 1; a sanitizer or a deadlock ends it with another status.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np
from cuda_on_cpu import SANITIZER, CpuRawModule, Mode

from kernels import gpu
from proofs import PROOFS
from proofs.proof import Bug, Proof

FOLDERS = (Path(__file__).parents[1], Path(__file__).parents[3])


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
    with tempfile.NamedTemporaryFile("r") as said:
        server = _server(mode)
        _pipe(server.stdin).write(
            json.dumps([said.name, proof.file, str(order), "-" if bug is None else str(bug), *cases]) + "\n"
        )
        _pipe(server.stdin).flush()
        return int(_pipe(server.stdout).readline()), said.read()


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


# ---- a process per mode that has imported everything, behind its sanitizer, and forks for every run ----------------------------


@cache
def _server(mode: Mode) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, FOLDERS)),
        "LD_PRELOAD": _library(SANITIZER[mode]) if mode in SANITIZER else "",
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "TSAN_OPTIONS": "halt_on_error=1:history_size=0",
        "OPENBLAS_NUM_THREADS": "1",  # a process with threads must not fork
    }
    command = [sys.executable, "-c", "import sys; from proofs import run; run.serve(sys.argv[1])", mode.name]
    server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)  # ends it, as there is nothing more to read
    return server


def serve(mode: str) -> None:
    """For each line, the arguments of `main` after a file for what is said, fork; answer with the exit status."""
    for line in sys.stdin:
        said, file, *rest = json.loads(line)
        child = os.fork()
        if child == 0:
            words = os.open(said, os.O_WRONLY)
            os.dup2(words, 1)
            os.dup2(words, 2)
            try:
                status = main(file, mode, *rest)
            except BaseException:
                traceback.print_exc()
                status = 1
            sys.stdout.flush()
            os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@cache
def _library(name: str) -> str:
    return subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
