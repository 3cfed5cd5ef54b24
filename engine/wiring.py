"""From a resolved configuration to objects: a stream's parts, and the world that it works in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from engine import targets
from engine.configuration import ConfigurationError, unknown
from engine.evaluate import NAMES
from engine.jobs import Jobs
from engine.nouns import Column, Kind, Schema, Task
from engine.opening import copies_of
from engine.releases import Releases
from engine.stream import Outside, Parts
from engine.triggers import Trigger
from engine.windows import Source


def parts(config: Mapping[str, Any]) -> Parts:
    """The stream that a resolved configuration describes. Raises ConfigurationError naming the setting that is wrong."""
    stream = config["stream"]
    found = schema(stream)
    for where in ("gate", "trigger"):
        _metric_of(config[where], where, found.task)
    for where in ("model", "strategy", "trainer"):  # built in the job, which is late to complain
        targets.check(config[where], where)
    return Parts(
        name=stream["name"],
        schema=found,
        contract=build(stream["contract"], "stream.contract"),
        drift=build(stream["drift"], "stream.drift"),
        trigger=build(config["trigger"], "trigger", Trigger),
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


def source(config: Mapping[str, Any]) -> Source:
    """Where the stream's windows come from. What has to be fetched is kept in the state."""
    node = dict(config["stream"]["source"])
    if node.get("_target_") == "engine.windows.ParquetFolder":
        node.setdefault("copies", str(copies_of(config["platform"], config["stream"]["name"])))
    built: Source = build(node, "stream.source", Source)
    return built


def schema(stream: Mapping[str, Any]) -> Schema:
    """Columns, target and time of a stream's configuration."""
    if stream["task"] not in get_args(Task):
        raise ConfigurationError(unknown("task", stream["task"], get_args(Task)))
    columns, watched = _columns(stream, "columns"), _columns(stream, "watch")
    classes = tuple(_label(value) for value in stream.get("classes", ()))
    if stream["task"] == "regression" and classes:
        raise ConfigurationError("stream.classes: a regression has none; say `task: binary` or `task: multiclass`")
    if stream["task"] == "multiclass" and len(set(classes)) < 2:
        raise ConfigurationError("stream.classes: a multiclass task needs its classes, two at least: `classes: [a, b, c]`")
    if len(classes) != len(set(classes)) or (stream["task"] == "binary" and len(classes) not in (0, 2)):
        raise ConfigurationError(f"stream.classes: {', '.join(classes)}: each once, and of a binary task exactly two")
    return Schema(columns, stream["target"], stream["task"], stream["time"], watched, classes)


def _label(value: object) -> str:
    """A class as text, as `engine.data.table.labels` writes it; YAML reads an unquoted `yes` as true."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _metric_of(node: Any, where: str, task: Task) -> None:
    """Complain about a metric that the task does not have, in a gate or in any part of a trigger."""
    if isinstance(node, Mapping):
        name = node.get("metric", "auto")
        if name not in ("auto", *NAMES[task]):
            raise ConfigurationError(unknown(f"metric of a {task} task", name, NAMES[task]) + f" (`{where}.metric`)")
    for part in node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ():
        _metric_of(part, where, task)


def _columns(stream: Mapping[str, Any], setting: str) -> tuple[Column, ...]:
    columns = []
    for name, value in stream[setting].items():
        settings: dict[str, Any] = {"kind": value} if isinstance(value, str) else dict(value)
        kind = settings.pop("kind", None)
        if kind not in get_args(Kind):
            raise ConfigurationError(
                f"stream.{setting}.{name}: {kind!r} is no kind of column; there are {', '.join(get_args(Kind))}"
            )
        columns.append(Column(name, kind, **settings))
    return tuple(columns)


def build(node: Mapping[str, Any], where: str, protocol: type = object) -> Any:
    """Build what a node's `_target_` names, with the methods of `protocol`. Raises ConfigurationError naming `where`."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    targets.check(node, where)
    if "_target_" not in node:
        raise ConfigurationError(f"{where}: say which class it is: `_target_: module.Class`")
    try:
        built = instantiate(dict(node), _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        hint = ""
        if "unexpected keyword argument" in str(cause) and "." not in where:
            hint = (
                f"; the default's settings stay where only `_target_` is replaced: put yours into {where}/NAME.yaml and choose "
                f"it with `override /{where}: NAME` under `defaults`"
            )
        raise ConfigurationError(f"{where}: {node['_target_']} cannot be built: {cause}{hint}") from error
    if not isinstance(built, protocol):
        methods = [name for name in vars(protocol) if not name.startswith("_") and not callable(getattr(built, name, None))]
        raise ConfigurationError(
            f"{where}: {node['_target_']} has no method {', '.join(methods)}; see {protocol.__module__}.{protocol.__qualname__}"
        )
    return built


def outside(config: Mapping[str, Any], releases: Releases, jobs: Jobs, source: Source) -> Outside:
    """The world that a stream works in."""
    state = Path(config["platform"]["state"]).absolute()
    fetch = getattr(source, "fetch", lambda window: None)  # most sources list files that stay where they are
    return Outside(releases.ledger, releases.registry, releases, jobs, releases.deployment, state, fetch)
