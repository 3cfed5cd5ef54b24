"""The processes of an embedded server: told apart from all others, seen to end, killed to the last one."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SHARED_MEMORY: Final = Path("/dev/shm")
STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Children of this process, kept so that their end can be noticed: until its parent has asked, an ended process stays a name.
children: dict[int, subprocess.Popen[bytes]] = {}


def kill_all(identity: str) -> None:
    """Kill every process that carries a server's id and remove its shared memory. Stubs can outlive their server."""
    for pid in carrying(identity):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + 5
    while any(start_time(pid) is not None for pid in carrying(identity)) and time.monotonic() < deadline:
        time.sleep(0.01)
    for segment in SHARED_MEMORY.glob(f"{identity}*"):
        segment.unlink(missing_ok=True)


def carrying(identity: str) -> list[int]:
    """The pids of every server and stub that carries a server's id."""
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


def start_time(pid: int) -> int | None:
    """Clock ticks after boot at which a process began; None when there is none, or only its name is left."""
    if pid in children and children[pid].poll() is not None:
        del children[pid]
    try:
        # The name in parentheses may hold spaces; the fields after it do not. Source: proc_pid_stat(5), fields 3 and 22.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


@contextmanager
def undisturbed() -> Iterator[None]:
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
