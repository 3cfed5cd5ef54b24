"""Where Triton answers, and for whom: what `status`, `serve` and `run` say of it, read from files, without asking it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from engine.configuration import ConfigurationError
from engine.state import server_folder
from serving.ports import SETTINGS, Asked
from serving.processes import start_time
from serving.server_folder import User, read_record, users

Configuration = Mapping[str, Any]


def asked_ports(config: Configuration) -> Asked:
    """The ports that the settings name; None for any. Raises ConfigurationError for what can be none."""
    given = {name: config["serving"][name] for name in SETTINGS}
    for name, port in given.items():
        if port is not None and (not isinstance(port, int) or isinstance(port, bool) or not 0 <= port < 1 << 16):
            raise ConfigurationError(f"serving.{name} is {port!r}; it must be a port, 1 to 65535, or null for a free one")
    grpc, http, metrics = (port or None for port in given.values())
    named = [port for port in (grpc, http, metrics) if port]
    if len(set(named)) < len(named):
        raise ConfigurationError(
            f"the ports of serving ({', '.join(SETTINGS)}) are {grpc}, {http}, {metrics}: each needs its own"
        )
    return grpc, http, metrics


def server_record(config: Configuration) -> dict[str, Any] | None:
    """The embedded server, if its process is there: plain values, ready for JSON. `verb` is that of its starter."""
    record = read_record(server_folder(config))
    if record.get("pid") is None or start_time(record["pid"]) != record["started"]:
        return None
    told: dict[str, Any] = {name: record[name] for name in ("address", "http", "metrics", "pid", "verb")}
    return told | {"users": [{"pid": user.pid, "verb": user.verb} for user in users(server_folder(config))]}


def joined(config: Configuration) -> str | None:
    """That this process uses a server that another one started, and which; None where it started it."""
    folder = server_folder(config)
    record = read_record(folder)
    if config["serving"]["mode"] == "external" or not record or record["owner"] == os.getpid():
        return None
    starter = User(record["owner"], 0, record["verb"])
    gone = "" if starter.pid in (user.pid for user in users(folder)) else ", which has ended"
    said = f"joined the Triton that {starter} started{gone}; it answers until the last one that uses it goes"
    has = [int(record[key].removesuffix("/metrics").rpartition(":")[2]) for key in ("address", "http", "metrics")]
    other = [name for name, want, port in zip(SETTINGS, asked_ports(config), has, strict=True) if want not in (None, port)]
    return said + (f"; serving.{' and serving.'.join(other)} holds from the next one on" if other else "")


def goes_on(config: Configuration) -> str | None:
    """That Triton goes on answering when this process has let it go, and for whom; None where it does not."""
    others = users(server_folder(config)) if config["serving"]["mode"] == "embedded" and server_record(config) else []
    return f"Triton goes on for {_listed(others)}" if others else None


def whereabouts(config: Configuration, live: Sequence[str] = ()) -> str:
    """Where Triton answers and for whom, or how to start it: `live` are the versions that it would serve."""
    if config["serving"]["mode"] == "external":
        return f"Triton: gRPC {', '.join(config['serving']['addresses'])}, yours (serving=external)"
    server = server_record(config)
    if server is None:
        return "Triton: no embedded server runs here" + (f"; `warmstart serve` serves {', '.join(live)}" if live else "")
    using = users(server_folder(config))
    why = f"for {_listed(using)}" if using else "for nobody, those who used it were killed; the next verb that uses it stops it"
    return f"Triton: gRPC {server['address']}, HTTP {server['http']}, process {server['pid']}, {why}"


def _listed(users: Sequence[User]) -> str:
    return " and ".join(map(str, users))
