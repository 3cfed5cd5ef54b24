"""Dockerfile.cuda cannot rot unseen: its lines are checked, and what pip does in it is done here, without a download."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import dockerfile
from dockerfile import ROOT, stages, steps


def test_every_stage_comes_from_a_pinned_image_that_can_be_chosen() -> None:
    chosen = {name: value for step in steps() if step.word == "ARG" for name, value in [step.rest.split("=")]}
    for step in steps():
        if step.word == "FROM":
            name = re.match(r"\$\{(\w+)\}", step.rest)
            assert name is not None, step
            assert re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*", chosen[name[1]])
            assert "latest" not in chosen[name[1]]


def test_every_file_that_is_copied_is_there_and_sent() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for step in steps() if step.word == "COPY" and step.stage is None for source in step.words[:-1]}
    assert all((ROOT / path).exists() for path in copied)
    assert {path.partition("/")[0] for path in copied} == sent


def test_the_engine_runs_as_nobody_special_and_is_asked_how_it_is() -> None:
    last = {step.word: step.rest for step in stages()[-1]}
    assert last["USER"] == "1000"
    words = [step.word for step in stages()[-1]]
    assert words.index("USER") > max(i for i, word in enumerate(words) if word in ("RUN", "COPY"))
    assert '"status"' in last["HEALTHCHECK"]
    assert last["ENTRYPOINT"] == '["warmstart"]'
    assert not any(step.word == "ADD" for step in steps())
    assert all("--no-cache-dir" in step.rest for step in steps() if step.word == "RUN" and step.rest.startswith("pip"))


def test_the_built_wheel_is_one(built: Path) -> None:
    assert [path.suffix for path in (built / "wheels").iterdir()] == [".whl"]


def test_the_installed_command_answers(installed: Path, tmp_path: Path) -> None:
    health = next(step.rest for step in dockerfile.stages()[-1] if step.word == "HEALTHCHECK")
    command = re.findall(r'"([^"]+)"', health)
    done = subprocess.run(command, cwd=tmp_path, env={"PATH": f"{installed}:/usr/bin:/bin"}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("{")
