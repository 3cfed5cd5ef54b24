"""Bring a version before the world in a Triton server, and take it back: stage, verify, switch, roll back, discard.

A new version is first loaded under a staging name that nobody asks, and held to its golden rows there. The switch then loads
it beside the live one, and the server sends unversioned requests to the higher number from that moment on. Nothing here knows
a registry or remembers anything: each step reads the folders and may be done again after a kill at any point.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.config import ModelConfig
from serving.endpoint import Answer, Endpoint
from serving.errors import Incomplete, Refused
from serving.golden import FILE, Golden
from serving.repository import STAGING, Repository

# Relative. Wide enough for a GPU with TF32 against the float32 of the process that wrote the golden rows.
TOLERANCE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Verification:
    """A server's answers to a version's golden rows.

    `max_abs` and `max_rel` are the largest differences of numbers; a relative one is to the golden value or, where that is
    smaller, to the mean size of its output, so that one value next to zero decides nothing. `not_finite` counts NaN and
    infinities served for finite golden values, `mismatched` everything else that differs: strings, booleans, integers, and
    golden values that are not finite themselves.
    """

    version: int
    rows: int
    max_abs: float
    max_rel: float
    not_finite: int
    mismatched: int

    def agrees(self, tolerance: float = TOLERANCE) -> bool:
        """True when every number is finite and within `tolerance` (relative), and everything else is the same."""
        return self.not_finite == 0 and self.mismatched == 0 and self.max_rel <= tolerance


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds per request as a client sees them: medians over all requests. Without a live version, only `staged_ms`.

    `ratio` is staged over live, the median over blocks; `low` and `high` are the middle half of the blocks.
    """

    staged_ms: float
    live_ms: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model repository and every server that reads it. Each step is done on all of them, and done when all of them did it."""

    repository: Repository
    endpoints: tuple[Endpoint, ...]

    def stage(self, name: str, version: int, files: Mapping[str, Path], config: ModelConfig) -> str:
        """Publish a version and load it under the staging name. Returns that name.

        Args:
            name: The model.
            version: Its number.
            files: Name in the version folder → file; `model.onnx` and `golden.npz` at least.
            config: How to serve it.

        Raises:
            Refused: A server could not load it. The live version is untouched; `discard` clears up.
        """
        if FILE not in files:
            raise ValueError(f"{name} {version}: {FILE} is not among the files; without golden rows nothing can be verified")
        self.repository.publish(name, version, files, config)
        staging = self.repository.stage(name, version)
        for endpoint in self.endpoints:
            endpoint.load(staging)
        return staging

    def restore(self, name: str) -> None:
        """Load what is selected on every server that does not hold it: one that was restarted comes up empty.

        Raises:
            Refused: It could not be loaded.
        """
        selected = self.repository.selected(name)
        for endpoint in self.endpoints:
            if selected and endpoint.loaded(name) != selected:
                for version in selected:
                    self.repository.complete(name, version)
                endpoint.load(name)

    def verify(self, name: str, version: int) -> Verification:
        """Ask the staged version its golden rows on every server; the worst answer counts."""
        golden = self._golden(name, version)
        return _worst([_compare(e.infer(name + STAGING, golden.inputs, version), golden) for e in self.endpoints])

    def latency(
        self, name: str, version: int, rows: int = 1, blocks: int = 10, requests: int = 20, warmup: int = 20, seed: int = 0
    ) -> Latency:
        """Time staged against live with requests of `rows` golden rows, on the first server.

        The two take turns in a seeded order, so that what else the machine does falls on both. Each is sent its own golden rows,
        as their inputs may differ. Sends `blocks` x `requests` requests to each, after `warmup` to each.
        """
        endpoint = self.endpoints[0]
        staged = _first(self._golden(name, version), rows)
        live = max(self.repository.selected(name), default=None)
        if live is None:
            for _ in range(warmup):
                endpoint.infer(name + STAGING, staged)
            return Latency(statistics.median(_timed(endpoint, name + STAGING, staged) for _ in range(blocks * requests)))

        turns = [(name, _first(self._golden(name, live), rows)), (name + STAGING, staged)]
        for _ in range(warmup):
            for model, inputs in turns:
                endpoint.infer(model, inputs)
        random = np.random.default_rng(seed)
        times = np.empty((2, blocks, requests))
        for block in range(blocks):
            for request in range(requests):
                for turn in random.permutation(2):
                    times[turn, block, request] = _timed(endpoint, *turns[turn])
        ratios = np.median(times[1], axis=1) / np.median(times[0], axis=1)
        low, ratio, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        return Latency(float(np.median(times[1])), float(np.median(times[0])), float(ratio), float(low), float(high))

    def switch(self, name: str, version: int, keep: int | None, tolerance: float = TOLERANCE) -> Verification:
        """Let a verified version answer the world, and prove that it does.

        `keep` stays loaded beside it for an instant rollback: unless it has the higher number, which would go on answering, or
        is served with another configuration, which would reload both. No request fails meanwhile. The staging model goes.

        Raises:
            Refused: It could not be loaded, or what answers is not the version with its golden outputs. `keep` answers again;
                without one the model is unloaded.
        """
        self.repository.accept(name, version)
        beside = (keep,) if keep is not None and keep < version and self._alike(name, keep, version) else ()
        self.repository.select(name, (*beside, version))
        with self._or_back(name, () if keep is None else (keep,)):
            verification = self._load(name, version, tolerance)
        self._unstage(name, version)
        return verification

    def rollback(self, name: str, to: int, tolerance: float = TOLERANCE) -> Verification:
        """Let an earlier version answer alone: milliseconds while it is still loaded, else as long as a load takes.

        Raises:
            Refused: It could not be loaded or does not answer as it should; what was live before is again.
        """
        before = self.repository.selected(name)
        self.repository.select(name, (to,))
        with self._or_back(name, before):
            return self._load(name, to, tolerance)

    def discard(self, name: str, version: int) -> Path | None:
        """Take a version that will not be released out of the way. Returns where it is kept for inspection."""
        self._unstage(name, version)
        return self.repository.move_aside(name, version)

    def _load(self, name: str, version: int, tolerance: float) -> Verification:
        golden = self._golden(name, version)
        found = []
        for endpoint in self.endpoints:
            endpoint.load(name)
            # Without a version: this is what the world is told.
            answer = endpoint.infer(name, golden.inputs)
            if answer.version != version:
                raise Refused(f"{name} at {endpoint.address} answers with version {answer.version}, not with {version}")
            found.append(_compare(answer, golden))
            if not found[-1].agrees(tolerance):
                raise Refused(f"{name} {version} at {endpoint.address} does not give its golden outputs: {found[-1]}")
        return _worst(found)

    @contextmanager
    def _or_back(self, name: str, versions: tuple[int, ...]) -> Iterator[None]:
        try:
            yield
        except Refused:
            if versions:
                self.repository.select(name, versions)
                for endpoint in self.endpoints:
                    endpoint.load(name)
            else:
                self.repository.deselect(name)
                for endpoint in self.endpoints:
                    endpoint.unload(name)
            raise

    def _unstage(self, name: str, version: int) -> None:
        # Another version may have been staged since, while this one waited for a person.
        if self.repository.staged(name) in (version, None):
            for endpoint in self.endpoints:
                endpoint.unload(name + STAGING)
            self.repository.unstage(name)

    def _golden(self, name: str, version: int) -> Golden:
        path = self.repository.folder(name, version) / FILE
        if not path.exists():
            raise Incomplete(f"{path} is missing; publish {name} {version} again with its golden rows")
        return Golden.load(path)

    def _alike(self, name: str, one: int, other: int) -> bool:
        a, b = self.repository.config(name, one), self.repository.config(name, other)
        return replace(a, versions=()) == replace(b, versions=())


def _timed(endpoint: Endpoint, name: str, inputs: Mapping[str, NDArray[Any]]) -> float:
    begin = time.perf_counter()
    endpoint.infer(name, inputs)
    return (time.perf_counter() - begin) * 1e3


def _first(golden: Golden, rows: int) -> dict[str, NDArray[Any]]:
    return {name: array[:rows] for name, array in golden.inputs.items()}


def _compare(answer: Answer, golden: Golden) -> Verification:
    absolute, relative, not_finite, mismatched = 0.0, 0.0, 0, 0
    for name, expected in golden.outputs.items():
        if name not in answer.outputs or answer.outputs[name].shape != expected.shape:
            raise Refused(f"version {answer.version} gives no output {name} of shape {expected.shape}")
        served = answer.outputs[name]
        if expected.dtype.kind != "f":
            mismatched += int(np.sum(served != expected.astype(served.dtype)))
            continue
        finite = np.isfinite(expected)
        not_finite += int(np.sum(finite & ~np.isfinite(served)))
        mismatched += int(np.sum(~finite & ~np.isclose(served, expected, equal_nan=True)))
        both = finite & np.isfinite(served)
        if both.any():
            said, meant = served[both].astype(np.float64), np.abs(expected[both].astype(np.float64))
            difference = np.abs(said - expected[both])
            scale = np.maximum(meant, meant.mean())
            absolute = max(absolute, float(difference.max()))
            relative = max(relative, float((difference / np.where(scale > 0, scale, 1.0)).max()))
    return Verification(answer.version, golden.rows, absolute, relative, not_finite, mismatched)


def _worst(found: list[Verification]) -> Verification:
    return Verification(
        version=found[0].version,
        rows=found[0].rows,
        max_abs=max(f.max_abs for f in found),
        max_rel=max(f.max_rel for f in found),
        not_finite=max(f.not_finite for f in found),
        mismatched=max(f.mismatched for f in found),
    )
