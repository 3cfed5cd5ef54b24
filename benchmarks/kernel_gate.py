"""What the CUDA kernels use of a card, by NVIDIA's compiler, and which planted bugs the checks on the CPU catch. No GPU needed.

    python -m benchmarks.kernel_gate

Exits with 1 if a kernel is over its limits or a bug gets away; `make test` checks the same.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.result import table, write

sys.path.append(str(Path(__file__).parents[1] / "tests" / "kernels"))  # the table of what is proven is the tests'

from proofs import PROOFS
from proofs.nvrtc import ARCHITECTURES, usage, version
from proofs.proof import Kind
from proofs.run import caught

MODES = {"CHECK": "three orders", "ADDRESS": "ASan, UBSan", "RACES": "TSan"}


def main() -> int:
    """Compile everything, plant everything, write both tables."""
    begun = time.perf_counter()
    used, over = _used()
    compiled = time.perf_counter() - begun
    begun = time.perf_counter()
    planted, caught_number = _planted()
    compiler = subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
    body = [
        f"NVRTC {version()}, `-std=c++17`, and g++ {compiler}. The first table took {compiled:.0f} s, the second"
        f" {time.perf_counter() - begun:.0f} s; what was compiled before is remembered.",
        "",
        "## Registers, shared memory and spills",
        "",
        "Registers a thread on "
        + " / ".join(ARCHITECTURES)
        + ", shared memory of a block in bytes (the largest), and bytes of stack"
        f" and of spilled registers on any. Over its limits: {over or 'none'}.",
        "",
        *table(["file", "variant", "kernel", "registers", "of", "shared", "of", "stack", "of", "spilled"], used),
        "",
        "## Planted bugs",
        "",
        f"Caught {caught_number} of {len(planted)}.",
        "",
        *table(["file", "mistake", "where", "under", "said"], planted),
        "",
        *(f"- {file} has no {kind.value}: {why}." for file, proof in PROOFS.items() for kind, why in proof.absent.items()),
    ]
    print(write("kernel_gate", "The kernel gate", body))
    return bool(over) or caught_number < len(planted)


def _used() -> tuple[list[tuple[object, ...]], int]:
    rows, over = [], 0
    for file, proof in PROOFS.items():
        for variant, options in proof.variants.items():
            on = [usage(file, options, architecture) for architecture in ARCHITECTURES]
            for kernel, limits in proof.limits.items():
                each = [kernels[kernel] for kernels in on]
                over += sum(bool(one.over(limits)) for one in each)
                registers = " / ".join(str(one.registers) for one in each)
                shared, stack, spilled = (max(getattr(one, name) for one in each) for name in ("shared", "stack", "spilled"))
                rows.append(
                    (file, variant, kernel, registers, limits.registers, shared, limits.shared, stack, limits.stack, spilled)
                )
    return rows, over


def _planted() -> tuple[list[tuple[object, ...]], int]:
    rows, number = [], 0
    for file, proof in PROOFS.items():
        order = sorted(range(len(proof.bugs)), key=lambda i: list(Kind).index(proof.bugs[i].kind))
        for i in order:
            bug, (right, _) = proof.bugs[i], caught(proof, i)
            number += right
            rows.append((file, bug.kind.value, bug.what, MODES[bug.mode.name], bug.says.strip(" :") if right else "NOT CAUGHT"))
    return rows, number


if __name__ == "__main__":
    sys.exit(main())
