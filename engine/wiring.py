"""From a resolved configuration to objects: a stream's parts, and the world that it works in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from engine.configuration import ConfigurationError, unknown
from engine.ledger import Ledger
from engine.locks import Locks
from engine.nouns import Column, Kind, Schema, Task
from engine.registry import Registry
from engine.releases import Releases
from engine.stream import Outside, Parts
from serving.endpoint import Endpoint
from serving.release import Deployment
from serving.repository import Repository


def parts(config: Mapping[str, Any]) -> Parts:
    """The stream that a resolved configuration describes. Raises ConfigurationError naming the setting that is wrong."""
    stream = config["stream"]
    return Parts(
        name=stream["name"],
        schema=schema(stream),
        contract=build(stream["contract"], "stream.contract"),
        drift=build(stream["drift"], "stream.drift"),
        trigger=build(config["trigger"], "trigger"),
        gate=build(config["gate"], "gate"),
        slices=build(stream["slices"], "stream.slices"),
        model=config["model"],
        strategy=config["strategy"],
        trainer=config["trainer"],
        seed=stream["seed"],
        catch_up=stream["catch_up"],
        require_approval=stream["require_approval"],
        max_batch_size=stream["max_batch_size"],
    )


def schema(stream: Mapping[str, Any]) -> Schema:
    """Columns, target and time of a stream's configuration."""
    columns = []
    for name, value in stream["columns"].items():
        settings: dict[str, Any] = {"kind": value} if isinstance(value, str) else dict(value)
        kind = settings.pop("kind", None)
        if kind not in get_args(Kind):
            raise ConfigurationError(
                f"stream.columns.{name}: {kind!r} is no kind of column; there are {', '.join(get_args(Kind))}"
            )
        columns.append(Column(name, kind, **settings))
    if stream["task"] not in get_args(Task):
        raise ConfigurationError(unknown("task", stream["task"], get_args(Task)))
    return Schema(tuple(columns), stream["target"], stream["task"], stream["time"])


def build(node: Mapping[str, Any], where: str) -> Any:
    """Build what a node's `_target_` names. Raises ConfigurationError naming `where`."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(dict(node), _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        raise ConfigurationError(f"{where}: {node.get('_target_')} cannot be built: {cause}") from error


def outside(config: Mapping[str, Any], stream: str, ledger: Ledger, addresses: list[str], jobs: Any = None) -> Outside:
    """The ledger, registry, jobs and servers of one stream. `addresses` are the gRPC addresses of every server."""
    platform = config["platform"]
    state = Path(platform["state"]).absolute()
    deployment = Deployment(Repository(Path(config["serving"]["repository"]).absolute()), tuple(map(Endpoint, addresses)))
    registry = Registry(absolute(platform["mlflow"]), stream, _artifacts(platform["artifacts"], stream))
    releases = Releases(stream, ledger, Locks(ledger, state / "locks"), registry, deployment)
    return Outside(ledger, registry, releases, jobs, deployment, state)


def absolute(url: str) -> str:
    """An SQLite URL with its path made absolute; other URLs as they are."""
    prefix = "sqlite:///"
    return prefix + str(Path(url.removeprefix(prefix)).absolute()) if url.startswith(prefix) else url


def _artifacts(root: str | None, stream: str) -> str | None:
    if root is None:
        return None
    return f"{root.rstrip('/')}/{stream}" if "://" in root else (Path(root).absolute() / stream).as_uri()
