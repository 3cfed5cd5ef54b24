"""The embedded server's own environment: a virtual environment that nothing but the server and its stubs run in.

It cannot be the engine's: the server's Python stubs need NumPy 1. What belongs in it is pinned in `locks`, which a wheel of ours
carries, so that one command makes it anywhere.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from serving.errors import CannotStart
from serving.runtime import Runtime, check_platform

LOCKS = Path(__file__).parent / "locks"


def install(folder: Path, python: str = sys.executable) -> None:
    """Make the environment in `folder`, or finish one that was begun; what is there already is not fetched again.

    pip tells its progress on this process's own output. Raises CannotStart, saying what to do.
    """
    check_platform()
    own = str(folder / "bin" / "python3")
    if not Path(own).exists():
        _run([python, "-m", "venv", str(folder)], f"the environment {folder} cannot be made")
    pip = [own, "-m", "pip", "install", "--disable-pip-version-check"]
    for arguments in (["-r", str(LOCKS / "server.txt")], ["--no-deps", "-r", str(LOCKS / "server-wheel.txt")]):
        _run([*pip, *arguments], f"pip could not fill {folder}")
    Runtime.of(folder)


def _run(command: Sequence[str], trouble: str) -> None:
    try:
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise CannotStart(f"{trouble}: {command[0]}: {error.strerror}") from error
    if done.returncode:
        raise CannotStart(f"{trouble}; its own words are above. When that is mended, `warmstart setup` goes on from here")
