"""From YAML files and overrides to plain values: the only place that composes Hydra configurations."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import settings

if TYPE_CHECKING:
    from yaml import MarkedYAMLError, YAMLError

RECORDED = ("stream", "model", "strategy", "trainer", "trigger", "gate")
"""What a cycle is held to once it began. Where the servers are (`serving`, `platform`) may change under it."""


MOST_KNOWN = 20  # names in a message


class ConfigurationError(Exception):
    """The configuration cannot be used; the message names the file or override and what would be right."""


def resolve(overrides: Sequence[str]) -> dict[str, Any]:
    """Compose the configuration with `overrides` (`stream=NAME`, `gate.margin=-0.01`, …), resolved to plain values.

    Streams are found among the shipped ones and in `./stream`. Raises ConfigurationError.
    """
    named = [o.partition("=")[2] for o in overrides if o.startswith("stream=")]
    if not named:
        named = [_only_stream(overrides)]
        overrides = [f"stream={named[0]}", *overrides]
    elif named[0] not in streams():
        folder = Path.cwd() / "stream"
        there = f"{folder}{'' if folder.is_dir() else ', which does not exist,'} and among the shipped ones"
        raise ConfigurationError(
            f"{unknown('stream', named[0], streams())}. Looked in {there}: run it in the folder that `stream` lies in"
        )
    return _compose("config", overrides, named[0])


def resolve_outside(overrides: Sequence[str]) -> dict[str, Any]:
    """The same without a stream: where the ledger, the registry and the servers are."""
    return _compose("outside", [o for o in overrides if not o.startswith("stream=")], None)


def recorded(config: Mapping[str, Any]) -> dict[str, Any]:
    """What is written down of a configuration. How the source is opened is none of it: that may hold a password."""
    kept = {group: config[group] for group in RECORDED}
    source = {name: value for name, value in config["stream"]["source"].items() if name != "storage_options"}
    return kept | {"stream": {**config["stream"], "source": source}}


def _compose(name: str, overrides: Sequence[str], stream: str | None) -> dict[str, Any]:
    from hydra import compose, initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    _well_formed(overrides)
    search = f"hydra.searchpath=[file://{Path.cwd()}]"
    try:
        with initialize_config_module("configs", version_base="1.3"):
            composed = compose(name, overrides=[search, *map(_added, overrides)])
        _possible(OmegaConf.to_container(composed), settings.shipped(name), overrides, stream)
        missing = OmegaConf.missing_keys(composed)
        if missing:
            raise ConfigurationError(
                f"these settings have no value: {', '.join(sorted(missing))}; give each as `KEY=VALUE` or in the YAML"
            )
        resolved: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # type: ignore[assignment]
        return resolved
    except (HydraException, OmegaConfBaseException, YAMLError, OSError, ValueError) as error:
        raise ConfigurationError(_told(error, stream)) from error


def _added(override: str) -> str:
    """An override that may set what no YAML names, as a strategy's own settings are; what nobody knows is told afterwards."""
    key = override.partition("=")[0]
    return override if key.startswith(("+", "~")) or key.partition("@")[0] in settings.groups() else f"++{override}"


def _well_formed(overrides: Sequence[str]) -> None:
    for override in overrides:
        key, is_one, value = override.partition("=")
        if key in settings.groups() and re.fullmatch(r"[\w-]+", value) and value not in settings.choices(key):
            raise ConfigurationError(unknown(key, value, settings.choices(key)))
        if not is_one and not override.startswith("~"):
            near = difflib.get_close_matches(override, streams(), n=1)
            hint = f"; did you mean 'stream={near[0]}'?" if near else ", such as `gate.margin=0.01`"
            raise ConfigurationError(f"{override!r} is no setting: write KEY=VALUE, without spaces{hint}")


def _possible(node: Any, known: Mapping[str, Any], overrides: Sequence[str], stream: str | None) -> None:
    """Complain about the first setting that does not exist or cannot have its value, and say where it was given."""
    if stream and isinstance(node["stream"], dict) and "stream" in node["stream"]:
        file = f"stream/{stream}.yaml"
        raise ConfigurationError(f"{file}: its settings are taken for settings of `stream`; begin it with `# @package _global_`")
    for wrong in settings.wrong(node, known):
        _usable_files(stream)
        hint = ""
        if wrong.lost:
            same = (name for name in settings.names(node) if name.rpartition(".")[2] == wrong.path[-1])
            elsewhere = next((name for name in same if name != ".".join(wrong.path)), None)
            hint = f"; did you mean {elsewhere!r}?" if elsewhere else "."
        raise ConfigurationError(f"{settings.place(wrong.path, overrides, stream)}{wrong.message}{hint}{wrong.instead}")


def _told(error: Exception, stream: str | None) -> str:
    """What Hydra, OmegaConf and YAML say, in a sentence that names the file or the setting and what to do."""
    from hydra.errors import MissingConfigException, OverrideParseException
    from omegaconf.errors import InterpolationResolutionError
    from yaml import MarkedYAMLError

    said = " ".join(str(error).split())
    if isinstance(error, OverrideParseException):
        key, _, value = error.override.removeprefix("++").partition("=")
        return f"the value of `{key}={value}` cannot be read: close what it opens, or quote it: '{key}=\"{value}\"'"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return unknown(group, name, error.options) + _file_in(said)
    if isinstance(error, MarkedYAMLError) and (mark := error.problem_mark or error.context_mark):
        return f"{_relative(mark.name)}, line {mark.line + 1}: {_yaml_problem(error)}"
    if isinstance(error, InterpolationResolutionError):
        first = " ".join(str(error.msg).partition("full_key")[0].split())
        variable = re.search(r"Environment variable '(\w+)' not found", first)
        remedy = f"set the environment variable {variable[1]}, or `{error.full_key}=VALUE`" if variable else first
        return f"`{error.full_key}` cannot be resolved: {remedy}"
    if found := re.search(r"Error merging override \+*([^=]+)", said):
        return f"`{found[1]}` cannot be set like that: it is of another kind"
    if found := re.search(r"Could not override '([^'@]+)", said):
        if found[1] not in settings.groups():
            return unknown("group", found[1], settings.groups()) + _file_in(said)
        return f"`{found[1]}` belongs to a stream; what is set here is where things are: `platform` and `serving`"
    _usable_files(stream)
    return said


def _file_in(said: str) -> str:
    found = re.search(r"In '(\w+/\w+)'", said)
    return f" (in {found[1]}.yaml)" if found else ""


def _relative(name: str) -> str:
    return str(Path(name).relative_to(Path.cwd())) if Path(name).is_relative_to(Path.cwd()) else name


def _yaml_problem(error: MarkedYAMLError) -> str:
    if "'\\t'" in str(error.problem):
        return "a tab where YAML wants spaces: indent with spaces only"
    words = " ".join(filter(None, (error.context, error.problem)))
    return f"this is no YAML ({words}): look at the indentation, the colons and the quotes here and in the line before"


def _unreadable(error: YAMLError) -> str:
    """What is wrong with a file that is no YAML; of a character that cannot be in one YAML says no line."""
    from yaml import MarkedYAMLError

    if isinstance(error, MarkedYAMLError):
        return _yaml_problem(error)
    return f"this is no YAML ({' '.join(str(error).split())}): remove that character"


def _usable_files(stream: str | None) -> None:
    """Complain about a file that cannot be a configuration at all."""
    import yaml

    for file in settings.own_files(stream):
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ConfigurationError(f"{_relative(str(file))}: {_unreadable(error)}") from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{_relative(str(file))}: this is no UTF-8 text: save it as UTF-8") from error
        except OSError as error:
            raise ConfigurationError(f"{_relative(str(file))} cannot be read: {error.strerror}") from error
        if content is not None and not isinstance(content, dict):
            raise ConfigurationError(f"{_relative(str(file))}: it holds no settings: write `KEY: VALUE` in each line")


def streams() -> list[str]:
    """The streams that can be named: shipped ones and those in `./stream`."""
    shipped = Path(__file__).resolve().parent.parent / "configs" / "stream"
    return sorted({p.stem for folder in (shipped, Path.cwd() / "stream") for p in folder.glob("*.yaml")})


def _only_stream(overrides: Sequence[str]) -> str:
    own = sorted(p.stem for p in (Path.cwd() / "stream").glob("*.yaml"))
    if len(own) == 1:
        return own[0]
    _well_formed(overrides)
    raise ConfigurationError(f"which stream? Say `stream=NAME`; there are: {', '.join(streams())}")


def unknown(what: str, name: str, known: Sequence[str]) -> str:
    """Say that there is no such thing, and which one was probably meant."""
    newest = [*(["…"] if len(known) > MOST_KNOWN else []), *known[-MOST_KNOWN:]]
    return f"there is no {what} {name!r}{settings.meant(name, known) or '.'} Known: {', '.join(newest)}"
