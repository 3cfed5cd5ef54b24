"""A PostgreSQL of our own for the length of a test run: on the loopback, in a temporary folder, never as root."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from serving.ports import free_ports
from tests.servers import require

USER = "postgres"


@dataclass(frozen=True)
class Cluster:
    port: int
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def database(self) -> str:
        """A new, empty database; returns its SQLAlchemy URL."""
        name = f"d{next(self.numbers)}"
        with psycopg.connect(host="127.0.0.1", port=self.port, user=USER, dbname="postgres", autocommit=True) as connection:
            connection.execute(f"create database {name}")
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{name}"


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Make one, start it, and leave nothing behind."""
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), "initdb")
    require(found, "apt-get install postgresql")
    programs = Path(found).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    become = []
    if os.geteuid() == 0:  # which PostgreSQL refuses to run as
        shutil.chown(folder, USER, USER)
        become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    data, log = folder / "data", folder / "log"
    make = [programs / "initdb", "-D", data, "-U", USER, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
    subprocess.run([*become, *make], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    port = free_ports()[0]
    settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "port": port}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with log.open("w") as file:
        server = subprocess.Popen([*become, programs / "postgres", "-D", data, *options], stdout=file, stderr=file, cwd=folder)
    try:
        _wait_for(port, server, log)
        yield Cluster(port)
    finally:
        server.send_signal(signal.SIGINT)  # its word for: now, but in order
        server.wait(30)
        shutil.rmtree(folder)


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user=USER, dbname="postgres").close()
        except psycopg.OperationalError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return
