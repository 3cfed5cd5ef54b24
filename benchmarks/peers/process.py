"""A peer's environment and its process, seen from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CACHE = ROOT / ".bench"  # environments are made once and kept until their pins change
LEFT_OUT = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # where set, they make a current NumPy slower than it is


def environment(name: str) -> Path:
    """The Python of a peer's own environment, which is made first where it is missing or older than its pins."""
    folder, pins = CACHE / name, HERE / f"{name}.txt"
    made = folder / ".pins"
    if not made.exists() or made.read_text() != pins.read_text():
        print(f"making the environment of {name} in {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        # The pins are whole, so nothing else may come in; torch, for one, which some of them would take if asked.
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", "--no-deps", "-r", pins], check=True)
        made.write_text(pins.read_text())
    return folder / "bin" / "python"


def version(name: str) -> str:
    """The peer's name and version, from its pins."""
    wanted = name.replace("_", "-")
    lines = (HERE / f"{name}.txt").read_text().splitlines()
    return next(line.replace("==", " ") for line in lines if line.startswith(f"{wanted}=="))


class Peer:
    """A process that answers `ask`; see `benchmarks.peers`. `room` is the package whose module NAME it runs."""

    def __init__(self, name: str, folder: Path, columns: int, device: str = "cpu", room: str = "benchmarks.peers") -> None:
        self.name, self.columns = name, columns
        python = Path(sys.executable) if name == "ours" else environment(name)
        command = [str(python), "-W", "ignore", "-m", f"{room}.{name}", str(folder), str(columns), device]
        kept = {key: value for key, value in os.environ.items() if key not in LEFT_OUT}
        self.log = folder / f"{name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=kept, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.ready = self._answer()

    def ask(self, call: str) -> dict[str, Any]:
        """Let the peer do one of its calls: wall and CPU seconds, peak bytes beyond what it held, and the values."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{call}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with exit code {self.process.wait()}:\n{self.log.read_text()[-4000:]}")
        return json.loads(line)  # type: ignore[no-any-return]

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.process.kill()
        self.process.communicate()  # the end of its input is the end of a peer
