"""The verbs of a folder share one Triton, whoever started it: it answers until the last of them goes, however they end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy import Toy, ask, command

from engine.configuration import ConfigurationError
from engine.explain import NothingToExplain
from serving.endpoint import Endpoint
from serving.ports import free_ports
from serving.processes import carrying
from serving.server import EmbeddedServer

ROOT = Path(__file__).parents[2]
Until = Callable[..., None]


class Verb:
    """A verb in a process of its own; `said` is what it wrote."""

    def __init__(self, toy: Toy, *words: str):
        self.path = toy.root / f"said-{len(list(toy.root.glob('said-*')))}.txt"
        with self.path.open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "engine.app", *words],
                cwd=toy.root,
                env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def said(self) -> str:
        return self.path.read_text()

    def says(self, words: str) -> bool:
        assert self.process.poll() is None, self.said
        return words in self.said

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def project(founded: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toy]:
    """Version 1 is released and nobody serves it. It is the current folder."""
    toy = founded.copy(tmp_path / "project")
    monkeypatch.chdir(toy.root)
    yield toy
    if (left := toy.server()) is not None:
        left.stop(timeout=0.2)


@pytest.fixture
def begin(project: Toy, until: Until) -> Iterator[Callable[..., Verb]]:
    """Start a verb and wait until it says that it is ready; none is left behind."""
    begun: list[Verb] = []

    def start(*words: str) -> Verb:
        begun.append(Verb(project, *words))
        until(lambda: begun[-1].says("HTTP "), 120.0)
        return begun[-1]

    yield start
    for verb in begun:
        if verb.process.poll() is None:
            verb.end(signal.SIGKILL)


def server(toy: Toy) -> EmbeddedServer:
    found = toy.server()
    assert found is not None, "no server runs"
    return found


def loaded(address: str) -> tuple[int, ...]:
    endpoint = Endpoint(address)
    try:
        return endpoint.loaded("toy")
    finally:
        endpoint.close()


def test_whoever_joins_says_so_and_leaves_the_server_running_for_its_starter(project: Toy, begin: Callable[..., Verb]) -> None:
    first = begin("serve")
    started = server(project)
    assert "joined" not in first.said
    second = begin("serve")
    assert second.said.startswith(f"joined the Triton that `warmstart serve`, process {first.pid} started; it answers until")
    assert second.end() == 130
    assert list(filter(None, second.said.splitlines()))[-2:] == [
        f"Triton goes on for `warmstart serve`, process {first.pid}",
        "stopped; the next start goes on from here",
    ]
    assert server(project) == started
    assert ask(started.address).version == 1
    assert first.process.poll() is None
    assert first.end() == 130
    assert "goes on for" not in first.said
    assert carrying(started.id) == []
    assert not (project.state / "server" / "server.json").exists()


def test_a_server_outlives_its_starter_while_another_verb_uses_it(
    project: Toy, begin: Callable[..., Verb], capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin("run", "stream=toy")
    started = server(project)
    assert run.said == (
        "stream toy: watching windows until Ctrl-C\n"
        f"Triton: gRPC {started.address}, HTTP {started.http}, process {started.pid}, for `warmstart run`, process {run.pid}\n"
    )
    serve = begin("serve")
    capsys.readouterr()
    assert command("status", "--json") == 0
    users = json.loads(capsys.readouterr().out)["server"]["users"]
    assert users == [{"pid": run.pid, "verb": "run"}, {"pid": serve.pid, "verb": "serve"}]
    assert run.end() == 130
    assert f"Triton goes on for `warmstart serve`, process {serve.pid}" in run.said
    assert server(project) == started
    assert project("update") == 0  # joins it, too
    assert ask(started.address).version == 1
    assert serve.end() == 130
    assert carrying(started.id) == []


def test_a_killed_user_is_not_counted(project: Toy, begin: Callable[..., Verb]) -> None:
    first, second = begin("serve"), begin("serve")
    started = server(project)
    first.end(signal.SIGKILL)
    assert ask(started.address).version == 1
    assert second.end() == 130
    assert carrying(started.id) == []


def test_when_all_were_killed_it_answers_and_the_next_verb_stops_it_at_its_end(
    project: Toy, begin: Callable[..., Verb], capsys: pytest.CaptureFixture[str]
) -> None:
    serve = begin("serve")
    started = server(project)
    serve.end(signal.SIGKILL)
    assert ask(started.address).version == 1
    command("status")
    assert "for nobody, those who used it were killed; the next verb that uses it stops it" in capsys.readouterr().out
    next_one = begin("serve")
    assert f"process {serve.pid} started, which has ended; it answers" in next_one.said
    assert server(project) == started
    next_one.end()
    assert carrying(started.id) == []


def test_a_second_run_that_is_refused_leaves_the_server_alone(project: Toy, begin: Callable[..., Verb]) -> None:
    run = begin("run", "stream=toy")
    refused = Verb(project, "run", "stream=toy")
    assert refused.process.wait(60) == 4
    assert refused.said.startswith("warmstart: stream 'toy' is in use by `warmstart run`")
    assert len(refused.said.splitlines()) == 1
    assert ask(server(project).address).version == 1
    run.end()


def test_a_server_that_ends_while_run_waits_for_windows_is_started_again_at_the_same_address(
    project: Toy, begin: Callable[..., Verb], until: Until
) -> None:
    run = begin("run", "stream=toy")
    first = server(project)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: (again := project.server()) is not None and again.id != first.id, 60.0)
    assert server(project).address == first.address
    until(lambda: loaded(first.address), 60.0)
    assert ask(first.address).version == 1
    assert run.said.endswith("Triton ended by itself; starting it again\n")
    run.end()


def test_the_next_server_has_the_ports_of_the_last_one(project: Toy, begin: Callable[..., Verb]) -> None:
    first = begin("serve")
    address = server(project).address
    first.end()
    begin("serve").end()
    assert server_ports(project)[0] == int(address.rpartition(":")[2])


def server_ports(toy: Toy) -> list[int]:
    ports: list[int] = json.loads((toy.state / "server" / "ports.json").read_text())
    return ports


def test_status_says_what_serve_would_serve(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("status") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "Triton: no embedded server runs here; `warmstart serve` serves version 1 of toy"


def test_ports_that_were_asked_for_are_got_and_what_others_hold_is_named(project: Toy, begin: Callable[..., Verb]) -> None:
    grpc, http, metrics = free_ports()
    asked = [f"serving.grpc_port={grpc}", f"serving.http_port={http}", f"serving.metrics_port={metrics}"]
    serve = begin("serve", *asked)
    assert server_ports(project) == [grpc, http, metrics]
    joined = begin("serve", f"serving.http_port={free_ports()[0]}")
    assert "; serving.http_port holds from the next one on\n" in joined.said
    joined.end()
    other = Verb(project, "serve", "platform.state=elsewhere", *asked)
    assert other.process.wait(60) == 2
    holder = server(project).pid
    assert other.said == (
        f"warmstart: port {grpc} (serving.grpc_port) is taken by process {holder} (tritonserver): "
        "stop that, set another port, or null for a free one\n"
    )
    serve.end()


@pytest.mark.parametrize("port", ["x", "70000", "-1", "1.5", "true"])
def test_what_can_be_no_port_is_refused(port: str, project: Toy) -> None:
    with pytest.raises(ConfigurationError, match=re.escape("serving.http_port is ")):
        command("serve", f"serving.http_port={port}")
    with pytest.raises(ConfigurationError, match="each needs its own"):
        command("serve", "serving.http_port=9000", "serving.grpc_port=9000")


@pytest.mark.parametrize("verb", [["status"], ["contract", "show", "stream=toy"]])
def test_verbs_that_read_make_nothing(verb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WARMSTART_STATE", raising=False)
    Toy(tmp_path / "project").make()
    monkeypatch.chdir(tmp_path / "project")
    before = sorted(tmp_path.rglob("*"))
    assert command(*verb) == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_of_no_stream_that_has_a_history_nothing_is_made_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WARMSTART_STATE", raising=False)
    Toy(tmp_path / "project").make()
    monkeypatch.chdir(tmp_path / "project")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigurationError, match="has no history yet"):
        command("report", "stream=toy")
    for words in (["explain", "1"], ["drift", "day-1"]):
        with pytest.raises(NothingToExplain):
            command(*words, "stream=toy")
    assert sorted(tmp_path.rglob("*")) == before
