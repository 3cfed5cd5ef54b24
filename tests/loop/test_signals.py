"""Ctrl-C, SIGTERM and a closed terminal at any moment of the real command: one line, no traceback, nothing left running."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy import Toy, rows

ROOT = Path(__file__).parents[2]
OVERRIDES = ["trigger=always", "gate.margin=-1", "platform.poll=0.05", "stream.catch_up=each"]
STOPPED = "stopped; the next start goes on from here"
MOMENTS = 5  # the last of them in `make test`, of all kinds of signals and of verbs
SECONDS = 8.0
"""What a start with one window to carry takes, about: the moments are drawn from it."""


@pytest.fixture(scope="module")
def project(founded: Toy, tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return founded.copy(tmp_path_factory.mktemp("signals") / "project")


def start(toy: Toy, *args: str, output: int | None = None) -> subprocess.Popen[str]:
    """The command in a session of its own, its words in `said.txt`; returns when it listens to signals."""
    with (toy.root / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.app", *args, "stream=toy"],
            cwd=toy.root,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=output or said,
            stderr=said,
            start_new_session=True,
            text=True,
        )
    while not _catches(process.pid, signal.SIGTERM):
        assert process.poll() is None, (toy.root / "said.txt").read_text()
        time.sleep(0.005)
    return process


def _catches(pid: int, number: int) -> bool:
    (mask,) = [line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt")]
    return bool(int(mask, 16) >> (number - 1) & 1)


def left(toy: Toy, session: int) -> list[str]:
    """The processes of a session, and the model servers of a project."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (command := (folder / "cmdline").read_bytes()):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session or (b"tritonserver" in command and str(toy.state).encode() in command):
                    found.append(command.replace(b"\0", b" ").decode()[:120])
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [pytest.param(n, marks=pytest.mark.long if n > MOMENTS else ()) for n in range(12)])
def test_stopped_at_any_moment_it_says_so_in_one_line_and_leaves_nothing_running(
    project: Toy, number: int, runtime: Path, until: Callable[..., None]
) -> None:
    random_ = random.Random(number)
    pending = sum(1 for _, outcome, _ in project.outcomes() if outcome is None)
    if not pending:
        project.land(f"day-{number + 2}", rows(number + 2, turned=bool(number % 2)))
    process = start(project, ("update", "run")[number % 2], *OVERRIDES)
    time.sleep(random_.uniform(0, SECONDS))
    kind = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[number % 3]
    if process.poll() is None:
        # A terminal signals the whole group; whoever ends a service, the one process.
        process.send_signal(kind) if kind == signal.SIGTERM else os.killpg(process.pid, kind)
        if number % 4 == 3:
            time.sleep(random_.uniform(0, 0.5))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
    code = process.wait(60)
    said = (project.root / "said.txt").read_text()
    assert "Traceback" not in said
    assert (code, said.splitlines()[-1]) == (130, STOPPED) or (number % 2 == 0 and code == 0), said
    until(lambda: not left(project, process.pid), 60.0)  # the job server sees that it is alone when all its imports are done


def test_a_library_that_logs_a_ctrl_c_is_not_quoted(tmp_path: Path) -> None:
    """SQLAlchemy's pool does, when it comes while a connection is closed."""
    script = """
import logging, sys
from engine import app
def verb():
    for error in (KeyboardInterrupt(), OSError("the disk is gone")):
        try:
            raise error
        except BaseException:
            logging.getLogger("sqlalchemy.pool").error("Exception closing connection", exc_info=True)
    raise KeyboardInterrupt
app.cli = lambda **settings: verb()
app.main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert ended.returncode == 130
    assert "KeyboardInterrupt" not in ended.stderr
    assert ended.stderr.endswith(f"OSError: the disk is gone\n{STOPPED}\n")


@pytest.mark.slow
def test_after_all_that_the_next_start_finishes_everything_once(project: Toy, runtime: Path) -> None:
    process = start(project, "update", *OVERRIDES)
    assert process.wait(120) == 0, (project.root / "said.txt").read_text()
    windows = sorted(path.stem for path in (project.root / "windows").glob("*.parquet"))
    assert sorted(window for window, *_ in project.outcomes()) == windows
    assert {outcome for _, outcome, _ in project.outcomes()} == {"promoted"}
    assert project.versions() == {cycle.version: cycle.id for cycle in project.cycles()}
    assert project.aliases()["champion"] == len(windows)


INTERRUPTED = """
import sys
from engine import app
def verb():
    try:
        exec("raise KeyboardInterrupt")
    except KeyboardInterrupt:
        sys.exit(130)
app._verb = verb
app.main()
"""


def test_an_interrupt_in_a_text_that_is_executed_does_not_change_how_the_command_ends(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(INTERRUPTED)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-m", "program"], cwd=tmp_path, env=environment, check=False)
    assert ended.returncode == 130


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def test_who_reads_the_output_sees_its_end_when_the_command_ends(toy: Toy, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    process = start(toy, "update", output=writing)
    os.close(writing)
    assert process.wait(60) == 0
    ended = time.monotonic()
    said = b""
    while part := os.read(reading, 4096):
        said += part
    assert time.monotonic() - ended < 0.5
    assert said == b"nothing is pending\n"
    assert (toy.root / "said.txt").read_text() == ""


def test_a_reader_that_has_seen_enough_is_no_accident(toy: Toy, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    toy.land("day-2", rows(2))
    process = start(toy, "update", output=writing)
    os.close(writing)
    os.close(reading)
    assert process.wait(60) == 1
    assert (toy.root / "said.txt").read_text() == ""
    assert toy.outcomes()[-1] == ("day-2", "kept", 1)
    with toy.engine() as engine:
        assert list(engine.carry_pending()) == []
        assert toy.answer().version == 1
