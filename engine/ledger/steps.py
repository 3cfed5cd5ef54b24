"""The steps of a cycle, each done once to its end."""

from __future__ import annotations

import functools
import time
import typing
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from engine.ledger import Ledger
from engine.ledger.codec import decode
from engine.ledger.rows import Cycle

P = ParamSpec("P")
T = TypeVar("T")


class Steps:
    """Runs the steps of one cycle, each at most once to its end: `steps(name, function, *arguments)`.

    The result is decoded by the function's return annotation, so a step is a function with one.
    """

    def __init__(self, ledger: Ledger, cycle: Cycle, on_step: Callable[[str], None] = lambda name: None):
        self.ledger = ledger
        self.cycle = cycle
        self.on_step = on_step

    def __call__(self, name: str, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The remembered result of the step, or what it returns now."""
        if done := self.ledger.step(self.cycle.id, name):
            return typing.cast(T, decode(_returned(step), done.result))
        self.on_step(name)
        started, clock = time.time(), time.monotonic()
        result = step(*args, **kwargs)
        self.ledger.record(self.cycle, name, result, started, time.monotonic() - clock)
        return result


@functools.cache
def _returned(step: Callable[..., Any]) -> Any:
    target = getattr(step, "__func__", step)
    return typing.get_type_hints(target)["return"]
