"""What is wrong with the machine and not with the data ends in one clear line and its exit code, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from toy import Toy, command, rows

from engine.ledger.tables import LAYOUT

ROOT = Path(__file__).parents[2]
USAGE, OUTAGE = 2, 75
# For root no file is forbidden, unless it gives that right up.
LIKE_EVERYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.fixture
def project(tmp_path: Path) -> Toy:
    """A project in which nothing happened yet."""
    return Toy(tmp_path / "project").make()


def told(toy: Toy, *command: str, prefix: Sequence[str] = LIKE_EVERYBODY, **environment: str) -> tuple[int, str]:
    """The exit code of a command and what it said on stderr: one line, no traceback."""
    given = {name: value for name, value in os.environ.items() if name != "WARMSTART_STATE"}
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "engine.app", *command],
        cwd=toy.root,
        env=given | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr.strip()


# no right to write


def test_a_state_folder_that_may_not_be_made_is_named(project: Toy) -> None:
    project.root.chmod(0o555)
    code, said = told(project, "pause", "stream=toy")
    project.root.chmod(0o755)
    assert code == USAGE
    assert said.startswith(f"warmstart: {project.state} may not be written by ")
    assert said.endswith("set `platform.state` (WARMSTART_STATE) to a folder where it has")


def test_a_ledger_that_may_not_be_written_is_named(project: Toy) -> None:
    assert told(project, "pause", "stream=toy") == (0, "")
    path = project.state / "ledger.db"
    path.chmod(0o444)
    project.state.chmod(0o555)
    code, said = told(project, "resume", "stream=toy")
    project.state.chmod(0o755)
    assert code == USAGE
    assert said.startswith("warmstart: the ledger sqlite:///.warmstart/ledger.db may not be written by ")


@pytest.mark.long
@pytest.mark.slow
def test_a_repository_that_may_not_be_written_is_named_and_the_window_goes_on_once_it_may(founded: Toy, tmp_path: Path) -> None:
    toy = founded.copy(tmp_path / "project")
    toy.land("day-2", rows(2, turned=True))
    toy.models.chmod(0o555)
    code, said = told(toy, "update", "stream=toy")
    toy.models.chmod(0o755)
    assert code == USAGE
    assert f"{toy.models}/" in said
    assert "may not be written by " in said
    assert toy.outcomes()[-1] == ("day-2", None, None)
    assert told(toy, "update", "stream=toy")[0] == 0
    assert toy.outcomes()[-1] == ("day-2", "promoted", 2)


# no space


def test_a_ledger_that_cannot_grow_is_an_outage(project: Toy) -> None:
    limit = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000)); "
    program = (
        limit + "import sys; sys.argv = ['warmstart', 'pause', 'stream=toy']; runpy.run_module('engine.app', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project.root,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == OUTAGE
    assert done.stderr.strip() == (
        "warmstart: a file cannot grow, for want of space or by `ulimit -f` (the ledger sqlite:///.warmstart/ledger.db): "
        "make room and start again; nothing is lost, the work goes on from here"
    )


FULL = """
set -e
mount -t tmpfs -o size={megabytes}m none .warmstart
cp -a {state}/. .warmstart/
head -c 100M /dev/zero > .warmstart/filler 2> /dev/null || true
truncate -s -300K .warmstart/filler
"$0" -m engine.app update stream=toy platform.retries=[0.1] && code=0 || code=$?
echo "full: $code"
rm .warmstart/filler
"$0" -m engine.app update stream=toy && code=0 || code=$?
echo "with space: $code"
cp .warmstart/ledger.db* .
"""


@pytest.mark.slow
def test_a_disk_that_fills_up_interrupts_the_window_and_rejects_nothing(founded: Toy, tmp_path: Path) -> None:
    unshare = ["unshare", "--mount"]
    if os.geteuid() != 0 or subprocess.run([*unshare, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
        pytest.skip("not run: needs the right to mount a small disk; run it as root")
    toy = founded.copy(tmp_path / "project")
    toy.land("day-2", rows(2, turned=True))
    whole = toy.root / "whole"
    toy.state.rename(whole)
    toy.state.mkdir()
    size = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    script = FULL.format(megabytes=size // 2**20 + 16, state=whole)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*unshare, "bash", "-c", script, sys.executable],
        cwd=toy.root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "full: 75\n" in done.stdout, done.stdout + done.stderr
    assert "no space is left on the disk" in done.stderr
    assert "with space: 0\n" in done.stdout, done.stdout + done.stderr
    with sqlite3.connect(toy.root / "ledger.db") as ledger:
        found = ledger.execute("select window_id, outcome, version from cycle order by opened").fetchall()
    ledger.close()
    assert found == [("day-1", "promoted", 1), ("day-2", "promoted", 2)]


# another version's database


@pytest.mark.parametrize(("layout", "age"), [(LAYOUT - 1, "an older"), (LAYOUT + 1, "a newer")])
def test_a_database_of_another_version_is_left_as_it_is(layout: int, age: str, project: Toy) -> None:
    assert told(project, "pause", "stream=toy") == (0, "")
    path = project.state / "ledger.db"
    with sqlite3.connect(path) as database:
        database.execute("update layout set version = ?", [layout])
        database.execute("drop table event")
    database.close()
    before = path.read_bytes()
    code, said = told(project, "status")
    assert code == USAGE
    assert said == (
        f"warmstart: the ledger at sqlite:///{path} was written by {age} version of warmstart (table layout {layout}, this one "
        f"reads {LAYOUT}): run {age} version, or point `platform.ledger` at a new database"
    )
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_named(project: Toy) -> None:
    project.state.mkdir()
    (project.state / "ledger.db").write_bytes(b"no database at all, but long enough to be looked at as one" * 20)
    code, said = told(project, "status")
    assert code == USAGE
    assert said.startswith(
        "warmstart: sqlite:///.warmstart/ledger.db cannot be read as a database (file is not a database): put a copy"
    )


# the server's wheel


def test_without_the_server_the_command_that_makes_it_is_named(project: Toy) -> None:
    code, said = told(project, "serve", WARMSTART_TRITON=str(project.root / ".triton"))
    assert (code, said) == (
        USAGE,
        f"warmstart: there is no model server in {project.root}/.triton: `warmstart setup` makes it, once",
    )


@pytest.mark.parametrize(
    ("override", "there", "told"),
    [
        ([], None, "data/warmstart/triton\n"),
        ([], "checkout/.triton", "checkout/.triton\n"),
        ([], "project/.triton", "project/.triton; WARMSTART_TRITON={0}/project/.triton lets other folders use it too\n"),
        (["serving.runtime=own"], None, "project/own; WARMSTART_TRITON={0}/project/own lets other folders use it too\n"),
    ],
)
def test_setup_completes_the_server_that_is_found_or_makes_one_for_all_projects(
    override: list[str],
    there: str | None,
    told: str,
    project: Toy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = project.root.parent
    monkeypatch.chdir(project.root)
    monkeypatch.setattr(sys, "prefix", str(base / "checkout" / ".venv"))
    monkeypatch.setenv("XDG_DATA_HOME", str(base / "data"))
    monkeypatch.delenv("WARMSTART_TRITON", raising=False)
    made: list[Path] = []
    monkeypatch.setattr("serving.wheel.install", lambda folder, python: made.append(folder))
    if there:
        (base / there / "bin").mkdir(parents=True)
        (base / there / "bin" / "python3").touch()
    assert command("setup", *override) == 0
    assert capsys.readouterr().out == f"the embedded Triton is in {base}/" + told.format(base)
    assert made == [base / told.rstrip().partition(";")[0]]


def foreign(path: Path) -> None:
    """A program for another machine: the header of an ELF file for AArch64."""
    path.parent.mkdir(parents=True)
    header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0)
    path.write_bytes(header)
    path.chmod(0o755)


def test_an_environment_made_for_another_machine_is_told_so(project: Toy) -> None:
    foreign(project.root / ".triton" / "bin" / "python3")
    code, said = told(project, "serve", WARMSTART_TRITON=str(project.root / ".triton"))
    assert code == USAGE
    assert said == (
        f"warmstart: {project.root}/.triton/bin/python3 does not run here (Exec format error); "
        f"remove {project.root}/.triton, then `warmstart setup` makes it anew for this machine"
    )


def test_a_server_made_for_another_machine_is_told_so(project: Toy, runtime: Path) -> None:
    own = project.root / ".triton"
    shutil.copytree(runtime.resolve(), own, symlinks=True, ignore=lambda folder, names: {"site-packages"} & set(names))
    lent = next((runtime.resolve() / "lib").glob("python3*")) / "site-packages" / "pytriton" / "tritonserver"
    server = next((own / "lib").glob("python3*")) / "site-packages" / "pytriton" / "tritonserver"
    server.mkdir(parents=True)
    for path in lent.iterdir():
        if path.name != "bin":
            (server / path.name).symlink_to(path)
    foreign(server / "bin" / "tritonserver")
    code, said = told(project, "serve", WARMSTART_TRITON=str(own))
    assert code == USAGE
    assert said.startswith(f"warmstart: {server}/bin/tritonserver does not run here (Exec format error); remove {own}, then")


def test_a_server_that_was_installed_by_half_is_completed_by_the_same_command(project: Toy) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project.root / ".triton"], check=True)
    code, said = told(project, "serve", WARMSTART_TRITON=str(project.root / ".triton"))
    assert code == USAGE
    assert said.endswith("holds no model server, or half of one: `warmstart setup` completes it")


def test_an_installation_that_fails_says_that_it_can_be_begun_again(project: Toy) -> None:
    code, said = told(project, "setup", WARMSTART_TRITON=str(project.root / ".triton"), PIP_NO_INDEX="1")
    assert code == USAGE
    assert "No matching distribution found for flatbuffers" in said  # pip's own words
    assert said.endswith("its own words are above. When that is mended, `warmstart setup` goes on from here")


# the command line


def test_a_mistake_in_the_yaml_is_one_line_at_the_command_too(project: Toy) -> None:
    path = project.root / "stream" / "toy.yaml"
    path.write_text(path.read_text().replace("target: wear", "taget: wear"))
    code, said = told(project, "update")
    assert code == USAGE
    assert said.startswith(
        "warmstart: stream/toy.yaml, line 10: there is no setting 'stream.taget'; did you mean 'stream.target'?"
    )
