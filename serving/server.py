"""A real Triton server on this machine, started from a wheel: no container, no GPU.

The server outlives the process that started it. `server.json` in its state folder is written before the process exists and
names it by an id that nobody else has; so after a kill at any point the next start finds the server and goes on with it, or
finds its remains and removes them.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from serving.endpoint import Endpoint
from serving.errors import CannotStart, Refused, Unreachable
from serving.repository import Repository

RECORD: Final = "server.json"
LOG: Final = "server.log"
LAST_LOG: Final = "server.last.log"
SHARED_MEMORY: Final = Path("/dev/shm")
GLIBC: Final = (2, 35)
# What a server must be started with, this one or one in a container.
FLAGS: Final = (
    "--model-control-mode=explicit",
    # Half a second to answer instead of nearly two; our configurations are complete.
    "--disable-auto-complete-config",
    # Otherwise the whole server turns unready during every load.
    "--strict-readiness=false",
    "--exit-timeout-secs=10",
)

STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Tried with other ports when another process was quicker to take one.
_PORT_ATTEMPTS: Final = 5
# A busy server is slow, and one that is taken for dead is killed. Where nobody listens the answer comes at once.
_ANSWER_SECONDS: Final = 5.0


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
        runtime: Path,
        state: Path,
        loads: Sequence[str] = (),
        timeout: float = 60.0,
        verb: str = "",
        ports: tuple[int, int, int] | None = None,
    ) -> EmbeddedServer:
        """Return the server of this state folder: the one that runs, or a new one.

        Args:
            repository: The model repository.
            runtime: The environment that holds the server's wheel (`.triton`).
            state: Where `server.json`, the log and the backends are kept; one server for each.
            loads: Models to load. One that cannot be loaded is named in `refused` and does not keep the others away.
            timeout: Seconds for the server to answer, and again for the models to load.
            verb: What the starting process is doing, for those who look at `server.json`.
            ports: gRPC, HTTP and metrics. None takes those of this folder's last server where they are free, or any others.

        Raises:
            CannotStart: This machine cannot run the server, the runtime is not there, or the server ended; says what to do.
            Unreachable: It did not answer in time.
        """
        state = state.absolute()
        state.mkdir(parents=True, exist_ok=True)
        with _lock(state):
            found = cls.find(state)
            if found is None:
                last = _remove_remains(state)
                server = _launch(repository.absolute(), Runtime.of(runtime.absolute()), state, timeout, verb, ports, last)
            else:
                server = found
            try:
                refused = _load(server, Repository(repository), loads, timeout)
            except KeyboardInterrupt:
                if found is None:
                    server.stop(timeout=1)
                raise
        return cls(**{**_fields(server), "refused": refused})

    @classmethod
    def find(cls, state: Path) -> EmbeddedServer | None:
        """The server of this state folder if it is the process we started and it answers with its own id, else None."""
        record = _read(state.absolute())
        if record.get("pid") is None:
            return None
        server = cls(**record)
        return server if _start_time(server.pid) == server.started and server.answers() else None

    def answers(self) -> bool:
        """True when what listens at our port is this server, not another that took the port."""
        return _name(self.http) == self.id

    def stop(self, timeout: float = 15.0) -> None:
        """End it: ask, wait, then kill what is left, stubs included. Close every client first, or it waits for them.

        Stopping a server that has ended, or was stopped and started again meanwhile, removes its remains only. A Ctrl-C waits
        until it is done.
        """
        with _undisturbed():
            if _start_time(self.pid) == self.started:
                os.kill(self.pid, signal.SIGTERM)
                deadline = time.monotonic() + timeout
                while _start_time(self.pid) == self.started and time.monotonic() < deadline:
                    time.sleep(0.01)
            _kill(self.id)
            if ended := _children.pop(self.pid, None):
                with suppress(subprocess.TimeoutExpired):
                    ended.wait(5)
            if _read(Path(self.state)).get("id") == self.id:
                (Path(self.state) / RECORD).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Runtime:
    """The environment that the server and its Python stubs run in: another NumPy than the engine's."""

    python: Path
    packages: Path
    version: str
    libpython: Path

    @classmethod
    def of(cls, folder: Path) -> Runtime:
        """Look at an environment, and say in plain words why it or this machine will not do.

        Raises:
            CannotStart: With what is missing and how to get it.
        """
        check_platform()
        python = folder / "bin" / "python3"
        if not python.exists():
            raise CannotStart(f"there is no model server in {folder}: `warmstart setup` makes it, once")
        # Asked of that Python, not of ours: they may be different ones.
        script = (
            "import json, sys, sysconfig as s; v = s.get_config_var; "
            "print(json.dumps([s.get_path('purelib'), '%d.%d' % sys.version_info[:2], "
            "v('INSTSONAME'), [v('LIBDIR'), v('LIBPL'), f\"{v('LIBDIR')}/{v('MULTIARCH')}\", sys.base_prefix + '/lib']]))"
        )
        try:
            asked = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
        except OSError as error:  # made for another machine, or not ours to run
            raise CannotStart(f"{python} does not run here ({error.strerror}); {_renew(folder)}") from error
        if asked.returncode:
            raise CannotStart(f"{python} does not run ({asked.stderr.strip()}); {_renew(folder)}")
        packages, version, library, places = json.loads(asked.stdout)
        tritonserver = Path(packages) / "pytriton" / "tritonserver"
        if not (tritonserver / "bin" / "tritonserver").exists():
            raise CannotStart(f"{folder} holds no model server, or half of one: `warmstart setup` completes it")
        if not (tritonserver / "python_backend_stubs" / version).is_dir():
            have = ", ".join(sorted(p.name for p in (tritonserver / "python_backend_stubs").iterdir()))
            raise CannotStart(f"{folder} is Python {version}, but the server has stubs for {have}; build it with one of these")
        found = next((Path(p) for p in places if (Path(p) / library).exists()), None)
        if found is None:
            raise CannotStart(f"the server needs {library}, which is in none of {places}; install libpython{version}")
        return cls(python, Path(packages), version, found)

    @property
    def tritonserver(self) -> Path:
        """The folder of the server's own files in the wheel."""
        return self.packages / "pytriton" / "tritonserver"

    def environment(self) -> dict[str, str]:
        """What the server and its stubs see. The first python3 on PATH decides which packages a stub imports."""
        return {
            "PATH": f"{self.python.parent}:/usr/bin:/bin",
            "HOME": os.environ.get("HOME", "/"),
            "LD_LIBRARY_PATH": f"{self.packages / 'nvidia_pytriton.libs'}:{self.libpython}",
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
        }

    def backends(self, folder: Path) -> Path:
        """Make the backend directory: the wheel's own python backend, and `onnxruntime` on top of it."""
        shutil.rmtree(folder, ignore_errors=True)
        python = folder / "python"
        python.mkdir(parents=True)
        stub = self.tritonserver / "python_backend_stubs" / self.version / "triton_python_backend_stub"
        for file in (*(self.tritonserver / "backends" / "python").glob("*.*"), stub):
            # Copied: the server refuses a library that a link leads out of the backend directory.
            shutil.copy(file, python)
        (folder / "onnxruntime").mkdir()
        shutil.copy(Path(__file__).parent / "backends" / "onnxruntime" / "model.py", folder / "onnxruntime")
        return folder


def _launch(
    repository: Path,
    runtime: Runtime,
    state: Path,
    timeout: float,
    verb: str,
    ports: tuple[int, int, int] | None,
    last: tuple[int, int, int] | None,
) -> EmbeddedServer:
    repository.mkdir(parents=True, exist_ok=True)
    backends = runtime.backends(state / "backends")
    if (state / LOG).exists():
        # Why the last one ended is asked after the next one started.
        (state / LOG).replace(state / LAST_LOG)
    deadline = time.monotonic() + timeout
    for attempt in range(_PORT_ATTEMPTS):
        chosen = ports or (last if last and attempt == 0 else None) or free_ports()
        identity = f"warmstart-{uuid.uuid4().hex[:12]}"
        grpc, http, metrics = chosen
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
        _write(state, record)
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
            with _undisturbed(), (state / LOG).open("wb") as log:
                process = subprocess.Popen(
                    command,
                    env=runtime.environment(),
                    cwd=state,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                _children[process.pid] = process
            record |= {"pid": process.pid, "started": _start_time(process.pid) or 0}
            server = EmbeddedServer(**record)
            _write(state, record)
            while _start_time(server.pid) == server.started:
                if server.answers():
                    return server
                if time.monotonic() > deadline:
                    server.stop(timeout=1)
                    raise Unreachable(f"the model server did not answer at {server.http} within {timeout:g} s; see {server.log}")
                time.sleep(0.01)
        except OSError as error:
            if error.errno not in (errno.ENOEXEC, errno.EACCES):
                raise
            folder = runtime.python.parent.parent
            raise CannotStart(f"{command[0]} does not run here ({error.strerror}); {_renew(folder)}") from error
        except KeyboardInterrupt:
            with _undisturbed():
                _kill(identity)
                (state / RECORD).unlink(missing_ok=True)
            raise
        said = server.log.read_text(errors="replace")
        server.stop()
        taken = "already in use" in said
        if not taken or ports:
            remedy = f"free the ports {ports} or choose others" if taken else f"see {server.log}"
            raise CannotStart(f"the model server ended as it started; {remedy}. Its last words:\n{said[-1500:]}")
    raise CannotStart(f"{_PORT_ATTEMPTS} times another process took a port that was free a moment before; try again")


# Children of this process, kept so that their end can be noticed: until its parent has asked, an ended process stays a name.
_children: dict[int, subprocess.Popen[bytes]] = {}


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


def _renew(folder: Path) -> str:
    return f"remove {folder}, then `warmstart setup` makes it anew for this machine"


def check_platform() -> None:
    """Raise CannotStart where the server's wheel cannot run, and say where it can."""
    name, version = platform.libc_ver()
    known = tuple(int(part) for part in version.split(".")[:2]) if name == "glibc" else (0, 0)
    if sys.platform != "linux" or platform.machine() != "x86_64" or known < GLIBC:
        here = f"{platform.system()} {platform.machine()} with {f'glibc {version}' if name == 'glibc' else 'another C library'}"
        raise CannotStart(
            f"the embedded model server needs Linux x86_64 with glibc {GLIBC[0]}.{GLIBC[1]} or newer (Debian 12, Ubuntu 22.04); "
            f"this is {here}. Run Triton in a container and give its address instead (serving=external)"
        )


def free_ports() -> tuple[int, int, int]:
    """Three loopback ports that nobody listens on just now."""
    with socket.socket() as a, socket.socket() as b, socket.socket() as c:
        for s in (a, b, c):
            s.bind(("127.0.0.1", 0))
        return a.getsockname()[1], b.getsockname()[1], c.getsockname()[1]


def _name(http: str) -> str | None:
    # Without the environment's proxies: the server is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{http}/v2", timeout=_ANSWER_SECONDS) as response:
            return str(json.loads(response.read(1 << 16))["name"])
    except (OSError, HTTPException, ValueError, LookupError, TypeError):  # No listener, not HTTP, not JSON, not a model server.
        return None


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A Ctrl-C, SIGTERM or hang-up inside takes effect at the end: a server half started or half stopped would stay behind."""
    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield
        return
    late: list[int] = []
    before = {number: signal.signal(number, lambda it, _: late.append(it)) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if late:
            signal.raise_signal(late[0])


@contextmanager
def _lock(state: Path) -> Iterator[None]:
    # Released by the kernel when the holder ends, however it ends.
    with (state / "server.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(state: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((state / RECORD).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return record


def _write(state: Path, record: Mapping[str, Any]) -> None:
    beside = state / f".{RECORD}"
    beside.write_text(json.dumps(record, indent=1))
    beside.replace(state / RECORD)


def _fields(server: EmbeddedServer) -> dict[str, Any]:
    return asdict(server)


def _remove_remains(state: Path) -> tuple[int, int, int] | None:
    """Kill what is left of this folder's last server. Returns its ports, so that clients find the next one there."""
    record = _read(state)
    if not record:
        return None
    _kill(record["id"])
    (state / RECORD).unlink(missing_ok=True)
    ports = [int(record[key].removesuffix("/metrics").rpartition(":")[2]) for key in ("address", "http", "metrics")]
    return ports[0], ports[1], ports[2]


def _kill(identity: str) -> None:
    """Kill every process that carries a server's id and remove its shared memory. Stubs can outlive their server."""
    for pid in _carrying(identity):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + 5
    while any(_start_time(pid) is not None for pid in _carrying(identity)) and time.monotonic() < deadline:
        time.sleep(0.01)
    for segment in SHARED_MEMORY.glob(f"{identity}*"):
        segment.unlink(missing_ok=True)


def _carrying(identity: str) -> list[int]:
    # By the id in the command line, not by process group: a group's number comes again, an id never.
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            program = Path(os.fsdecode(command.split(b"\0", 1)[0])).name
            if program in ("tritonserver", "triton_python_backend_stub") and identity.encode() in command:
                found.append(int(folder.name))
    return found


def _start_time(pid: int) -> int | None:
    """Clock ticks after boot at which a process began; None when there is none, or only its name is left."""
    if pid in _children and _children[pid].poll() is not None:
        del _children[pid]
    try:
        # The name in parentheses may hold spaces; the fields after it do not. Source: proc_pid_stat(5), fields 3 and 22.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])
