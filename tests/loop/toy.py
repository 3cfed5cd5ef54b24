"""A stream of 800 rows a window whose relation can be turned around, and a project folder that holds it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from engine import app
from engine.configuration import resolve
from engine.data import table
from engine.ledger import Ledger
from engine.ledger.rows import Cycle, ReleaseRow
from engine.loop import Loop
from engine.nouns import Closing, Column, Schema
from engine.opening import at_work
from serving.endpoint import Answer, Endpoint
from serving.repository import Repository
from serving.server import EmbeddedServer
from serving.server_folder import write_users
from serving.users import join

ROWS = 800
SCHEMA = Schema((Column("speed", "number"), Column("load", "number"), Column("kind", "category")), target="wear", time="at")
STREAM = """
# @package _global_
defaults:
  - override /trigger: drift
stream:
  name: toy
  source:
    _target_: engine.windows.ParquetFolder
    folder: windows
  target: wear
  time: at
  columns:
    speed: number
    load: number
    kind: category
  slices:
    stop: 0.1
    judge: 0.2
    min_stop_rows: 200
model:
  width: 16
  members: 2
  bins: 8
  learning_rate: 0.01
gate:
  min_rows: 100
  max_latency_ratio: 1000   # on a busy machine the latency of so small a model is noise
platform:
  retries: [0.1, 0.2]
"""


def rows(seed: int, turned: bool = False, count: int = ROWS) -> pl.DataFrame:
    """A day of measurements. `turned`: `speed` is three deviations higher and wears the other way round."""
    random = np.random.default_rng(seed)
    speed = random.normal(3.0 if turned else 0.0, 1.0, count)
    load = np.where(random.random(count) < 0.1, np.nan, random.uniform(0, 4, count))
    kind = random.choice(["a", "b", "c"], count, p=[0.5, 0.3, 0.2])
    wear = 20 + (-4 if turned else 3) * speed + np.nan_to_num(load) + 2.0 * (kind == "b") + random.normal(0, 0.5, count)
    day = datetime(2024, 1, 1) + timedelta(days=seed)
    at = [day + timedelta(seconds=60 * i) for i in range(count)]
    return pl.DataFrame({"at": at, "speed": speed, "load": load, "kind": kind, "wear": wear})


@dataclass(frozen=True)
class Toy:
    """The project folder, its windows and its state. The current folder must be `root`."""

    root: Path

    @property
    def state(self) -> Path:
        return self.root / ".warmstart"

    @property
    def models(self) -> Path:
        return self.state / "models" / "toy"

    def make(self) -> Toy:
        (self.root / "stream").mkdir(parents=True)
        (self.root / "stream" / "toy.yaml").write_text(STREAM)
        (self.root / "windows").mkdir()
        return self

    def land(self, name: str, frame: pl.DataFrame) -> Path:
        """Let a window arrive whole, as its supplier should: written aside, then renamed."""
        path = self.root / "windows" / f"{name}.parquet"
        frame.write_parquet(path.with_name(f".{path.name}"))
        return path.with_name(f".{path.name}").rename(path)

    def copy(self, root: Path) -> Toy:
        """The whole project at another place, every path inside its databases with it."""
        shutil.copytree(self.root, root, symlinks=True)
        for database in root.glob(".warmstart/*.db"):
            _rewrite(database, str(self.root), str(root))
        return Toy(root)

    # the verbs

    def __call__(self, *args: str) -> int:
        """A verb on this stream, as `command` runs it."""
        return command(*args, "stream=toy")

    @contextmanager
    def engine(self, *overrides: str, verb: str = "update") -> Iterator[Loop]:
        """The engine at work, with its server, for as long as the block lasts."""
        with at_work(resolve(["stream=toy", *overrides]), verb) as (loop, _):
            yield loop

    # what became of it

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        ledger = Ledger(f"sqlite:///{self.state / 'ledger.db'}")
        try:
            yield ledger
        finally:
            ledger.close()

    def cycles(self) -> list[Cycle]:
        with self.ledger() as ledger:
            return ledger.cycles("toy")

    def outcomes(self) -> list[tuple[str, str | None, int | None]]:
        """Window, Outcome and version of every cycle, in the order they were opened."""
        return [(c.window.id, c.outcome, c.version) for c in self.cycles()]

    def releases(self) -> list[ReleaseRow]:
        with self.ledger() as ledger:
            return ledger.releases("toy")

    def held(self) -> str | None:
        with self.ledger() as ledger:
            return ledger.held("toy")

    def result(self, cycle: Cycle, step: str) -> object:
        with self.ledger() as ledger:
            found = ledger.step(cycle.id, step)
        return json.loads(found.result) if found else None

    def registry(self, query: str) -> list[tuple[object, ...]]:
        """Ask MLflow's database itself."""
        with sqlite3.connect(self.state / "mlflow.db") as database:
            found = database.execute(query).fetchall()
        database.close()
        return found

    def aliases(self) -> dict[str, int]:
        return {str(a): int(str(v)) for a, v in self.registry("select alias, version from registered_model_aliases")}

    def versions(self) -> dict[int, str]:
        """Registered version → the cycle that registered it."""
        query = "select version, value from model_version_tags where key = 'warmstart.cycle_id' order by version"
        return {int(str(v)): str(c) for v, c in self.registry(query)}

    def serve(self) -> EmbeddedServer:
        """Start the server and use it from now on: no verb stops it at its end, which takes seconds."""
        repository, state = self.models.parent, self.state / "server"
        join(state, "serve")
        names = Repository(repository).names()
        return EmbeddedServer.start(repository, Path(os.environ["WARMSTART_TRITON"]), state, names, verb="serve")

    def stop(self) -> None:
        """End the server, and the use that `serve` made of it."""
        write_users(self.state / "server", [])
        if (left := self.server()) is not None:
            left.stop(timeout=0.2)

    @contextmanager
    def served(self) -> Iterator[Toy]:
        """The current folder, its server started by another process, for as long as the block lasts."""
        with chdir(self.root):
            self.serve()
            try:
                yield self
            finally:
                self.stop()

    def server(self) -> EmbeddedServer | None:
        return EmbeddedServer.find(self.state / "server")

    def answer(self) -> Answer:
        """What the world is told: an unversioned request to the server of this project."""
        server = self.server()
        assert server is not None, "no server runs"
        return ask(server.address)


def command(*words: str) -> int:
    """Run a verb as the command does, in this process; returns its exit code or raises its error."""
    try:
        app.cli(list(words), standalone_mode=False)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def one(engine: Loop) -> Closing:
    """Carry the one window that is pending."""
    (closing,) = engine.carry_pending()
    return closing


def the_next_good_window_is_served(toy: Toy, engine: Loop, day: int) -> None:
    """Whatever came before, and version 1 is live."""
    toy.land(f"day-{day}", rows(day))
    closing = one(engine)
    assert (closing.outcome, closing.version) == ("kept", 1)
    assert toy.answer().version == 1


def ask(address: str) -> Answer:
    endpoint = Endpoint(address)
    try:
        return endpoint.infer("toy", table.inputs(rows(99, count=4), SCHEMA))
    finally:
        endpoint.close()


def _rewrite(path: Path, old: str, new: str) -> None:
    database = sqlite3.connect(path)
    with database:
        for (name,) in database.execute("select name from sqlite_master where type = 'table'").fetchall():
            for column in database.execute(f'pragma table_info("{name}")').fetchall():
                if column[2].upper().startswith(("VARCHAR", "TEXT")):
                    database.execute(f'update "{name}" set "{column[1]}" = replace("{column[1]}", ?, ?)', (old, new))
    database.close()
