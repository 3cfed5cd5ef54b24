"""A press of TAB in a real shell completes verbs, options, settings, their values, windows and versions."""

from __future__ import annotations

import os
import pty
import re
import resource
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.ledger import Ledger
from engine.ledger.tables import releases
from engine.nouns import Closing, Outcome, Window
from tests.servers import require

ROOT = Path(__file__).parents[2]
STREAM = """\
# @package _global_
stream:
  name: demand
  source: {_target_: engine.windows.ParquetFolder, folder: windows}
  target: units
  columns: {price: number}
"""
TYPED = {
    "warmstart ru": "warmstart run",
    "warmstart upd": "warmstart update",
    "warmstart run --unt": "warmstart run --until-idle",
    "warmstart run stream=fl": "warmstart run stream=flights",
    "warmstart run stream=demand trigger=dri": "warmstart run stream=demand trigger=drift",
    "warmstart run trigger=volume trigger.ro": "warmstart run trigger=volume trigger.rows=",
    "warmstart run gate.marg": "warmstart run gate.margin=",
    "warmstart run strategy.half": "warmstart run strategy.half_life=",
    "warmstart run strategy=warm strategy.first": "warmstart run strategy=warm strategy.first_epochs=",
    "warmstart run stream.contr": "warmstart run stream.contract.",
    "warmstart run stream.columns.pr": "warmstart run stream.columns.price=",
    "warmstart run stream.require_approval=t": "warmstart run stream.require_approval=true",
    "warmstart run platform.jobs.start_method=forks": "warmstart run platform.jobs.start_method=forkserver",
    "warmstart run serving.mode=ex": "warmstart run serving.mode=external",
    "warmstart status platform.led": "warmstart status platform.ledger=",
    "warmstart retry week-2": "warmstart retry week-2",
    "warmstart drift week-1": "warmstart drift week-1",
    "warmstart explain day=2024-01-0": "warmstart explain day=2024-01-07",
    "warmstart rollback stream=demand --to 1": "warmstart rollback stream=demand --to 12",
    "warmstart approve --version ": "warmstart approve --version 13",
    "warmstart completion z": "warmstart completion zsh",
    "warmstart init stre": "warmstart init stream",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stream with a ledger: three windows, version 12 released, version 13 waiting."""
    root = tmp_path_factory.mktemp("project")
    (root / "stream").mkdir()
    (root / "stream" / "demand.yaml").write_text(STREAM)
    ledger = Ledger(f"sqlite:///{root}/.warmstart/ledger.db")
    ends = (("week-1", Outcome.KEPT, 12), ("week-2", Outcome.PROMOTED, 12), ("day=2024-01-07", Outcome.WAITING, 13))
    for number, (name, outcome, version) in enumerate(ends):
        cycle = ledger.open(Window("demand", name, "u", f"{number}" * 64, 100))
        ledger.record(cycle, "close", Closing(outcome, "because", version), 0.0)
    row = ledger.intend("demand", 12, None, "cycle", None)
    with ledger.engine.begin() as tx:
        tx.execute(releases.update().where(releases.c.id == row.id).values(state="done"))
    ledger.close()
    return root


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where `warmstart` is this checkout's."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "warmstart"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m engine.app "$@"\n')
    command.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(folder), "TERM": "dumb", "PS1": "$ "}


class Shell:
    """An interactive shell behind a terminal."""

    def __init__(self, terminal: int):
        self.terminal = terminal

    def until(self, pattern: str, seconds: float = 20.0) -> str:
        """What it writes until it has written this."""
        said, deadline = "", time.monotonic() + seconds
        while not re.search(pattern, said):
            ready, _, _ = select.select([self.terminal], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"the shell wrote no {pattern!r} but {said!r}"
            said += os.read(self.terminal, 4096).decode(errors="replace")
        return said

    def say(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def completed(self, typed: str) -> str:
        """The line after TAB: `echo 'LINE` is what Ctrl-A and Ctrl-E make of it."""
        self.say(f"{typed}\t")
        time.sleep(0.05)
        self.say("\x01printf '<%s>\\n' '\x05'\r")
        return re.search(r"\n<(.*?)>\r", self.until(r"\n<(.*?)>\r"))[1]  # type: ignore[index]


@contextmanager
def interactive(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[Shell]:
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment, start_new_session=True
    ) as shell:
        os.close(theirs)
        try:
            yield Shell(terminal)
        finally:
            shell.kill()
            os.close(terminal)


def test_bash_completes_what_is_begun(project: Path, environment: dict[str, str]) -> None:
    require("bash", "apt-get install bash")
    with interactive(["bash", "--norc", "--noprofile", "-i"], project, environment) as shell:
        shell.say("bind 'set enable-bracketed-paste off'; source <(warmstart completion bash); echo re''ady\r")
        shell.until("ready")
        assert {typed: shell.completed(typed).rstrip(" /") for typed in TYPED} == TYPED


def test_bash_leaves_no_blank_where_more_is_to_come(project: Path, environment: dict[str, str]) -> None:
    require("bash", "apt-get install bash")
    with interactive(["bash", "--norc", "--noprofile", "-i"], project, environment) as shell:
        shell.say("bind 'set enable-bracketed-paste off'; source <(warmstart completion bash); echo re''ady\r")
        shell.until("ready")
        assert shell.completed("warmstart run gate.marg") == "warmstart run gate.margin="
        assert shell.completed("warmstart run stream=fl") == "warmstart run stream=flights "


def test_zsh_completes_what_is_begun(project: Path, environment: dict[str, str]) -> None:
    require("zsh", "apt-get install zsh")
    with interactive(["zsh", "-f", "-i"], project, environment | {"TERM": "linux"}) as shell:
        shell.say(
            "unset zle_bracketed_paste; autoload -Uz compinit; compinit -u; source <(warmstart completion zsh); echo re''ady\r"
        )
        shell.until("ready")
        assert {typed: shell.completed(typed).rstrip(" /") for typed in TYPED} == TYPED


def test_fish_is_offered_what_is_begun(project: Path, environment: dict[str, str]) -> None:
    require("fish", "apt-get install fish")
    for typed, line in TYPED.items():
        program = f"warmstart completion fish | source; complete -C '{typed}'"
        done = subprocess.run(["fish", "-c", program], cwd=project, env=environment, capture_output=True, text=True, check=True)
        assert line.split()[-1] in done.stdout


def test_a_press_takes_well_under_half_a_second(project: Path, environment: dict[str, str]) -> None:
    """Of the processor's time: what a quiet machine would take."""
    asked = {"_WARMSTART_COMPLETE": "bash_complete", "_LINE": "warmstart run trainer.max_st", "_BREAKS": "="}
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(["warmstart"], cwd=project, env=environment | asked, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert done.stdout == "trainer.max_steps=\n"
    assert min(seconds) < 0.25


def test_completion_imports_nothing_that_takes_long(project: Path) -> None:
    program = (
        "import sys; from engine import app, completion; import click\n"
        "with click.Context(app.cli.commands['run'], info_name='run') as context:\n"
        "    assert completion.overrides(context, None, 'gate.m') and completion.windows(context, None, '')\n"
        "print(*({'torch', 'mlflow', 'numpy', 'polars', 'hydra', 'omegaconf', 'sqlalchemy', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=project, capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stdout.strip() == ""
