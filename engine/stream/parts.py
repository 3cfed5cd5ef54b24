"""What a stream is wired from: its configuration built, and the world around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.contracts.contract import Contract
from engine.drift import DriftLimits
from engine.gate import Gate
from engine.jobs import Jobs
from engine.labels import Labels
from engine.ledger import Ledger
from engine.nouns import Schema, Slices, Window
from engine.registry import Registry
from engine.releases import Releases
from engine.slices import SliceBy
from engine.triggers import Trigger
from serving.release import Deployment


@dataclass(frozen=True)
class Parts:
    """What a stream's configuration says: how its windows are checked, judged and trained on."""

    name: str
    schema: Schema
    contract: Contract
    drift: DriftLimits
    trigger: Trigger
    gate: Gate
    slices: Slices
    slice_by: tuple[SliceBy, ...]
    model: Mapping[str, Any]
    strategy: Mapping[str, Any]
    trainer: Mapping[str, Any]
    seed: int
    catch_up: Literal["latest", "each"]
    require_approval: bool
    max_batch_size: int
    labels: Labels | None = None


@dataclass(frozen=True)
class Outside:
    """The world that a stream works in: its ledger, registry, jobs and servers, and a folder for files named by digest.

    `fetch` sees to it that a window's file is on this machine. `sorted_bytes` are what sorted columns may take of the disk.
    """

    ledger: Ledger
    registry: Registry
    releases: Releases
    jobs: Jobs
    deployment: Deployment
    state: Path
    fetch: Callable[[Window], None]
    sorted_bytes: int
