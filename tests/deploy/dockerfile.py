"""A Dockerfile as its stages and steps, and how to carry some of them out in a folder instead of an image."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATH = ROOT / "Dockerfile.cuda"


@dataclass(frozen=True)
class Step:
    """One instruction: its word, and the rest on one line."""

    word: str
    rest: str

    @property
    def words(self) -> list[str]:
        return [word for word in shlex.split(self.rest) if not word.startswith("--")]

    @property
    def stage(self) -> str | None:
        """Whence a COPY takes its files; None is the build context."""
        found = re.match(r"--from=(\S+)", self.rest)
        return found[1] if found else None


def steps() -> list[Step]:
    """Every step of the file, comments left out and continued lines joined."""
    lines = (line for line in PATH.read_text().splitlines() if not line.startswith("#"))
    text = "\n".join(lines).replace("\\\n", " ")
    return [Step(*line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def stages() -> list[list[Step]]:
    """The steps of each stage, its FROM first."""
    found: list[list[Step]] = []
    for step in steps():
        if step.word == "FROM":
            found.append([])
        if found:
            found[-1].append(step)
    return found


def carry_out(stage: list[Step], image: Path, others: Mapping[str, Path], environment: Mapping[str, str], until: str) -> None:
    """Do what a stage does, `image` being its root folder, up to the first RUN that begins with `until`, this one included."""
    folder = image
    for step in stage:
        if step.word == "WORKDIR":
            folder = image / step.rest.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
        elif step.word == "COPY":
            *sources, target = step.words
            for source in sources:
                _copy(_inside(others[step.stage] if step.stage else ROOT, source), folder / target, image)
        elif step.word == "RUN":
            # Absolute folders lie in the image.
            command = re.sub(r"(?<![\w.])/(wheels|source)\b", lambda m: f"{image}/{m[1]}", step.rest)
            subprocess.run(command, shell=True, cwd=folder, env=dict(environment), check=True, timeout=120)
            if step.rest.startswith(until):
                return
    raise AssertionError(f"no RUN begins with {until!r}")


def _inside(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _copy(source: Path, target: Path, image: Path) -> None:
    if target.is_absolute() and not target.is_relative_to(image):
        target = _inside(image, str(target))
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        into_folder = target.is_dir() or target.suffix == ""
        target = target / source.name if into_folder else target
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
