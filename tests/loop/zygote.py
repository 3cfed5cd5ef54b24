"""A process that has everything imported and nothing started: it forks one verb after another, and kills it where it is told.

    python zygote.py            one request a line on stdin, one answer a line on stdout, both JSON

What can be seen from outside a verb's process happens in effects, one after another: a transaction committed (in the ledger or in
MLflow's database), a file opened for writing, renamed, linked or removed in the model repository and beside it, a model loaded or
unloaded in Triton. They are seen from outside, too: by Python's audit hooks and SQLAlchemy's events, and by the two methods that
load and unload. A request names after how many effects the verb is to die, so what happens before and after every one can be
tried; without a number it counts them.
"""

from __future__ import annotations

import json
import multiprocessing.forkserver
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy.event
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

import engine.display
import engine.loop
import engine.opening
import engine.stream
import kernels.cpu
from engine import app
from serving.endpoint import Endpoint

IMPORTED = (SqlAlchemyStore, engine.loop, engine.stream, engine.opening, engine.display, kernels.cpu)
CHANGES = ("INSERT", "UPDATE", "DELETE")


class Effects:
    """Counts what a process does to the world, writes it down, and kills the process when the count is reached."""

    def __init__(self, state: Path, log: Path, kill_after: int | None):
        self.state, self.kill_after, self.done = str(state), kill_after, 0
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.changes: dict[int, str] = {}
        self.last = ""

    def watch(self) -> None:
        sys.addaudithook(self._file)
        sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", self._statement)
        sqlalchemy.event.listen(sqlalchemy.Engine, "commit", self._commit)
        sqlalchemy.event.listen(sqlalchemy.Engine, "rollback", lambda connection: self.changes.pop(id(connection), None))
        for name in ("load", "unload"):
            self._method(Endpoint, name)

    def about_to(self, effect: str) -> None:
        """An effect is about to happen: if it is one too many, die before it."""
        if effect == self.last and "mlflow" in effect:
            return  # MLflow writes a run's tags and metrics in a transaction each; the first of a row will do
        self.last = effect
        if self.done == self.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(self.log, f"{effect}\n".encode())
        self.done += 1

    def _file(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
            event = "write"
        elif event in ("os.rename", "os.link", "os.remove", "os.rmdir"):
            path = arguments[0]
        else:
            return
        inside = os.fsdecode(path).removeprefix(f"{self.state}/") if isinstance(path, str | bytes | os.PathLike) else ""
        if inside.startswith(("models/", "answers/", "jobs/", "quarantine/", ".mlflow.db")):
            self.about_to(f"{event.removeprefix('os.')} {inside}")

    def _statement(self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith(CHANGES):
            verb, *rest = statement.replace("INTO ", "").replace("FROM ", "").split(maxsplit=2)
            name = f" {parameters[1]}" if rest[0] == "step" else ""
            self.changes.setdefault(id(connection), f"{verb.lower()} {rest[0]}{name}")

    def _commit(self, connection: Any) -> None:
        if change := self.changes.pop(id(connection), None):
            self.about_to(f"commit {Path(connection.engine.url.database).stem}: {change}")

    def _method(self, owner: type, name: str) -> None:
        method = getattr(owner, name)

        def watched(endpoint: Endpoint, model: str, *args: Any, **kwargs: Any) -> Any:
            self.about_to(f"{name} {model}")
            return method(endpoint, model, *args, **kwargs)

        setattr(owner, name, watched)


def verb(arguments: list[str], project: Path, log: Path, kill_after: int | None) -> int:
    """In the child: run the verb to its end or to its death."""
    output = os.open(log.with_suffix(".out"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(project)
    # The fork server is the zygote's; this process only asks it.
    server = multiprocessing.forkserver
    server.ensure_running = server._forkserver.ensure_running = lambda: None  # type: ignore[attr-defined]
    effects = Effects(project / ".warmstart", log, kill_after)
    effects.watch()
    try:
        app.cli(arguments, standalone_mode=False)
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    effects.about_to("end")
    return code


def forked(work: Callable[[], int]) -> tuple[int, float]:
    """Its exit status as `os.waitstatus_to_exitcode` gives it (-9 when it was killed), and seconds."""
    begin = time.perf_counter()
    if not (child := os.fork()):
        code = 70
        try:
            code = work()
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), time.perf_counter() - begin


def main() -> None:
    multiprocessing.set_forkserver_preload(["engine.train"])
    multiprocessing.forkserver.ensure_running()
    for line in sys.stdin:
        # A lock that another thread holds in the moment of a fork stays locked in the child for ever.
        assert threading.active_count() == 1, threading.enumerate()
        asked = json.loads(line)
        project, log = Path(asked["project"]), Path(asked["log"])
        status, seconds = forked(lambda a=asked, p=project, o=log: verb(a["verb"], p, o, a["kill_after"]))  # type: ignore[misc]
        answer = {"status": status, "seconds": seconds, "effects": log.read_text().splitlines()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
