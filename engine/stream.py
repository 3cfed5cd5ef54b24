"""The steps of a cycle: what each line of `cycle.py` does for one stream and one window."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from engine import contract, drift, evaluate, profile
from engine.contract import Contract
from engine.data import table
from engine.drift import DriftLimits
from engine.gate import Gate, Served, amount
from engine.jobs import Jobs
from engine.ledger import Cycle, Ledger
from engine.nouns import (
    Breach,
    Champion,
    Closing,
    Decision,
    DriftReport,
    JobFailure,
    JobSpec,
    LiveScore,
    Outcome,
    Release,
    Schema,
    Scorecard,
    Slices,
    Training,
    Verdict,
    Window,
)
from engine.profile import Profile
from engine.registry import Registry
from engine.releases import CannotRelease, Releases
from engine.triggers import Evidence, Trigger
from engine.windows import digest_of
from serving.config import ModelConfig, Tensor
from serving.errors import Refused, Unreachable
from serving.release import Deployment

PAST = 64  # windows offered to a strategy; it takes the ones it wants
PROFILE = "profile.npz"


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
    model: Mapping[str, Any]
    strategy: Mapping[str, Any]
    trainer: Mapping[str, Any]
    seed: int
    catch_up: Literal["latest", "each"]
    require_approval: bool
    max_batch_size: int


@dataclass(frozen=True)
class Outside:
    """The world that a stream works in: its ledger, registry, jobs and servers, and a folder for files named by digest."""

    ledger: Ledger
    registry: Registry
    releases: Releases
    jobs: Jobs
    deployment: Deployment
    state: Path


class Stream:
    """One stream at work on one cycle. Every method is a step: it may be run again and ends in the same state."""

    def __init__(self, parts: Parts, outside: Outside, cycle: Cycle):
        self.parts = parts
        self.outside = outside
        self.cycle = cycle
        self.gate = parts.gate
        self.require_approval = parts.require_approval

    # what is there

    def champion(self) -> Champion | None:
        """The version that the registry names."""
        return self.outside.registry.champion()

    def validate(self, window: Window) -> tuple[Breach, ...]:
        """What is wrong with the window."""
        return self.parts.contract.check(window, self.parts.schema)

    def compare(self, window: Window, champion: Champion) -> DriftReport:
        """The window's Profile against what the champion was trained on."""
        reference = _profile(Path(champion.folder) / PROFILE)
        current = profile.build(_frame(window, self.parts.schema), self.parts.schema, reference.edges)
        return drift.compare(reference, current, self.parts.drift, window.id, champion.version)

    def score(self, window: Window, champion: Champion) -> LiveScore:
        """Ask the live endpoint about the whole window before anybody trains on it."""
        frame = _frame(window, self.parts.schema)
        try:
            answer = self.outside.deployment.endpoints[0].infer(self.parts.name, table.inputs(frame, self.parts.schema))
        except Refused as error:  # the live version does not answer: an outage, whatever the server calls it
            raise Unreachable(str(error)) from error
        said = evaluate.answers(answer.outputs[self.parts.schema.target])
        path = self._file("answers", f"{window.id}.{window.digest[:12]}.npy")
        part = path.with_name(f".{path.name}")
        with part.open("wb") as file:
            np.save(file, said)
        part.replace(path)
        truth = table.target(frame, self.parts.schema).reshape(-1)
        return LiveScore(answer.version, evaluate.score(truth, said, self.parts.schema.task), str(path))

    # whether to retrain

    def begin(self) -> Decision:
        """The first window trains the first champion, whatever else was asked for until now."""
        self.outside.ledger.use(self.cycle)
        return Decision(True, "first", "there is no champion yet")

    def decide(self, window: Window, champion: Champion, report: DriftReport, live: LiveScore, latest: bool) -> Decision:
        """An event retrains; else ask the trigger. Of a backlog only the latest window retrains, and for all of them."""
        if held := self.outside.ledger.held(self.parts.name):
            return Decision(False, "none", f"the stream is held ({held})")
        if (latest or self.parts.catch_up == "each") and (events := self.outside.ledger.use(self.cycle)):
            return Decision(True, "event", "; ".join(f"{event.reason} (said by {event.who})" for event in events))
        trained = self.outside.ledger.cycle(champion.cycle_id)
        since = trained.window.end if trained else None
        begun = trained.opened if trained else 0.0
        rows = self.outside.ledger.fresh_rows(self.parts.name, begun, window.digest) + window.rows
        decision = self.parts.trigger.decide(Evidence(report, live, champion.baseline, rows, since, window.end))
        if decision.retrain and not latest and self.parts.catch_up == "latest":
            return Decision(False, decision.cause, f"{decision.reason}; left to the latest window of the backlog", deferred=True)
        if not decision.retrain and trained and (latest or self.parts.catch_up == "each"):
            asked = None
            asking = ('"retrain": true', '"deferred": true')
            for cycle, earlier in self.outside.ledger.results(self.parts.name, "decide", Decision, trained.opened, asking):
                if earlier.retrain:  # what was asked for until then was tried
                    asked = None
                elif earlier.deferred and asked is None:
                    asked = f"window {cycle.window.id} asked for it: {earlier.reason.partition(';')[0]}"
            if asked:
                return Decision(True, "deferred", asked)
        return decision

    # the challenger

    def train(self, window: Window, champion: Champion | None) -> Training | JobFailure:
        """Fine-tune on every window since the champion's last, in a job of its own."""
        return self.outside.jobs.fit(self._spec(window, champion))

    def _spec(self, window: Window, champion: Champion | None) -> JobSpec:
        past, fresh = self._windows(window, champion)
        return JobSpec(
            cycle_id=self.cycle.id,
            folder=str(self._file("jobs", self.cycle.id.replace(":", "."))),
            schema=self.parts.schema,
            fresh=fresh,
            past=past,
            parent=champion.folder if champion else None,
            model=dict(self.parts.model),
            strategy=dict(self.parts.strategy),
            trainer=dict(self.parts.trainer),
            slices=self.parts.slices,
            seed=(self.parts.seed + zlib.crc32(self.cycle.id.encode())) % 2**31,
        )

    def judge(self, window: Window, challenger: Training, rival: Champion | None, champion: Champion | None) -> Scorecard:
        """Challenger and champion on the latest rows, which nobody fitted or stopped on; both as the graphs Triton serves."""
        schema, gate = self.parts.schema, self.parts.gate
        fresh = table.read(self._fresh(window, champion), schema)
        _, _, last = table.slices(fresh.height, self.parts.slices)
        rows = fresh[last.start : last.stop]
        arrays, truth = table.inputs(rows, schema), table.target(rows, schema).reshape(-1)
        mine = evaluate.predict(Path(challenger.folder) / "model.onnx", arrays, schema.target)
        theirs = evaluate.predict(Path(rival.folder) / "model.onnx", arrays, schema.target) if rival else None
        version = rival.version if rival else None
        metric = evaluate.chosen(gate.metric, schema.task)
        return evaluate.compare(metric, truth, mine, theirs, version, gate.confidence, seed=self.parts.seed, task=schema.task)

    def register(self, window: Window, challenger: Training, champion: Champion | None, card: Scorecard, quality: Verdict) -> int:
        """Register the challenger in MLflow as a candidate, with the Profile of what it was trained on."""
        spec = self._spec(window, champion)
        path = Path(challenger.folder) / PROFILE
        if not path.exists():
            trained = [w for w in (*spec.past, *spec.fresh) if w.id in challenger.windows]
            profile.build(table.read(trained, self.parts.schema), self.parts.schema).save(path)
        digest = digest_of(path)
        parent = champion.version if champion else None
        return self.outside.registry.register(spec, challenger, digest, parent, card.challenger, quality)

    def stage(self, version: int, challenger: Training) -> Served:
        """Publish under the staging name and ask there: parity, NaN, latency beside the live version."""
        deployment, name = self.outside.deployment, self.parts.name
        files = {file: Path(challenger.folder) / file for file in ("model.onnx", "golden.npz")}
        try:
            deployment.stage(name, version, files, self._model_config())
        except Refused as error:
            return Served(float("inf"), 0, 0, None, str(error))
        found = deployment.verify(name, version)
        latency = deployment.latency(name, version)
        return Served(found.max_rel, found.not_finite, found.mismatched, latency.ratio)

    def _model_config(self) -> ModelConfig:
        specs = [*table.signature(self.parts.schema), table.output(self.parts.schema)]
        tensors = [Tensor(s.name, s.datatype, (s.width,)) for s in specs]
        classes = self.parts.schema.classes
        parameters = {"classes": json.dumps(classes, ensure_ascii=False)} if classes else {}
        return ModelConfig(self.parts.name, tuple(tensors[:-1]), (tensors[-1],), self.parts.max_batch_size, parameters=parameters)

    def release(self, version: int, rival: Champion | None) -> Release:
        """Make the version live, if the champion is still the one that it was judged against."""
        return self.outside.releases.release(version, rival.version if rival else None, self.cycle.id)

    # Outcomes

    def quarantine(self, window: Window, breaches: tuple[Breach, ...]) -> Closing:
        """Keep the window and the reasons aside."""
        report = contract.quarantine(window, breaches, self._file("quarantine", ""))
        words = "; ".join(f"{b.column}: {b.message}" if b.column else b.message for b in breaches[:5])
        more = f"; and {len(breaches) - 5} more" if len(breaches) > 5 else ""
        return self._close(Closing(Outcome.QUARANTINED, f"{words}{more} (report: {report})"))

    def keep(self, champion: Champion | None, decision: Decision) -> Closing:
        """The champion stays."""
        return self._close(Closing(Outcome.KEPT, decision.reason, champion.version if champion else None))

    def give_up(self, failure: JobFailure) -> Closing:
        """No challenger came out of the training."""
        return self._close(Closing(Outcome.REJECTED, failure.reason))

    def reject(self, version: int | None, verdict: Verdict) -> Closing:
        """The challenger did not pass; its files are moved aside."""
        if version is not None:
            self.outside.releases.discard(version, f"rejected: {verdict.reason}")
        return self._close(Closing(Outcome.REJECTED, verdict.reason, version))

    def wait(self, version: int, why: str) -> Closing:
        """Leave the release to a person."""
        self._supersede(version)
        reason = f"version {version} waits for `warmstart approve` or `reject`: {why}"
        return self._close(Closing(Outcome.WAITING, reason, version))

    def conclude(self, done: Release, decision: Decision, card: Scorecard) -> Closing:
        """The release is over, one way or the other."""
        if done.state == "failed":
            self.outside.releases.discard(done.version, f"rejected: {done.reason}")
            return self._close(Closing(Outcome.REJECTED, done.reason, done.version))
        self._supersede(done.version)
        mine = card.challenger.metrics[card.metric]
        gain = f" ({amount(card.metric, card.gain)} on the judge slice)" if card.gain is not None else ""
        return self._close(Closing(Outcome.PROMOTED, f"{decision.reason} → {card.metric} {mine:.4g}{gain}", done.version))

    def _supersede(self, version: int) -> None:
        """Whoever waited for a person has this newer version before it."""
        for cycle in self.outside.ledger.unsettled(self.parts.name):
            if cycle.outcome == Outcome.WAITING and cycle.id != self.cycle.id:
                # Approved or rejected in this moment: then it waits no longer.
                with contextlib.suppress(CannotRelease):
                    self.outside.releases.turn_away(cycle, f"superseded by version {version}")

    def _close(self, closing: Closing) -> Closing:
        metrics, tags = _story(self.outside.ledger, self.cycle)
        tags |= {"outcome": closing.outcome.value, "reason": closing.reason, "window": self.cycle.window.id}
        if closing.version is not None:
            tags["version"] = str(closing.version)
        self.outside.registry.log_cycle(self.cycle.id, self.cycle.window.id, metrics, tags, self.cycle.fresh)
        return closing

    # windows

    def _windows(self, window: Window, champion: Champion | None) -> tuple[tuple[Window, ...], tuple[Window, ...]]:
        """Past and fresh: up to the champion's last trained window, and every good one since, this one last."""
        ledger, name = self.outside.ledger, self.parts.name
        trained = ledger.cycle(champion.cycle_id) if champion else None
        begun = trained.opened if trained else 0.0
        past = ledger.past(name, begun, PAST, window.digest) if trained else []
        return tuple(past), (*ledger.fresh(name, begun, window.digest), window)

    def _fresh(self, window: Window, champion: Champion | None) -> tuple[Window, ...]:
        return self._windows(window, champion)[1]

    def _file(self, kind: str, name: str) -> Path:
        folder = self.outside.state / kind / self.parts.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name


@functools.lru_cache(maxsize=2)
def _frame(window: Window, schema: Schema) -> pl.DataFrame:
    return table.read(window, schema)


@functools.lru_cache(maxsize=2)
def _profile(path: Path) -> Profile:
    return Profile.load(path)


def _story(ledger: Ledger, cycle: Cycle) -> tuple[dict[str, float], dict[str, str]]:
    """What the steps of a cycle found, as MLflow metrics and tags."""
    from engine.ledger import decode

    found = {step.name: step for step in ledger.steps(cycle.id)}
    metrics = {f"seconds/{name}": step.finished - step.started for name, step in found.items()}
    tags: dict[str, str] = {}

    def read(name: str, kind: Any, use: Callable[[Any], None]) -> None:
        if name in found:
            use(decode(kind, found[name].result))

    read(
        "score",
        LiveScore,
        lambda s: metrics.update({f"live/{k}": v for k, v in s.score.metrics.items()} | {"live/version": s.version}),
    )
    read(
        "drift",
        DriftReport,
        lambda r: metrics.update(
            {f"drift/{c.column.replace('/', '_')}": c.effect for c in r.columns} | {"drift/columns": len(r.drifted)}
        ),
    )
    read("decide", Decision, lambda d: tags.update({"cause": d.cause, "decision": d.reason}))
    for turn in itertools.takewhile(lambda t: f"judge.{t}" in found, itertools.count(1)):
        read(f"judge.{turn}", Scorecard, lambda card: metrics.update(_card(card)))
        read(f"verify.{turn}", Verdict, lambda verdict: tags.update({"verdict": verdict.reason}))
    return metrics, tags


def _card(card: Scorecard) -> dict[str, float]:
    metrics = {f"challenger/{k}": v for k, v in card.challenger.metrics.items()}
    if card.champion and card.gain is not None and card.low is not None:
        metrics |= {f"champion/{k}": v for k, v in card.champion.metrics.items()} | {"gain": card.gain, "gain_low": card.low}
    return metrics
