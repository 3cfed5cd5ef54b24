"""Strategies and models that misbehave on purpose; streams name them by `_target_`, and jobs import them in their own process."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.models.table import TableNet
from engine.strategies.replay import Replay


@dataclass(frozen=True)
class Slow(Replay):
    """Says that it began by writing `flag`, then takes its time, until `flag` is gone or `seconds` are over."""

    flag: str = ""
    seconds: float = 30.0

    def draw(self, *args: Any, **kwargs: Any) -> Any:
        Path(self.flag).write_text(str(os.getpid()))
        deadline = time.monotonic() + self.seconds
        while Path(self.flag).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return super().draw(*args, **kwargs)


@dataclass(frozen=True)
class Broken(Replay):
    """A bug in a plug-in."""

    def draw(self, *args: Any, **kwargs: Any) -> Any:
        raise LookupError("no such row")


@dataclass(frozen=True)
class Dies(Replay):
    """Killed without a word, as by the kernel when memory is short: the first time only, which `flag` remembers."""

    flag: str = ""

    def draw(self, *args: Any, **kwargs: Any) -> Any:
        if not Path(self.flag).exists():
            Path(self.flag).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().draw(*args, **kwargs)


class Diverges(TableNet):
    """Its loss is no number."""

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return super().training_step(batch, index) * float("nan")


@dataclass(frozen=True)
class AlwaysDies(Replay):
    """Killed every time, as by the kernel when memory is short; before that it says something."""

    def draw(self, *args: Any, **kwargs: Any) -> Any:
        print("so much memory", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


class Measured(TableNet):
    """Writes down the most memory that its process had, in bytes."""

    def __init__(self, *args: Any, peak: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.peak = peak

    def on_train_end(self) -> None:
        Path(self.peak).write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
