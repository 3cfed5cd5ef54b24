"""Where a platform keeps things in files: the folders of its state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def state_of(config: Mapping[str, Any]) -> Path:
    """The folder of everything that a platform keeps in files."""
    return Path(config["platform"]["state"]).absolute()


def gathered(config: Mapping[str, Any], stream: str) -> Path:
    """The folder of the windows that were joined from small ones."""
    return state_of(config) / "gathered" / stream


def untaken(config: Mapping[str, Any], stream: str) -> Path:
    """The file that says what the last look at a stream's folder did not take up."""
    return state_of(config) / "untaken" / f"{stream}.json"


def copies_of(config: Mapping[str, Any], stream: str) -> Path:
    """The folder of a stream's windows that were fetched from elsewhere."""
    return state_of(config) / "windows" / stream


def server_folder(config: Mapping[str, Any]) -> Path:
    """The folder of the embedded server: its record, its users, its log."""
    return state_of(config) / "server"
