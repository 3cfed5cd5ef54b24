"""From YAML files and overrides to plain values: the only place that composes Hydra configurations."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RECORDED = ("stream", "model", "strategy", "trainer", "trigger", "gate")
"""What a cycle is held to once it began. Where the servers are (`serving`, `platform`) may change under it."""


class ConfigurationError(Exception):
    """The configuration cannot be used; the message names the file or override and what would be right."""


def resolve(overrides: Sequence[str]) -> dict[str, Any]:
    """Compose the configuration with `overrides` (`stream=NAME`, `gate.margin=-0.01`, …), resolved to plain values.

    Streams are found among the shipped ones and in `./stream`. Raises ConfigurationError.
    """
    named = [o.partition("=")[2] for o in overrides if o.startswith("stream=")]
    if not named:
        overrides = [f"stream={_only_stream()}", *overrides]
    elif named[0] not in streams():
        raise ConfigurationError(unknown("stream", named[0], streams()))
    return _compose("config", overrides)


def resolve_outside(overrides: Sequence[str]) -> dict[str, Any]:
    """The same without a stream: where the ledger, the registry and the servers are."""
    return _compose("outside", [o for o in overrides if not o.startswith("stream=")])


def recorded(config: Mapping[str, Any]) -> dict[str, Any]:
    """What is written down of a configuration. How the source is opened is none of it: that may hold a password."""
    kept = {group: config[group] for group in RECORDED}
    source = {name: value for name, value in config["stream"]["source"].items() if name != "storage_options"}
    return kept | {"stream": {**config["stream"], "source": source}}


def _compose(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    from hydra import compose, initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    search = f"hydra.searchpath=[file://{Path.cwd()}]"
    try:
        with initialize_config_module("configs", version_base="1.3"):
            composed = compose(name, overrides=[search, *overrides])
        missing = OmegaConf.missing_keys(composed)
        if missing:
            raise ConfigurationError(
                f"these settings have no value: {', '.join(sorted(missing))}; give each as `KEY=VALUE` or in the YAML"
            )
        resolved: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # type: ignore[assignment]
        return resolved
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigurationError(" ".join(str(error).split())) from error


def streams() -> list[str]:
    """The streams that can be named: shipped ones and those in `./stream`."""
    shipped = Path(__file__).resolve().parent.parent / "configs" / "stream"
    return sorted({p.stem for folder in (shipped, Path.cwd() / "stream") for p in folder.glob("*.yaml")})


def _only_stream() -> str:
    own = sorted(p.stem for p in (Path.cwd() / "stream").glob("*.yaml"))
    if len(own) == 1:
        return own[0]
    raise ConfigurationError(f"which stream? Say `stream=NAME`; there are: {', '.join(streams())}")


def unknown(what: str, name: str, known: Sequence[str]) -> str:
    """Say that there is no such thing, and which one was probably meant."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"there is no {what} {name!r}{hint} Known: {', '.join(known)}"
