"""Every example at the end of a verb's --help does what it says, on a stream with a history."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import polars as pl
import pytest
from toy import rows

from engine import app, verbs

ROOT = Path(__file__).parents[2]
STOPPED = 130
FAST = ["gate.min_rows=50", "gate.max_latency_ratio=1000", "model.width=16", "model.members=2"]


def examples() -> list[str]:
    """The lines of every help text that begin with the command, under `Examples:`."""
    found = []
    for command in app.cli.commands.values():
        with click.Context(command, max_content_width=200) as context:
            text = command.get_help(context)
        found += re.findall(r"^ +(warmstart .*)$", text.partition("Examples:")[2], re.MULTILINE)
    return found


def week(number: int) -> pl.DataFrame:
    """Sales with the columns of the README's stream."""
    found = rows(number, count=400).rename({"at": "sold_at", "speed": "price", "kind": "shop", "wear": "units"})
    return found.with_columns(promoted=pl.col("load") > 2).drop("load")


class Project:
    """A folder with windows of a stream `demand`, two versions promoted, one window kept; its server is `warmstart serve`."""

    def __init__(self, root: Path):
        self.root = root
        self.weeks = 0

    def land(self) -> None:
        self.weeks += 1
        path = self.root / "data" / "demand" / f"week-{self.weeks}.parquet"
        week(self.weeks).write_parquet(path.with_name(f".{path.name}"))
        path.with_name(f".{path.name}").rename(path)

    def __call__(self, *arguments: str) -> int:
        try:
            app.cli(list(arguments), standalone_mode=False)
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    def update(self, *overrides: str) -> int:
        self.land()
        return self("update", "stream=demand", *FAST, *overrides)

    def wait(self) -> None:
        """Let a version wait for a person."""
        self("resume", "stream=demand")
        assert self.update("trigger=always", "gate.margin=-100", "stream.require_approval=true") == verbs.ATTENTION

    def newest_live(self) -> None:
        self("resume", "stream=demand")
        self.update("trigger=always", "gate.margin=-100")

    def at_work(self) -> int:
        """The process that took the stream last."""
        with closing(sqlite3.connect(self.root / ".warmstart" / "ledger.db")) as ledger:
            return int(json.loads(ledger.execute("select holder from stream").fetchone()[0])["pid"])

    def begin(self, line: str, log: Path) -> subprocess.Popen[bytes]:
        """The command in a process of its own. It says things to a file: whom it starts may hold a pipe longer than it lives."""
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "engine.app", *shlex.split(line)[1:]]
        with log.open("wb") as file:
            return subprocess.Popen(command, cwd=self.root, env=environment, stdout=file, stderr=file)


@pytest.fixture(scope="module")
def project(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("examples"))
    (project.root / "data" / "demand").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.root)
        project.land()
        assert project("init", "data/demand", "--target", "units") == 0
        log = project.root / "serve.log"
        server = project.begin("warmstart serve", log)
        try:
            while "log " not in log.read_text():
                assert server.poll() is None, log.read_text()
                time.sleep(0.05)
            assert project.update() == 0
            assert project.update("trigger=always", "gate.margin=-100") == 0
            assert project.update("trigger=volume") == 0
            yield project
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == STOPPED


def test_the_question_of_the_readme_is_answered(project: Project) -> None:
    (question,) = re.findall(r"/v2/models/demand/infer -d '(.*?)'\n", (ROOT / "README.md").read_text(), re.DOTALL)
    (line,) = re.findall(r"HTTP (http://\S+)", (project.root / "serve.log").read_text())
    with urllib.request.urlopen(f"{line}/v2/models/demand/infer", question.encode(), timeout=20) as answer:
        (output,) = json.loads(answer.read())["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("units", "FP32", [1, 1])
    assert 5 < output["data"][0] < 60


def test_a_missing_number_is_nan_in_json_as_the_readme_says_and_null_is_refused(project: Project) -> None:
    (question,) = re.findall(r"/v2/models/demand/infer -d '(.*?)'\n", (ROOT / "README.md").read_text(), re.DOTALL)
    (line,) = re.findall(r"HTTP (http://\S+)", (project.root / "serve.log").read_text())
    url = f"{line}/v2/models/demand/infer"
    assert '"data": [9.9]' in question
    with urllib.request.urlopen(url, question.replace("9.9", "NaN").encode(), timeout=20) as answer:
        (output,) = json.loads(answer.read())["outputs"]
    assert math.isfinite(output["data"][0])
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, question.replace("9.9", "null").encode(), timeout=20)
    assert b"attempt to access JSON non-number as double" in refused.value.read()
    refused.value.close()


def test_every_verb_ends_its_help_with_an_example() -> None:
    shown = {line.split()[1] for line in examples()}
    groups = {name for name, command in app.cli.commands.items() if isinstance(command, click.Group)}
    assert shown | groups == set(app.cli.commands)
    assert all(1 <= sum(line.split()[1] == verb for line in examples()) <= 3 for verb in shown)


@pytest.mark.slow
@pytest.mark.parametrize("line", examples())
def test_the_example_does_it(line: str, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verb = line.split()[1]
    if verb == "serve":  # it has served all the others
        assert project("status") == 0
    elif verb == "run":
        process = project.begin(f"{line} {shlex.join(FAST)}", tmp_path / "log")
        if "--until-idle" not in line:
            while project.at_work() != process.pid:
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
        assert process.wait(200) == (0 if "--until-idle" in line else STOPPED), (tmp_path / "log").read_text()
    elif verb == "completion":
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / ".config" / "fish" / "completions").mkdir(parents=True)
        command = line.replace("warmstart", f"{sys.executable} -m engine.app", 1)
        subprocess.run(["bash", "-c", command], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
        (written,) = (path for path in tmp_path.rglob("*") if path.is_file())
        assert "_warmstart_completion" in written.read_text()
    elif verb == "init":
        (tmp_path / "data").symlink_to(project.root / "data")
        monkeypatch.chdir(tmp_path)
        assert project(*shlex.split(line)[1:]) == 0
        assert (tmp_path / "stream" / "demand.yaml").exists()
    else:
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        if verb in ("approve", "reject"):
            project.wait()
        elif verb == "rollback":
            project.newest_live()
        elif verb == "pause":
            project("resume", "stream=demand")
        assert project(*shlex.split(line)[1:]) == 0
