from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from air import CONFIG, files, rows

from serving.endpoint import Endpoint
from serving.errors import Refused
from serving.ports import free_ports
from serving.probing import name_at
from serving.processes import carrying, start_time
from serving.release import Deployment
from serving.repository import Repository
from serving.runtime import Runtime
from serving.server import EmbeddedServer

Launch = Callable[..., EmbeddedServer]


def alive(server: EmbeddedServer) -> list[int]:
    return carrying(server.id)


def release(models: Path, tmp_path: Path, name: str = "air", version: int = 1) -> None:
    repository = Repository(models)
    repository.publish(name, version, files(tmp_path / f"{name}-{version}", version), CONFIG)
    repository.accept(name, version)
    repository.select(name, (version,))


def answer(server: EmbeddedServer, name: str = "air") -> int:
    endpoint = Endpoint(server.address)
    try:
        return endpoint.infer(name, rows("UA")).version
    finally:
        endpoint.close()


def test_it_starts_loads_and_stops_without_remains(launch: Launch, tmp_path):
    release(tmp_path / "models", tmp_path)
    server = launch(loads=("air",), verb="tests")
    assert server.refused == {}
    assert answer(server) == 1
    assert urllib.request.urlopen(server.metrics, timeout=5).read().count(b"nv_inference_request_success") > 0
    record = json.loads((tmp_path / "state" / "server.json").read_text())
    assert (record["pid"], record["id"], record["owner"], record["verb"]) == (server.pid, server.id, os.getpid(), "tests")
    assert len(alive(server)) == 2  # The server and one stub.
    assert list(Path("/dev/shm").glob(f"{server.id}*"))
    server.stop()
    assert alive(server) == []
    assert list(Path("/dev/shm").glob(f"{server.id}*")) == []
    assert EmbeddedServer.find(tmp_path / "state") is None
    assert not (tmp_path / "state" / "server.json").exists()
    server.stop()


def test_starting_again_returns_the_server_that_runs(launch: Launch):
    first = launch()
    assert launch() == first


STARTER = """
import sys, time
from pathlib import Path
from serving.server import EmbeddedServer
models, runtime, state = map(Path, sys.argv[1:])
print(EmbeddedServer.start(models, runtime, state, loads=("air",), verb="starter").id, flush=True)
time.sleep(60)
"""


def test_a_server_outlives_kill_9_of_its_starter_and_is_adopted(launch: Launch, runtime, tmp_path):
    release(tmp_path / "models", tmp_path)
    arguments = [sys.executable, "-c", STARTER, str(tmp_path / "models"), str(runtime), str(tmp_path / "state")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        identity = starter.stdout.readline().strip()
        starter.kill()
    found = EmbeddedServer.find(tmp_path / "state")
    assert found is not None
    assert (found.id, found.verb, found.owner) == (identity, "starter", starter.pid)
    adopted = launch(loads=("air",))
    assert (adopted.pid, adopted.id) == (found.pid, found.id)
    assert answer(adopted) == 1
    adopted.stop()
    assert alive(adopted) == []


def test_killed_between_the_record_and_the_process_the_next_start_is_not_held_up(launch: Launch, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", die)
        patch.setattr(Runtime, "of", lambda folder: Runtime(folder, folder, "3.11", folder))
        patch.setattr(Runtime, "backends", lambda self, folder: folder)
        with pytest.raises(Killed):
            launch()
    assert json.loads((tmp_path / "state" / "server.json").read_text())["pid"] is None
    assert EmbeddedServer.find(tmp_path / "state") is None
    assert launch().answers()


def test_killed_between_the_process_and_its_pid_in_the_record_the_orphan_is_removed(launch: Launch, tmp_path):
    orphan = launch()
    path = tmp_path / "state" / "server.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pid": None, "started": None}))
    server = launch()
    assert server.id != orphan.id
    assert server.address == orphan.address
    assert alive(orphan) == []


def test_stubs_that_outlived_their_server_are_removed_and_clients_find_the_next_one_at_the_same_address(launch: Launch, tmp_path):
    release(tmp_path / "models", tmp_path)
    dead = launch(loads=("air",))
    os.kill(dead.pid, signal.SIGKILL)
    while start_time(dead.pid) is not None:
        time.sleep(0.01)
    assert EmbeddedServer.find(tmp_path / "state") is None
    server = launch(loads=("air",))
    assert alive(dead) == []
    assert list(Path("/dev/shm").glob(f"{dead.id}*")) == []
    assert server.address == dead.address
    assert answer(server) == 1


def test_after_a_restart_a_version_that_was_staged_but_never_switched_to_is_not_loaded(launch: Launch, tmp_path):
    first = launch()
    endpoint = Endpoint(first.address)
    deployment = Deployment(Repository(tmp_path / "models"), (endpoint,))
    for version, keep in ((1, None), (2, 1)):
        deployment.stage("air", version, files(tmp_path / str(version), version), CONFIG)
        deployment.switch("air", version, keep)
    deployment.stage("air", 3, files(tmp_path / "3", 3), CONFIG)
    endpoint.close()
    first.stop(timeout=0.2)
    second = launch(loads=deployment.repository.names())
    endpoint = Endpoint(second.address)
    assert endpoint.loaded("air") == (1, 2)
    assert endpoint.loaded("air__next") == ()
    assert endpoint.infer("air", rows("UA")).version == 2
    endpoint.close()
    assert (tmp_path / "state" / "server.last.log").exists()


def test_a_pid_that_came_again_is_neither_adopted_nor_killed(launch: Launch, tmp_path):
    server = launch()
    path = tmp_path / "state" / "server.json"
    record = json.loads(path.read_text())
    server.stop()
    with subprocess.Popen(["sleep", "60"]) as bystander:
        path.write_text(json.dumps(record | {"pid": bystander.pid}))
        assert EmbeddedServer.find(tmp_path / "state") is None
        EmbeddedServer(**record | {"pid": bystander.pid}).stop()
        assert launch().id != server.id
        assert bystander.poll() is None
        bystander.kill()


def test_another_server_at_our_port_is_not_taken_for_ours(launch: Launch, runtime, tmp_path):
    server = launch()
    other = EmbeddedServer(**{**asdict(server), "id": "warmstart-of-somebody-else"})
    assert not other.answers()


@pytest.mark.parametrize("body", [b"[1]", b'"text"', b"\xff\xfe", b"{}", b'{"name": "' + b"x" * 200_000, b"<html>"])
def test_whatever_another_program_answers_it_is_not_taken_for_a_server(body: bytes):
    class Same(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Same) as other:
        thread = threading.Thread(target=other.handle_request)
        thread.start()
        assert name_at(f"http://127.0.0.1:{other.server_port}") is None
        thread.join()


@pytest.mark.parametrize("damage", ["", "{", '{"pid": 1'])
def test_a_torn_record_does_not_keep_the_server_from_starting(launch: Launch, tmp_path, damage):
    (tmp_path / "state" / "server.json").write_text(damage)
    assert launch().answers()


def test_a_port_taken_in_the_last_moment_costs_another_attempt(launch: Launch, server: EmbeddedServer, monkeypatch):
    taken = int(server.address.rpartition(":")[2])
    offers = [(taken, *free_ports()[1:]), (free_ports()[0], taken, free_ports()[2]), free_ports()]
    monkeypatch.setattr("serving.ports.free_ports", lambda: offers.pop(0))
    mine = launch()
    assert mine.answers()
    assert mine.id != server.id
    assert offers == []
    assert server.answers()


def test_a_port_that_was_asked_for_and_is_taken_is_named(launch: Launch, server: EmbeddedServer):
    ports = (int(server.address.rpartition(":")[2]), *free_ports()[1:])
    with pytest.raises(
        RuntimeError,
        match=rf"port {ports[0]} \(serving.grpc_port\) is taken by process {server.pid} \(tritonserver\): stop that, set another",
    ):
        launch(ports=ports)


def test_a_model_that_cannot_be_loaded_is_named_and_keeps_no_other_away(launch: Launch, tmp_path):
    models = tmp_path / "models"
    for name in ("air", "torn", "gone"):
        release(models, tmp_path, name)
    torn = models / "torn" / "1" / "model.onnx"
    torn.write_bytes(b"\0" * torn.stat().st_size)
    (models / "gone" / "1" / "model.onnx").unlink()
    server = launch(loads=Repository(models).names())
    assert sorted(server.refused) == ["gone", "torn"]
    assert "model.onnx is missing" in server.refused["gone"]
    assert "ONNXRuntimeError" in server.refused["torn"]
    assert answer(server) == 1
    with pytest.raises(Refused):
        answer(server, "torn")


def test_a_missing_runtime_says_how_to_build_it(tmp_path):
    with pytest.raises(RuntimeError, match=r"there is no model server in .*: `warmstart setup` makes it, once"):
        EmbeddedServer.start(tmp_path, tmp_path / "nothing", tmp_path / "state")


@pytest.mark.parametrize(
    ("machine", "libc", "words"),
    [
        ("x86_64", ("glibc", "2.34"), "this is Linux x86_64 with glibc 2.34"),
        ("aarch64", ("glibc", "2.36"), "this is Linux aarch64 with glibc 2.36"),
        ("x86_64", ("", ""), "this is Linux x86_64 with another C library"),
    ],
)
def test_a_machine_that_cannot_run_it_is_told_before_anything_starts(tmp_path, monkeypatch, machine, libc, words):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    with pytest.raises(RuntimeError, match=rf"glibc 2\.35 or newer .*{words}.*serving=external"):
        EmbeddedServer.start(tmp_path, tmp_path, tmp_path / "state")


def test_importing_the_package_imports_nothing_heavy():
    names = "config, endpoint, errors, golden, release, repository, server"
    code = f"import sys\nfrom serving import {names}\nprint({{m.partition('.')[0] for m in sys.modules}})"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "numpy" in modules
    for heavy in ("tritonclient", "grpc", "google", "torch", "mlflow", "onnxruntime"):
        assert f"'{heavy}'" not in modules
