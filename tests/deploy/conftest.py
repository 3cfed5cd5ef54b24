from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import dockerfile
import pytest


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first stage of Dockerfile.cuda, carried out in a folder: `wheels` holds the wheel. Nothing is downloaded."""
    image = tmp_path_factory.mktemp("build")
    folder = tmp_path_factory.mktemp("bin")
    _pip(folder / "pip", sys.executable)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    environment.pop("PYTHONPATH", None)
    dockerfile.carry_out(dockerfile.stages()[0], image, {}, environment, until="pip wheel")
    return image


@pytest.fixture(scope="session")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The second stage as far as its `pip install`: an environment of its own that has our wheel and, instead of downloads, what
    is installed here."""
    image = tmp_path_factory.mktemp("image")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", image / "venv"], check=True)
    inside = next((image / "venv" / "lib").glob("python3*")) / "site-packages"
    (inside / "lent.pth").write_text(str(_lent(image / "lent")))
    _pip(image / "venv" / "bin" / "pip", str(image / "venv" / "bin" / "python"))
    environment = os.environ | {"PATH": f"{image}/venv/bin:{os.environ['PATH']}", "PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1"}
    environment.pop("PYTHONPATH", None)
    dockerfile.carry_out(dockerfile.stages()[1], image, {"build": built}, environment, until="pip install")
    return image / "venv" / "bin"


def _pip(path: Path, python: str) -> None:
    path.write_text(f'#!/bin/sh\nexec "{python}" -m pip "$@"\n')
    path.chmod(0o755)


def _lent(folder: Path) -> Path:
    """Every package of this environment but ours, which pip would otherwise find there."""
    folder.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "warmstart" not in path.name and path.suffix != ".pth":
            (folder / path.name).symlink_to(path)
    return folder
