"""A real Triton server on this machine, started from a wheel: no container, no GPU.

The server outlives the process that started it; `serving.users` tells when it ends. `server.json` in its state folder is written
before the process exists and names it by an id that nobody else has; so after a kill at any point the next start finds the server
and goes on with it, or finds its remains and removes them.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from serving.endpoint import Endpoint
from serving.errors import CannotStart, Refused, Unreachable
from serving.ports import Asked, Ports, chosen, refuse_taken
from serving.probing import name_at
from serving.processes import children, kill_all, start_time, undisturbed
from serving.repository import Repository
from serving.runtime import Runtime, located, places, renewal
from serving.server_folder import LAST_LOG, LOG, RECORD, folder_lock, read_ports, read_record, write_ports, write_record

# What a server must be started with, this one or one in a container.
FLAGS: Final = (
    "--model-control-mode=explicit",
    # Half a second to answer instead of nearly two; our configurations are complete.
    "--disable-auto-complete-config",
    # Otherwise the whole server turns unready during every load.
    "--strict-readiness=false",
    "--exit-timeout-secs=10",
)

# Tried with other ports when another process was quicker to take one.
_PORT_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server. `address` is its gRPC, `http` and `metrics` are URLs; `refused` are the models it could not load.

    `started` is the process's start time in clock ticks since boot: with the pid it names one process, though pids come again.
    `owner` and `verb` are the process that started it, alive or not.
    """

    address: str
    http: str
    metrics: str
    pid: int
    started: int
    id: str
    state: str
    owner: int
    verb: str
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """What the server writes."""
        return Path(self.state) / LOG

    @classmethod
    def start(
        cls,
        repository: Path,
        runtime: Path | None,
        state: Path,
        loads: Sequence[str] = (),
        timeout: float = 60.0,
        verb: str = "",
        ports: Asked = (None, None, None),
    ) -> EmbeddedServer:
        """Return the server of this state folder: the one that runs, or a new one.

        Args:
            repository: The model repository.
            runtime: The environment that holds the server's wheel. None looks for it where `serving.runtime.places` says.
            state: Where `server.json`, the log and the backends are kept; one server for each.
            loads: Models to load. One that cannot be loaded is named in `refused` and does not keep the others away.
            timeout: Seconds for the server to answer, and again for the models to load.
            verb: What the starting process is doing, for those who look at `server.json`.
            ports: gRPC, HTTP and metrics. None takes that of this folder's last server where it is free, or any other. A server
                that runs already keeps its own.

        Raises:
            CannotStart: This machine cannot run the server, the runtime is not there, a port is taken, or the server ended; says
                what to do.
            Unreachable: It did not answer in time.
        """
        state = state.absolute()
        state.mkdir(parents=True, exist_ok=True)
        with folder_lock(state):
            found = cls.find(state)
            if found is None:
                _remove_remains(state)
                environment = Runtime.of((runtime or located(places())).absolute())
                server = _launch(repository.absolute(), environment, state, timeout, verb, ports)
            else:
                server = found
            try:
                refused = _load(server, Repository(repository), loads, timeout)
            except KeyboardInterrupt:
                if found is None:
                    server.stop(timeout=1)
                raise
        return cls(**{**asdict(server), "refused": refused})

    @classmethod
    def find(cls, state: Path) -> EmbeddedServer | None:
        """The server of this state folder if it is the process we started and it answers with its own id, else None."""
        record = read_record(state.absolute())
        if record.get("pid") is None:
            return None
        server = cls(**record)
        return server if start_time(server.pid) == server.started and server.answers() else None

    def answers(self) -> bool:
        """True when what listens at our port is this server, not another that took the port."""
        return name_at(self.http) == self.id

    def stop(self, timeout: float = 15.0) -> None:
        """End it: ask, wait, then kill what is left, stubs included. Close every client first, or it waits for them.

        Stopping a server that has ended, or was stopped and started again meanwhile, removes its remains only. A Ctrl-C waits
        until it is done.
        """
        with undisturbed():
            if start_time(self.pid) == self.started:
                os.kill(self.pid, signal.SIGTERM)
                deadline = time.monotonic() + timeout
                while start_time(self.pid) == self.started and time.monotonic() < deadline:
                    time.sleep(0.01)
            kill_all(self.id)
            if ended := children.pop(self.pid, None):
                with suppress(subprocess.TimeoutExpired):
                    ended.wait(5)
            if read_record(Path(self.state)).get("id") == self.id:
                (Path(self.state) / RECORD).unlink(missing_ok=True)


def _launch(
    repository: Path,
    runtime: Runtime,
    state: Path,
    timeout: float,
    verb: str,
    asked: Asked,
) -> EmbeddedServer:
    repository.mkdir(parents=True, exist_ok=True)
    backends = runtime.backends(state / "backends")
    if (state / LOG).exists():
        # Why the last one ended is asked after the next one started.
        (state / LOG).replace(state / LAST_LOG)
    deadline = time.monotonic() + timeout
    last = read_ports(state)
    for _ in range(_PORT_ATTEMPTS):
        refuse_taken(asked)
        ports: Ports = chosen(asked, last)
        last = []
        identity = f"warmstart-{uuid.uuid4().hex[:12]}"
        grpc, http, metrics = ports
        record: dict[str, Any] = {
            "address": f"127.0.0.1:{grpc}",
            "http": f"http://127.0.0.1:{http}",
            "metrics": f"http://127.0.0.1:{metrics}/metrics",
            "pid": None,
            "started": None,
            "id": identity,
            "state": str(state),
            "owner": os.getpid(),
            "verb": verb,
        }
        # First the record, then the process: a kill between the two leaves an id to look for, not an unknown server.
        write_record(state, record)
        command = [
            str(runtime.tritonserver / "bin" / "tritonserver"),
            f"--id={identity}",
            f"--model-repository={repository}",
            f"--backend-directory={backends}",
            f"--cache-directory={runtime.tritonserver / 'caches'}",
            f"--backend-config=python,shm-region-prefix-name={identity}",
            *FLAGS,
            "--http-address=127.0.0.1",
            "--grpc-address=127.0.0.1",
            "--metrics-address=127.0.0.1",
            f"--grpc-port={grpc}",
            f"--http-port={http}",
            f"--metrics-port={metrics}",
            "--allow-gpu-metrics=false",
        ]
        try:
            with undisturbed(), (state / LOG).open("wb") as log:
                process = subprocess.Popen(
                    command,
                    env=runtime.environment(),
                    cwd=state,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                children[process.pid] = process
            record |= {"pid": process.pid, "started": start_time(process.pid) or 0}
            server = EmbeddedServer(**record)
            write_record(state, record)
            while start_time(server.pid) == server.started:
                if server.answers():
                    write_ports(state, ports)
                    return server
                if time.monotonic() > deadline:
                    server.stop(timeout=1)
                    raise Unreachable(f"the model server did not answer at {server.http} within {timeout:g} s; see {server.log}")
                time.sleep(0.01)
        except OSError as error:
            if error.errno not in (errno.ENOEXEC, errno.EACCES):
                raise
            folder = runtime.python.parent.parent
            raise CannotStart(f"{command[0]} does not run here ({error.strerror}); {renewal(folder)}") from error
        except KeyboardInterrupt:
            with undisturbed():
                kill_all(identity)
                (state / RECORD).unlink(missing_ok=True)
            raise
        said = server.log.read_text(errors="replace")
        server.stop()
        if "already in use" not in said:
            raise CannotStart(f"the model server ended as it started; see {server.log}. Its last words:\n{said[-1500:]}")
    raise CannotStart(f"{_PORT_ATTEMPTS} times another process took a port that was free a moment before; try again")


def _load(server: EmbeddedServer, repository: Repository, names: Sequence[str], timeout: float) -> dict[str, str]:
    endpoint = Endpoint(server.address)

    def load(name: str) -> str | None:
        try:
            for version in repository.selected(name):
                repository.complete(name, version)
            # One that already serves is left alone: to load it again could carry out half of somebody's switch.
            if not endpoint.ready(name):
                endpoint.load(name, seconds=timeout)
        except Refused as error:
            return str(error)
        return None

    try:
        with ThreadPoolExecutor(max_workers=4) as pool:
            refused = dict(zip(names, pool.map(load, names), strict=True))
    finally:
        endpoint.close()
    return {name: why for name, why in refused.items() if why is not None}


def stop_recorded(state: Path) -> None:
    """Stop the server of a state folder, or remove what is left of it. Nothing happens where there is none."""
    with folder_lock(state):
        record = read_record(state)
        if record.get("pid") is None:
            _remove_remains(state)
        else:
            EmbeddedServer(**record).stop()


def _remove_remains(state: Path) -> None:
    """Kill what is left of this folder's last server."""
    if record := read_record(state):
        kill_all(record["id"])
        (state / RECORD).unlink(missing_ok=True)
