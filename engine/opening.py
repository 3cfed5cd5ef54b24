"""What a verb opens and closes again: the ledger, the servers, a stream at work.

Everything heavy is imported here and not above, while MLflow and numba load in a thread beside it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.configuration import ConfigurationError, recorded
from engine.served import asked_ports
from engine.state import gathered, server_folder, state_of, untaken

if TYPE_CHECKING:
    from engine.display import Display
    from engine.ledger import Ledger
    from engine.loop import Loop
    from engine.nouns import Closing, Schema
    from engine.registry import Registry
    from engine.releases import Releases
    from engine.retention import Place
    from engine.stream.parts import Outside, Parts
    from serving.server import EmbeddedServer

Configuration = Mapping[str, Any]
SQLITE = "sqlite:///"


@contextlib.contextmanager
def at_work(config: Configuration, verb: str) -> Iterator[tuple[Loop, Display]]:
    """All that carrying windows needs: the ledger, the stream's lock, servers, a warm job server; a begun release is finished.

    Raises Busy when another process works on the stream.
    """
    _import_early()
    from engine import retention, wiring
    from engine.display import Display
    from engine.gathering import Gathering
    from engine.labels import folder_of
    from engine.locks import Locks
    from engine.loop import Loop, all_of_them
    from engine.nouns import Outcome
    from engine.registry import RegistryUnreachable
    from engine.stream import Stream
    from engine.untaken import Noticing
    from engine.windows import Remembering

    parts = wiring.parts(config)
    kept = wiring.build(config["retention"], "retention")
    display = Display()
    with open_ledger(config) as ledger, Locks(ledger, state_of(config) / "locks").cycle(parts.name, verb):
        _same_columns(ledger, parts)
        jobs = wiring.build(config["platform"]["jobs"], "platform.jobs")
        jobs.warm()
        with running_servers(config, verb) as addresses:
            source = wiring.source(config)
            world: list[Outside] = []

            def connect() -> None:
                _let_go(*(outside.releases for outside in world))
                world[:] = [wiring.outside(config, _releases(config, ledger, addresses()), jobs, source)]
                world[0].deployment.restore(parts.name)

            # Most windows are carried with the same configuration, and Hydra takes its time to build anything.
            parts_of = functools.lru_cache(maxsize=2)(lambda recorded: wiring.parts(json.loads(recorded)))
            place = place_of(config, ledger)

            def tidy(closing: Closing) -> None:
                registered = closing.version is not None and closing.outcome != Outcome.KEPT
                try:
                    retention.tidy(kept, place, world[0].registry if registered else None)
                except (OSError, RegistryUnreachable) as error:  # the stream works on though its past stays too long
                    display.say(f"could not tidy up: {error}; `warmstart gc` tries again", "yellow")

            connect()
            if recovered := world[0].releases.recover():
                display.say(f"finished what was begun before: {recovered.reason}")
            if isinstance(source, Remembering):
                source.remember(state_of(config) / "known" / f"{parts.name}.jsonl")
            loop = Loop(
                stream=parts.name,
                time_column=parts.schema.time,
                source=source,
                gathering=Gathering(parts.contract.min_rows, parts.schema, gathered(config, parts.name)),
                ledger=ledger,
                current=recorded(config),
                wire=lambda held, cycle: Stream(parts_of(json.dumps(held)), world[0], cycle),
                reconnect=connect,
                retries=config["platform"]["retries"],
                listener=display,
                tidy=tidy,
                ready=folder_of(parts.labels, parts.schema).ready if parts.labels else all_of_them,
                notice=Noticing(untaken(config, parts.name), display.say),
            )
            try:
                yield loop, display
            finally:
                with contextlib.suppress(OSError):  # the terminal may be gone
                    display.close()
                jobs.close()
                _let_go(*(outside.releases for outside in world))


def _same_columns(ledger: Ledger, parts: Parts) -> None:
    """Complain when the live version was made for other columns: it could not be asked about a window, nor started from."""
    from engine import wiring

    made = [row.cycle for row in ledger.releases(parts.name) if row.state == "done" and row.cycle]
    step = ledger.step(made[-1], "configuration") if made else None
    if step is None:
        return
    before, now = wiring.schema(json.loads(step.result)["stream"]), parts.schema
    changed = [name for name in ("target", "task", "classes") if getattr(before, name) != getattr(now, name)]
    for name in ("columns", "watched"):
        old, new = ({column.name: column for column in getattr(schema, name)} for schema in (before, now))
        setting = "watch" if name == "watched" else name
        changed += [f"{setting}.{column}" for column in {**old, **new} if old.get(column) != new.get(column)]
    if changed:
        raise ConfigurationError(
            f"stream {parts.name!r} has a live version that was made with other settings of {', '.join(changed)} (`stream`)"
            f"{_misspelt(ledger, parts.name, before, now) or '.'} Put them back, or begin a stream of another name"
        )


def _misspelt(ledger: Ledger, stream: str, before: Schema, now: Schema) -> str:
    """A new name that the newest window lacks and that is nearly one the live version knows; "" where there is none."""
    import polars as pl

    from engine.settings import meant

    old, new = ([s.target, *(column.name for column in (*s.columns, *s.watched))] for s in (before, now))
    for cycle in ledger.cycles(stream, limit=1):
        try:
            there = pl.scan_parquet(cycle.window.uri).collect_schema()
        except (pl.exceptions.PolarsError, OSError):
            return ""
        for name in new:
            near = meant(name, [each for each in old if each not in new])
            if near and name not in old and name not in there:
                return f"; there is no {name!r} in window {cycle.window.id}{near}"
    return ""


def place_of(config: Configuration, ledger: Ledger) -> Place:
    """Where the stream keeps what retention looks at."""
    from engine.locks import Locks
    from engine.retention import Place
    from serving.repository import Repository

    state = state_of(config)
    repository = Repository(Path(config["serving"]["repository"]).absolute())
    return Place(config["stream"]["name"], ledger, Locks(ledger, state / "locks"), state, repository)


@contextlib.contextmanager
def releases_of(config: Configuration, verb: str) -> Iterator[Releases]:
    """What changes the live version of one stream. MLflow is not loaded early here: a rollback must first of all be live."""
    with open_ledger(config) as ledger, running_servers(config, verb) as addresses:
        releases = _releases(config, ledger, addresses())
        try:
            yield releases
        finally:
            _let_go(releases)


def _releases(config: Configuration, ledger: Ledger, addresses: list[str]) -> Releases:
    from engine.locks import Locks
    from engine.releases import Releases
    from serving.endpoint import Endpoint
    from serving.release import Deployment
    from serving.repository import Repository

    stream = config["stream"]["name"]
    deployment = Deployment(Repository(Path(config["serving"]["repository"]).absolute()), tuple(map(Endpoint, addresses)))
    return Releases(stream, ledger, Locks(ledger, state_of(config) / "locks"), registry_of(config), deployment)


def registry_of(config: Configuration) -> Registry:
    """The stream in MLflow; nothing is asked or imported until something is wanted of it."""
    from engine.registry import Registry

    stream, platform = config["stream"]["name"], config["platform"]
    return Registry(_absolute(platform["mlflow"]), stream, _artifacts(platform["artifacts"], stream))


def _artifacts(root: str | None, stream: str) -> str | None:
    if root is None:
        return None
    return f"{root.rstrip('/')}/{stream}" if "://" in root else (Path(root).absolute() / stream).as_uri()


def _absolute(url: str) -> str:
    """An SQLite URL with its path made absolute; other URLs as they are."""
    return SQLITE + str(Path(url.removeprefix(SQLITE)).absolute()) if url.startswith(SQLITE) else url


@contextlib.contextmanager
def open_ledger(config: Configuration, reading: bool = False) -> Iterator[Ledger]:
    """The ledger of the platform. `reading`: where its SQLite file is not there, none is made, and the ledger is empty."""
    from sqlalchemy.exc import DatabaseError, OperationalError

    from engine.disk import refusal
    from engine.ledger import Ledger
    from engine.ledger.database import LedgerError, LedgerUnreachable

    url = _absolute(config["platform"]["ledger"])
    if reading and url.startswith(SQLITE) and not Path(url.removeprefix(SQLITE)).exists():
        url = "sqlite://"  # in memory
    try:
        ledger = Ledger(url)
        try:
            yield ledger
        finally:
            ledger.close()
    except OperationalError as error:
        if refused := refusal(error, f"the ledger {config['platform']['ledger']}"):
            raise refused from error
        raise LedgerUnreachable(f"the ledger's database does not answer: {str(error.orig).splitlines()[0]}") from error
    except DatabaseError as error:
        if getattr(error.orig, "sqlite_errorname", "") not in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
            raise
        raise LedgerError(
            f"{config['platform']['ledger']} cannot be read as a database ({error.orig}): put a copy of it back, "
            "or point `platform.ledger` at a new one"
        ) from error


@contextlib.contextmanager
def running_servers(config: Configuration, verb: str) -> Iterator[Callable[[], list[str]]]:
    """Gives a function that returns the gRPC addresses to ask; the embedded server is started when none runs.

    It goes on at the end when another process uses it (`serve`, `run`), whoever started it.
    """
    from serving.users import using

    if config["serving"]["mode"] == "external":
        yield lambda: list(config["serving"]["addresses"])
        return
    with using(server_folder(config), verb):
        yield lambda: [start_server(config, verb).address]


def start_server(config: Configuration, verb: str) -> EmbeddedServer:
    """The embedded server of this state folder, started if it does not run, with every released model loaded."""
    from serving.repository import Repository
    from serving.server import EmbeddedServer

    serving = config["serving"]
    repository = Path(serving["repository"]).absolute()
    repository.mkdir(parents=True, exist_ok=True)
    runtime = Path(serving["runtime"]) if serving["runtime"] else None
    names = Repository(repository).names()
    return EmbeddedServer.start(repository, runtime, server_folder(config), names, verb=verb, ports=asked_ports(config))


def _let_go(*releases: Releases) -> None:
    for each in releases:
        for endpoint in each.deployment.endpoints:
            endpoint.close()


def _import_early() -> None:
    """MLflow takes a second to import, numba another; meanwhile locks are taken and Triton is started."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

    def load() -> None:
        import mlflow  # noqa: F401

        import kernels.cpu  # noqa: F401

    threading.Thread(target=load, daemon=True).start()
