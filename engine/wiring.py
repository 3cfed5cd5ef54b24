"""From a resolved configuration to objects: a stream's parts, and the world that it works in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, get_args

from engine import settings
from engine.configuration import ConfigurationError, unknown
from engine.contracts.contract import Contract
from engine.gate import Gate
from engine.jobs import Jobs
from engine.metrics import DIFFERENCES, NAMES
from engine.nouns import Column, Kind, Schema, Task
from engine.releases import Releases
from engine.slices import SliceBy
from engine.state import copies_of, state_of
from engine.stream.parts import Outside, Parts
from engine.triggers import Trigger
from engine.windows import Source

COLUMN = tuple(field.name for field in fields(Column) if field.name != "name")


def parts(config: Mapping[str, Any]) -> Parts:
    """The stream that a resolved configuration describes. Raises ConfigurationError naming the setting that is wrong."""
    stream = config["stream"]
    found = schema(stream)
    if config["gate"].get("max_gap") is not None and not stream.get("slice_by"):
        raise ConfigurationError("gate.max_gap: there are no groups to compare; name their columns in `stream.slice_by`")
    judge = gate(config["gate"], found.task)  # before the trigger, whose metric is the gate's unless it was set
    _metric_of(config["trigger"], "trigger", found.task)
    for where in ("model", "strategy", "trainer"):  # built in the job, which is late to complain
        _check_targets(config[where], where)
    return Parts(
        name=stream["name"],
        schema=found,
        contract=contract(stream, found),
        drift=build(stream["drift"], "stream.drift"),
        trigger=build(config["trigger"], "trigger", Trigger),
        gate=judge,
        slices=build(stream["slices"], "stream.slices"),
        slice_by=slice_by(stream),
        model=config["model"],
        strategy=config["strategy"],
        trainer=config["trainer"],
        seed=stream["seed"],
        catch_up=stream["catch_up"],
        require_approval=stream["require_approval"],
        max_batch_size=stream["max_batch_size"],
        labels=build(stream["labels"], "stream.labels") if found.key else None,
    )


def contract(stream: Mapping[str, Any], found: Schema) -> Contract:
    """The contract of a stream's configuration. Raises ConfigurationError when it cannot be meant for these columns."""
    made: Contract = build(stream["contract"], "stream.contract")
    try:
        made.suits(found)
    except ValueError as error:
        raise ConfigurationError(f"stream.contract: {error}") from error
    return made


def source(config: Mapping[str, Any]) -> Source:
    """Where the stream's windows come from. What has to be fetched is kept in the state."""
    node = dict(config["stream"]["source"])
    if node.get("_target_") == "engine.windows.ParquetFolder":
        node.setdefault("copies", str(copies_of(config, config["stream"]["name"])))
    built: Source = build(node, "stream.source", Source)
    return built


def schema(stream: Mapping[str, Any]) -> Schema:
    """Columns, target and time of a stream's configuration."""
    if stream["task"] not in get_args(Task):
        raise ConfigurationError(unknown("task", stream["task"], get_args(Task)))
    for setting in ("name", "target", "time"):
        if not isinstance(stream[setting], str) and not (setting == "time" and stream[setting] is None):
            raise ConfigurationError(f"stream.{setting}: {stream[setting]!r} is no text: put it in quotes")
    columns, watched = _columns(stream, "columns"), _columns(stream, "watch")
    classes = tuple(_label(value) for value in stream.get("classes", ()))
    if stream["task"] == "regression" and classes:
        raise ConfigurationError("stream.classes: a regression has none; say `task: binary` or `task: multiclass`")
    if stream["task"] == "multiclass" and len(set(classes)) < 2:
        raise ConfigurationError("stream.classes: a multiclass task needs its classes, two at least: `classes: [a, b, c]`")
    if len(classes) != len(set(classes)) or (stream["task"] == "binary" and len(classes) not in (0, 2)):
        raise ConfigurationError(f"stream.classes: {', '.join(classes)}: each once, and of a binary task exactly two")
    labels = stream.get("labels") or {}
    if bool(labels.get("folder")) != bool(labels.get("key")):
        raise ConfigurationError("stream.labels: `folder`, where labels land, and `key`, what names a row, belong together")
    known = {stream["target"], stream["time"], *(column.name for column in (*columns, *watched))}
    segments = (stream.get("drift") or {}).get("segments")
    asked = [*(by.column for by in slice_by(stream)), *([segments] if segments else [])]
    sliced = tuple(name for name in dict.fromkeys(asked) if name not in known)
    key = labels.get("key")
    return Schema(columns, stream["target"], stream["task"], stream["time"], watched, classes, key, sliced)


def slice_by(stream: Mapping[str, Any]) -> tuple[SliceBy, ...]:
    """The columns whose slices are looked at by themselves: each a name, or a name with settings."""
    entries = stream.get("slice_by") or ()
    if isinstance(entries, (str, Mapping)):
        raise ConfigurationError(
            f"stream.slice_by: {entries}: a list is wanted, such as [carrier, {{column: distance, edges: [500]}}]"
        )
    found: dict[str, SliceBy] = {}
    for entry in entries:
        settings = entry if isinstance(entry, Mapping) else {"column": str(entry)}
        known = [setting.name for setting in fields(SliceBy)]
        if strange := [name for name in settings if name not in known]:
            raise ConfigurationError(f"stream.slice_by: {entry}: {unknown('setting', strange[0], known)}")
        if not settings.get("column"):
            raise ConfigurationError(f"stream.slice_by: {entry}: it does not say which `column`")
        try:
            by = SliceBy(**{**settings, "edges": tuple(float(edge) for edge in settings.get("edges") or ())})
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"stream.slice_by: {settings['column']}: {error}") from error
        if by.column in found:
            raise ConfigurationError(f"stream.slice_by: {by.column} is there twice")
        found[by.column] = by
    return tuple(found.values())


def gate(node: Mapping[str, Any], task: Task) -> Gate:
    """The gate with the rules of one's own, each of which is named when it cannot be built."""
    limits = {name: value for name, value in node.items() if name != "rules"}
    _metric_of(limits, "gate", task)
    known = (*NAMES[task], *(DIFFERENCES.values() if task == "binary" else ()))
    for name in limits["max_gap"] if isinstance(limits.get("max_gap"), Mapping) else ():
        if name not in known:
            raise ConfigurationError(unknown(f"gap of a {task} task", name, known) + " (`gate.max_gap`)")
    rules = tuple(build(rule, f"gate.rules[{number}]") for number, rule in enumerate(node.get("rules", ())))
    for number, rule in enumerate(rules):
        if not callable(getattr(rule, "judge", None)):
            raise ConfigurationError(f"gate.rules[{number}]: {type(rule).__qualname__} has no method `judge(card)`")
    built: Gate = build(limits, "gate")
    return replace(built, rules=rules) if rules else built


def _label(value: object) -> str:
    """A class as text, as `engine.data.table.labels` writes it; YAML reads an unquoted `yes` as true."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _metric_of(node: Any, where: str, task: Task) -> None:
    """Complain about a metric that the task does not have, in a gate or in any part of a trigger."""
    if isinstance(node, Mapping):
        name = node.get("metric", "auto")
        if name not in ("auto", *NAMES[task]):
            raise ConfigurationError(unknown(f"metric of a {task} task", name, NAMES[task]) + f" (`{where}.metric`)")
    parts = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for part, inside in parts:
        _metric_of(inside, f"{where}.{part}", task)


def _columns(stream: Mapping[str, Any], setting: str) -> tuple[Column, ...]:
    columns = []
    if not isinstance(stream[setting], Mapping):
        raise ConfigurationError(f"stream.{setting}: write `NAME: KIND` for each column; there are {', '.join(get_args(Kind))}")
    for name, value in stream[setting].items():
        settings: dict[str, Any] = dict(value) if isinstance(value, Mapping) else {"kind": value}
        if not isinstance(name, str):
            raise ConfigurationError(f"stream.{setting}: YAML reads the name {name!r} as no text: put it in quotes")
        if strange := [each for each in settings if each not in COLUMN]:
            raise ConfigurationError(f"stream.{setting}.{name}: {unknown('setting of a column', strange[0], COLUMN)}")
        kind = settings.pop("kind", None)
        if kind not in get_args(Kind):
            raise ConfigurationError(
                f"stream.{setting}.{name}: {kind!r} is no kind of column; there are {', '.join(get_args(Kind))}"
            )
        columns.append(Column(name, kind, **settings))
    return tuple(columns)


def _check_targets(node: Any, where: str) -> None:
    """Complain about a `_target_` that names nothing: what a cycle began with may be older than the code."""
    for wrong in settings.wrong_targets(node, (where,)):
        raise ConfigurationError(f"{'.'.join(wrong.path)}: {wrong.message}")


def build(node: Mapping[str, Any], where: str, protocol: type = object) -> Any:
    """Build what a node's `_target_` names, with the methods of `protocol`. Raises ConfigurationError naming `where`."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    if not isinstance(node, Mapping):
        raise ConfigurationError(f"{where}: it needs a `_target_`, the class to build, and its settings beside it")
    _check_targets(node, where)
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
    fetch = getattr(source, "fetch", lambda window: None)  # most sources list files that stay where they are
    state, budget = state_of(config), config["retention"]["sorted_mb"] * 1_000_000
    return Outside(releases.ledger, releases.registry, releases, jobs, releases.deployment, state, fetch, budget)
