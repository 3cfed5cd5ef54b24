"""What NVIDIA's own compiler makes of a `.cu` file: machine code for a card that need not be here, and what it uses of one."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import re
from dataclasses import dataclass, fields

from cuda_on_cpu.raw_module import store

from kernels import gpu
from proofs.proof import Limits

ARCHITECTURES = ("sm_80", "sm_90", "sm_100", "sm_120")  # A100, H100 and H200, B200, RTX 50


@dataclass(frozen=True)
class Usage:
    """What one kernel uses, as ptxas says: registers a thread, the rest in bytes; shared memory a block."""

    registers: int
    shared: int
    stack: int
    spilled: int

    def over(self, limits: Limits) -> str:
        """What is more than it may be; nothing if all is well."""
        pairs = [(field.name, getattr(self, field.name), getattr(limits, field.name)) for field in fields(self)]
        return ", ".join(f"{value} {name} of {limit}" for name, value, limit in pairs if value > limit)


KERNEL = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


def version() -> str:
    """The compiler's own."""
    return importlib.metadata.version("nvidia-cuda-nvrtc")


def usage(file: str, options: tuple[str, ...], architecture: str) -> dict[str, Usage]:
    """Each kernel of the file by its name. Raises cuda.core's error, with the compiler's words, if it does not compile."""
    found = {}
    for kernel in KERNEL.finditer(log(file, options, architecture)):
        shared = re.search(r"(\d+) bytes smem", kernel["rest"])
        spilled = int(kernel["stores"]) + int(kernel["loads"])
        found[kernel["name"]] = Usage(int(kernel["registers"]), int(shared[1]) if shared else 0, int(kernel["stack"]), spilled)
    return found


def log(file: str, options: tuple[str, ...], architecture: str) -> str:
    """What ptxas says; remembered, so that the same source is compiled once by each version of the compiler."""
    text = gpu.source(file)
    digest = hashlib.sha256("\0".join([text, *options, architecture, version()]).encode()).hexdigest()[:24]
    path = store() / f"{digest}.ptxas"
    if not path.exists():
        import cuda.core  # here, so that the other checks run without it

        macros = [tuple(option.removeprefix("-D").split("=")) for option in options]
        settings = cuda.core.ProgramOptions(std="c++17", arch=architecture, define_macro=macros, ptxas_options="-v")
        said = io.StringIO()
        cubin = cuda.core.Program(text, "c++", settings).compile("cubin", logs=said)
        assert cubin.code
        path.write_text(said.getvalue())
    return path.read_text()
