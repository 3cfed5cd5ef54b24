"""The environment that the embedded server runs in, and whether this machine can run it at all."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving.errors import CannotStart

GLIBC: Final = (2, 35)
FOLDER: Final = ".triton"


@dataclass(frozen=True, slots=True)
class Runtime:
    """The environment that the server and its Python stubs run in: another NumPy than the engine's."""

    python: Path
    packages: Path
    version: str
    libpython: Path

    @classmethod
    def of(cls, folder: Path) -> Runtime:
        """Look at an environment, and say in plain words why it or this machine will not do.

        Raises:
            CannotStart: With what is missing and how to get it.
        """
        check_platform()
        if not holds_environment(folder):
            raise CannotStart(f"there is no model server in {folder}: `warmstart setup` makes it, once")
        python = folder / "bin" / "python3"
        # Asked of that Python, not of ours: they may be different ones.
        script = (
            "import json, sys, sysconfig as s; v = s.get_config_var; "
            "print(json.dumps([s.get_path('purelib'), '%d.%d' % sys.version_info[:2], "
            "v('INSTSONAME'), [v('LIBDIR'), v('LIBPL'), f\"{v('LIBDIR')}/{v('MULTIARCH')}\", sys.base_prefix + '/lib']]))"
        )
        try:
            asked = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
        except OSError as error:  # made for another machine, or not ours to run
            raise CannotStart(f"{python} does not run here ({error.strerror}); {renewal(folder)}") from error
        if asked.returncode:
            raise CannotStart(f"{python} does not run ({asked.stderr.strip()}); {renewal(folder)}")
        packages, version, library, places = json.loads(asked.stdout)
        tritonserver = Path(packages) / "pytriton" / "tritonserver"
        if not (tritonserver / "bin" / "tritonserver").exists():
            raise CannotStart(f"{folder} holds no model server, or half of one: `warmstart setup` completes it")
        if not (tritonserver / "python_backend_stubs" / version).is_dir():
            have = ", ".join(sorted(p.name for p in (tritonserver / "python_backend_stubs").iterdir()))
            raise CannotStart(f"{folder} is Python {version}, but the server has stubs for {have}; build it with one of these")
        found = next((Path(p) for p in places if (Path(p) / library).exists()), None)
        if found is None:
            raise CannotStart(f"the server needs {library}, which is in none of {places}; install libpython{version}")
        return cls(python, Path(packages), version, found)

    @property
    def tritonserver(self) -> Path:
        """The folder of the server's own files in the wheel."""
        return self.packages / "pytriton" / "tritonserver"

    def environment(self) -> dict[str, str]:
        """What the server and its stubs see. The first python3 on PATH decides which packages a stub imports."""
        return {
            "PATH": f"{self.python.parent}:/usr/bin:/bin",
            "HOME": os.environ.get("HOME", "/"),
            "LD_LIBRARY_PATH": f"{self.packages / 'nvidia_pytriton.libs'}:{self.libpython}",
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
        }

    def backends(self, folder: Path) -> Path:
        """Make the backend directory: the wheel's own python backend, and `onnxruntime` on top of it."""
        shutil.rmtree(folder, ignore_errors=True)
        python = folder / "python"
        python.mkdir(parents=True)
        stub = self.tritonserver / "python_backend_stubs" / self.version / "triton_python_backend_stub"
        for file in (*(self.tritonserver / "backends" / "python").glob("*.*"), stub):
            # Copied: the server refuses a library that a link leads out of the backend directory.
            shutil.copy(file, python)
        (folder / "onnxruntime").mkdir()
        shutil.copy(Path(__file__).parent / "backends" / "onnxruntime" / "model.py", folder / "onnxruntime")
        return folder


def places() -> list[Path]:
    """Where a server's environment is looked for when no setting names it, in this order; the last is where a new one is made.

    In the project, for one of its own; beside the environment that this runs from, where `make` puts it in a checkout; for this
    user, as the XDG base directory specification has it. A user without a home has none there.
    """
    found = [Path.cwd() / FOLDER]
    if sys.prefix != sys.base_prefix:
        found.append(Path(sys.prefix).parent / FOLDER)
    try:
        data = Path(os.environ.get("XDG_DATA_HOME") or Path("~/.local/share").expanduser())
    except RuntimeError:  # as in a container that runs under a number
        return found
    return [*found, data.absolute() / "warmstart" / "triton"]


def located(places: Sequence[Path]) -> Path:
    """The first of these places that holds an environment. Raises CannotStart, naming all of them."""
    found = next(filter(holds_environment, places), None)
    if found is None:
        looked = " or ".join(dict.fromkeys(map(str, places)))
        raise CannotStart(
            f"there is no model server in {looked}: `warmstart setup` makes it, once for all projects (about 440 MB)"
        )
    return found


def holds_environment(folder: Path) -> bool:
    """Whether an environment was made there, or begun."""
    return (folder / "bin" / "python3").exists()


def renewal(folder: Path) -> str:
    """What to do about an environment that was made for another machine."""
    return f"remove {folder}, then `warmstart setup` makes it anew for this machine"


def check_platform() -> None:
    """Raise CannotStart where the server's wheel cannot run, and say where it can."""
    name, version = platform.libc_ver()
    known = tuple(int(part) for part in version.split(".")[:2]) if name == "glibc" else (0, 0)
    if sys.platform != "linux" or platform.machine() != "x86_64" or known < GLIBC:
        here = f"{platform.system()} {platform.machine()} with {f'glibc {version}' if name == 'glibc' else 'another C library'}"
        raise CannotStart(
            f"the embedded model server needs Linux x86_64 with glibc {GLIBC[0]}.{GLIBC[1]} or newer (Debian 12, Ubuntu 22.04); "
            f"this is {here}. Run Triton in a container and give its address instead (serving=external)"
        )
