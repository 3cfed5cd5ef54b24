"""The head of every result file: what was run, on what, with which versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent / "results"
PACKAGES = (
    "torch",
    "pytorch-lightning",
    "mlflow",
    "onnxruntime",
    "tritonclient",
    "numpy",
    "scipy",
    "numba",
    "polars",
    "SQLAlchemy",
    "cupy-cuda13x",
)


def write(name: str, title: str, body: Sequence[str], module: str | None = None) -> Path:
    """Write `results/NAME.md`, which the benchmark `module` made, and return its path."""
    versions = ", ".join(f"{p} {version}" for p in PACKAGES if (version := _version(p)))
    head = [
        f"# {title}",
        "",
        f"- when: {time.strftime('%Y-%m-%d')}",
        f"- command: `{' '.join(['python', '-m', f'benchmarks.{module or name}', *sys.argv[1:]])}`",
        f"- machine: {_processor()}, {os.cpu_count()} cores, {_memory()} GiB, {platform.system()} {platform.machine()}, {_gpu()}",
        f"- versions: Python {platform.python_version()}, {versions}",
        "",
    ]
    path = FOLDER / f"{name}.md"
    path.write_text("\n".join([*head, *body, ""]))
    return path


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A Markdown table, the first column left, the others right."""
    rule = "|" + "|".join([":--", *["--:"] * (len(headings) - 1)]) + "|"
    return ["| " + " | ".join(headings) + " |", rule, *("| " + " | ".join(map(str, row)) + " |" for row in rows)]


def _version(package: str) -> str | None:
    """None where it is not installed: the kernels' benchmarks need little of this list."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    names = [
        line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    return names[0] if names else platform.processor()


def _gpu() -> str:
    if shutil.which("nvidia-smi") is None:
        return "no GPU"
    found = subprocess.run(
        ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip().replace("\n", " + ") or "no GPU"


def _memory() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
