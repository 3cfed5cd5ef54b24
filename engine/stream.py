"""The steps of a cycle: what each line of `cycle.py` does for one stream and one window."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from engine import drift, evaluate, exact, profile, profile_file, slices
from engine.alarms import anytime
from engine.alarms.anytime import Monitor, Watch
from engine.columns import Floats
from engine.contracts import learning, quarantine
from engine.contracts.contract import Contract
from engine.contracts.learning import Lesson
from engine.data import table
from engine.drift import DriftLimits
from engine.gate import Gate, Served, amount
from engine.intact import WindowLost, lost
from engine.jobs import Jobs
from engine.labels import ROW, Labels, folder_of
from engine.ledger import Cycle, Ledger
from engine.metrics import DIFFERENCES, F64, chosen
from engine.nouns import (
    PAST,
    Acceptance,
    Breach,
    Champion,
    Closing,
    Decision,
    DriftReport,
    JobFailure,
    JobSpec,
    Labelled,
    LiveScore,
    Outcome,
    Predicted,
    Release,
    Schema,
    Score,
    Scorecard,
    Slices,
    Training,
    Verdict,
    Window,
)
from engine.places import SourceError
from engine.profile import Profile
from engine.registry import Registry
from engine.releases import CannotRelease, Releases
from engine.slices import Cut, SliceBy
from engine.triggers import Evidence, Trigger, ask
from engine.windows import digest_of
from serving.config import ModelConfig, Tensor
from serving.errors import Refused, Unreachable
from serving.release import Deployment

PROFILE = profile_file.NAME
DELIVER = "deliver it again, or put the file back and `warmstart retry` it"
PREDICTED = " (predicted)"  # after a column's name: what the model said
QUIET = 200  # windows that limits are learnt from
SLICES_TOLD = 100  # at most, as metrics of a run in MLflow; the ledger has them all


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


@dataclass(frozen=True)
class Watched:
    """What the monitor knows, and the champion that it watches for."""

    version: int
    watch: Watch


class Stream:
    """One stream at work on one cycle. Every method is a step: it may be run again and ends in the same state."""

    def __init__(self, parts: Parts, outside: Outside, cycle: Cycle):
        self.parts = parts
        self.outside = outside
        self.cycle = cycle
        self.gate = parts.gate
        self.require_approval = parts.require_approval
        self.labels_come_later = parts.labels is not None
        self.watches = parts.drift.alarms == "stream"

    # what is there

    def champion(self) -> Champion | None:
        """The version that the registry names."""
        return self.outside.registry.champion()

    def validate(self, window: Window, champion: Champion | None, latest: bool) -> tuple[Breach, ...]:
        """What is wrong with the window. Of a backlog only the latest one has to be fresh."""
        self._here((window,))
        if why := lost(window):
            return (Breach(None, f"{why}: {DELIVER}"),)
        known = self._reference(champion).categories if champion else {}
        return self.parts.contract.check(window, self.parts.schema, self._lessons, known, self._found() if latest else None)

    def _found(self) -> datetime:
        """When the window was first worked on: a retry later does not make it staler."""
        first = self.outside.ledger.cycle(f"{self.cycle.id.rpartition(':')[0]}:1") or self.cycle
        return datetime.fromtimestamp(first.opened, UTC)

    def accepted(self, breaches: tuple[Breach, ...]) -> bool:
        """Whether a person lets the window pass all the same, which only limits can be."""
        return all(breach.limit for breach in breaches) and self.outside.ledger.step(self.cycle.id, "accept") is not None

    def learns(self) -> bool:
        """Whether good windows still teach the contract its limits."""
        return len(self._lessons) < self.parts.contract.learn

    def learn(self, window: Window) -> Lesson:
        """What this good window teaches."""
        return learning.study(window, _landed(window, self.parts.schema), self.parts.schema)

    @functools.cached_property
    def _lessons(self) -> tuple[Lesson, ...]:
        return learning.remembered(self.outside.ledger, self.parts.name, self.parts.contract.learn)

    def watch(self, window: Window, champion: Champion, said: Predicted) -> Watched:
        """What the monitor knows after this window. It watches for one champion, and begins anew with the next."""
        monitor, name = Monitor(self.parts.drift.alpha, self.parts.seed), self.parts.name
        before = self.outside.ledger.newest_results(name, "watch", Watched, 1, self.cycle.opened)
        if before and before[0].version == champion.version:
            last = before[0]
        else:
            last = Watched(champion.version, monitor.begin(anytime.counted(self._reference(champion))))
        base = self.cycle.id.rpartition(":")[0]
        if any(self.outside.ledger.step(f"{base}:{attempt}", "watch") for attempt in range(1, self.cycle.attempt)):
            return last  # its rows are in the pool already
        counted = anytime.counted(self._profile_of(window, champion, said))
        return Watched(champion.version, monitor.watch(last.watch, counted, window.id)[0])

    def compare(self, window: Window, champion: Champion, said: Predicted, watched: Watched | None) -> DriftReport:
        """The window's Profile, with what the live version said of it, against that of what the champion was trained on."""
        limits = self.parts.drift
        past = self.outside.ledger.newest_results(self.parts.name, "drift", DriftReport, QUIET) if limits.learn else ()
        chances = Monitor(limits.alpha, self.parts.seed).chances(watched.watch) if watched else None
        reference, current = self._reference(champion), self._profile_of(window, champion, said)
        if not limits.exact:
            return drift.compare(reference, current, limits, window.id, champion.version, past, chances)
        names = [name for name in reference.numbers if name in self._columns()]
        try:
            before = exact.WhileThere(self._sorted(self._here(self._trained_on(champion)), names))
        except FileNotFoundError as error:
            before = exact.WhileThere({})
            before.note(f"{error.filename}, which says what version {champion.version} was trained on, is gone")
        after = self._sorted((window,), names).get
        report = drift.compare(reference, current, limits, window.id, champion.version, past, chances, (before, after))
        return replace(report, notes=(*before.notes, *report.notes))

    def _sorted(self, windows: tuple[Window, ...], names: Sequence[str]) -> Mapping[str, Floats]:
        return exact.sorted_columns(windows, names, self._file("sorted", ""), self.outside.sorted_bytes)

    def _columns(self) -> set[str]:
        """Those of a window that are counted, and not what the model says of it."""
        schema = self.parts.schema
        return {*(column.name for column in (*schema.columns, *schema.watched)), *(() if schema.key else (schema.target,))}

    def _trained_on(self, champion: Champion) -> tuple[Window, ...]:
        """The windows behind the champion's Profile, as its job wrote them down."""
        from engine.ledger import decode

        folder = Path(champion.folder)
        training: Training = decode(Training, (folder / "result.json").read_text())
        return training.trained_on(decode(JobSpec, (folder / "job.json").read_text()))

    def _reference(self, champion: Champion) -> Profile:
        return _profile(Path(champion.folder))

    def _profile_of(self, window: Window, champion: Champion, said: Predicted) -> Profile:
        reference, schema = self._reference(champion), self.parts.schema
        extra = _predicted(np.load(said.answers), schema)
        if not set(extra) <= set(reference.numbers):  # the champion was registered before its answers were profiled
            extra = {}
        return profile.build(_landed(window, schema), schema, reference.edges, extra=extra, by=reference.by)

    def predict(self, window: Window) -> Predicted:
        """Ask the live endpoint about the whole window before anybody trains on it."""
        arrays = table.inputs(_landed(window, self.parts.schema), self.parts.schema)
        try:
            answer = self.outside.deployment.endpoints[0].infer(self.parts.name, arrays)
        except Refused as error:  # the live version does not answer: an outage, whatever the server calls it
            raise Unreachable(str(error)) from error
        said = evaluate.answers(answer.outputs[self.parts.schema.target])
        path = self._file("answers", f"{window.id}.{window.digest[:12]}.npy")
        part = path.with_name(f".{path.name}")
        with part.open("wb") as file:
            np.save(file, said)
        part.replace(path)
        return Predicted(answer.version, str(path))

    def label(self, window: Window) -> Labelled:
        """The rows whose labels came later, as a Window of their own. Raises LabelsPending until there are enough."""
        assert self.parts.labels is not None
        waited = time.time() - self.cycle.opened
        there = folder_of(self.parts.labels, self.parts.schema)
        return there.label(window, self.parts.contract, waited, self._file("labelled", ""))

    def score(self, window: Window, said: Predicted, asked: Champion) -> LiveScore:
        """What the live version said, against the truth."""
        schema, answers = self.parts.schema, np.load(said.answers)
        if self.labels_come_later:
            answers = answers[table.read(window, schema, [ROW])[ROW].to_numpy()]
        frame = _frame(window, schema)
        truth, cuts = table.target(frame, schema).reshape(-1), self._cuts(frame, asked)
        return LiveScore(said.version, evaluate.score(truth, answers, schema.task, cuts), said.answers)

    # whether to retrain

    def decide(
        self, window: Window, champion: Champion | None, report: DriftReport | None, live: LiveScore | None, latest: bool
    ) -> Decision:
        """An event retrains; else ask the trigger. Of a backlog only the latest window retrains, and for all of them.

        The first window trains the first champion, whatever else was asked for until then. What a trigger looks at must be about
        the champion: a window that was answered by another, before its labels came, says nothing against this one.
        """
        if champion is None:
            self.outside.ledger.use(self.cycle)
            return Decision(True, "first", "there is no champion yet")
        if held := self.outside.ledger.held(self.parts.name):
            return Decision(False, "none", f"the stream is held ({held})")
        if (latest or self.parts.catch_up == "each") and (events := self.outside.ledger.use(self.cycle)):
            return Decision(True, "event", "; ".join(f"{event.reason} (said by {event.who})" for event in events))
        if report is None or live is None or (self.labels_come_later and {report.version, live.version} != {champion.version}):
            said = f"version {live.version} answered this window" if live else "no version answered this window"
            return Decision(False, "none", f"{said}; version {champion.version}, live by now, is judged by those that it answers")
        trained = self.outside.ledger.cycle(champion.cycle_id)
        since = trained.window.end if trained else None
        fresh = self._fresh_rows(window, champion, trained)
        evidence = Evidence(report, live, champion.baseline, fresh, since, window.end, self._past)
        decision = ask(self.parts.trigger, evidence)
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

    def _past(self, number: str, windows: int) -> list[float]:
        """A live metric, or the effect of a column, of the newest windows."""
        ledger, name = self.outside.ledger, self.parts.name
        column = number.removeprefix("drift/")
        if column == number:
            scores = ledger.newest_results(name, "score", LiveScore, windows)
            return [score.score.metrics.get(number, math.nan) for score in scores]
        reports = ledger.newest_results(name, "drift", DriftReport, windows)
        return [next((c.effect for c in report.columns if c.name == column), math.nan) for report in reports]

    # the challenger

    def train(self, window: Window, champion: Champion | None) -> Training | JobFailure:
        """Fine-tune on every window since the champion's last, in a job of its own."""
        if why := lost(window):
            raise WindowLost(window, why)
        return self.outside.jobs.fit(self._spec(window, champion))

    def _spec(self, window: Window, champion: Champion | None) -> JobSpec:
        past, fresh = self._windows(window, champion)
        return JobSpec(
            cycle_id=self.cycle.id,
            folder=str(self._file("jobs", self.cycle.id.replace(":", "."))),
            schema=replace(self.parts.schema, sliced=()),  # a job judges nothing
            fresh=self._here(fresh),
            past=self._here(past),
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
        fresh = self._here(self._fresh(window, champion))
        rows = table.read([w for w in fresh if w.digest not in challenger.left_out], schema)
        _, _, last = table.slices(rows.height, self.parts.slices)
        rows = rows[last.start : last.stop]
        arrays, truth = table.inputs(rows, schema), table.target(rows, schema).reshape(-1)
        mine = evaluate.predict(Path(challenger.folder) / "model.onnx", arrays, schema.target)
        theirs = evaluate.predict(Path(rival.folder) / "model.onnx", arrays, schema.target) if rival else None
        version = rival.version if rival else None
        metric, cuts = chosen(gate.metric, schema.task), self._cuts(rows, rival or champion)
        return evaluate.compare(
            metric, truth, mine, theirs, version, gate.confidence, seed=self.parts.seed, task=schema.task, cuts=cuts
        )

    def _cuts(self, rows: pl.DataFrame, champion: Champion | None) -> tuple[Cut, ...]:
        if not self.parts.slice_by:
            return ()
        return slices.cut(rows, self.parts.slice_by, self._reference(champion) if champion else None)

    def register(self, window: Window, challenger: Training, champion: Champion | None, card: Scorecard, quality: Verdict) -> int:
        """Register the challenger in MLflow as a candidate, with the Profile of what it was trained on."""
        spec = self._spec(window, champion)
        path = Path(challenger.folder) / PROFILE
        if not path.exists():
            rows, schema = table.read(challenger.trained_on(spec), self.parts.schema), self.parts.schema
            said = evaluate.predict(Path(challenger.folder) / "model.onnx", table.inputs(rows, schema), schema.target)
            profile.build(rows, schema, extra=_predicted(said, schema), by=self.parts.drift.segment_by).save(path)
        digest = digest_of(path)
        parent = champion.version if champion else None
        return self.outside.registry.register(spec, challenger, digest, parent, card.challenger, quality)

    def stage(self, version: int, challenger: Training) -> Served:
        """Publish under the staging name and ask there: parity, NaN, latency beside the live version."""
        deployment, name = self.outside.deployment, self.parts.name
        files = {file: Path(challenger.folder) / file for file in ("model.onnx", "golden.npz")}
        try:
            self.outside.releases.stage(version, files, self._model_config())
            found = deployment.verify(name, version)
        except Refused as error:
            return Served(float("inf"), 0, 0, None, str(error))
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
        report = quarantine.keep(window, breaches, self._file("quarantine", ""))
        words = "; ".join(f"{b.column}: {b.message}" if b.column else b.message for b in breaches[:5])
        more = f"; and {len(breaches) - 5} more" if len(breaches) > 5 else ""
        return self._close(Closing(Outcome.QUARANTINED, f"{words}{more} (report: {report})"))

    def lose(self, found: WindowLost) -> Closing:
        """A window is not what landed any more. This one is quarantined; one before it spoils the challenger, not this window."""
        if step := self.outside.ledger.step(self.cycle.id, "register"):
            self.outside.releases.discard(int(step.result), f"rejected: {found}")
        if found.window.digest == self.cycle.window.digest:
            return self.quarantine(found.window, (Breach(None, f"{found.why}: {DELIVER}"),))
        return self._close(Closing(Outcome.REJECTED, f"{found}; the next training leaves it out"))

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
        judged_by = chosen(self.parts.gate.metric, self.parts.schema.task)
        metrics, tags = _story(self.outside.ledger, self.cycle, judged_by)
        tags |= {"outcome": closing.outcome.value, "reason": closing.reason, "window": self.cycle.window.id}
        if closing.version is not None:
            tags["version"] = str(closing.version)
        self.outside.registry.log_cycle(self.cycle.id, self.cycle.window.id, metrics, tags, self.cycle.fresh)
        return closing

    # windows

    def _windows(self, window: Window, champion: Champion | None) -> tuple[tuple[Window, ...], tuple[Window, ...]]:
        """Past and fresh: up to the champion's last trained window, and every good one since, this one last."""
        ledger, name, digest = self.outside.ledger, self.parts.name, self.cycle.window.digest
        if self.labels_come_later:
            return self._labelled(window, champion)
        trained = ledger.cycle(champion.cycle_id) if champion else None
        begun = trained.opened if trained else 0.0
        past = ledger.past(name, begun, PAST, digest) if trained else []
        return tuple(past), (*ledger.fresh(name, begun, digest), window)

    def _labelled(self, window: Window, champion: Champion | None) -> tuple[tuple[Window, ...], tuple[Window, ...]]:
        """The same where labels come later: a window is there for training from the moment in which its labels are."""
        known: dict[str, Window] = {}
        split = 0
        labelled = self.outside.ledger.labelled(self.parts.name)
        cycles = self.outside.ledger.cycles(self.parts.name)
        cycles.sort(key=lambda cycle: labelled[cycle.id].when if cycle.id in labelled else cycle.opened)
        for cycle in cycles:
            good = cycle.closed is not None and cycle.outcome in set(Outcome) - {Outcome.QUARANTINED}
            if good and cycle.window.digest != self.cycle.window.digest:
                whole = labelled[cycle.id].window if cycle.id in labelled else cycle.window
                if whole is cycle.window or Path(whole.uri).exists():  # else its labelled file was too old to be kept
                    known[cycle.window.digest] = whole
            if champion and cycle.id == champion.cycle_id:
                split = len(known)
        windows = tuple(known.values())
        return windows[max(0, split - PAST) : split], (*windows[split:], window)

    def _fresh_rows(self, window: Window, champion: Champion, trained: Cycle | None) -> int:
        """How many rows came since the champion's last trained window."""
        if self.labels_come_later:
            return sum(each.rows for each in self._fresh(window, champion))
        begun = trained.opened if trained else 0.0
        return self.outside.ledger.fresh_rows(self.parts.name, begun, self.cycle.window.digest) + window.rows

    def _here(self, windows: tuple[Window, ...]) -> tuple[Window, ...]:
        """The windows, with their files on this machine; who reads one that is gone everywhere says so."""
        for window in windows:
            with contextlib.suppress(SourceError):
                self.outside.fetch(window)
        return windows

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
def _landed(window: Window, schema: Schema) -> pl.DataFrame:
    """The window without its target, where that comes later."""
    if schema.key is None:
        return _frame(window, schema)
    return table.read(window, schema, [*(column.name for column in (*schema.columns, *schema.watched)), *schema.sliced])


@functools.lru_cache(maxsize=2)
def _profile(folder: Path) -> Profile:
    return Profile.load(folder / PROFILE)


def _predicted(said: F64, schema: Schema) -> dict[str, F64]:
    """A model's answers as columns of a Profile: the value, or the probability of a class."""
    if said.ndim == 1:
        return {f"{schema.target}{PREDICTED}": said}
    return {f"{schema.target} = {name}{PREDICTED}": said[:, k] for k, name in enumerate(schema.classes)}


def _story(ledger: Ledger, cycle: Cycle, metric: str) -> tuple[dict[str, float], dict[str, str]]:
    """What the steps of a cycle found, as MLflow metrics and tags; of the slices the `metric` that judges."""
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
        lambda s: metrics.update(
            {f"live/{k}": v for k, v in s.score.metrics.items()} | {"live/version": s.version} | _live_slices(s.score, metric)
        ),
    )
    read(
        "drift",
        DriftReport,
        lambda r: metrics.update({f"drift/{_plain(c.name)}": c.effect for c in r.columns} | {"drift/columns": len(r.drifted)}),
    )
    read("accept", Acceptance, lambda a: tags.update({"accepted": f"by {a.who}: {a.reason}"}))
    read("decide", Decision, lambda d: tags.update({"cause": d.cause, "decision": d.reason}))
    for turn in itertools.takewhile(lambda t: f"judge.{t}" in found, itertools.count(1)):
        read(f"judge.{turn}", Scorecard, lambda card: metrics.update(_card(card)))
        read(f"verify.{turn}", Verdict, lambda verdict: tags.update({"verdict": verdict.reason}))
    return metrics, tags


def _card(card: Scorecard) -> dict[str, float]:
    metrics = {f"challenger/{k}": v for k, v in card.challenger.metrics.items()}
    if card.champion and card.gain is not None and card.low is not None:
        metrics |= {f"champion/{k}": v for k, v in card.champion.metrics.items()} | {"gain": card.gain, "gain_low": card.low}
    if card.worst:
        metrics |= {"worst_slice": card.worst.gain, "worst_slice_high": card.worst.high}
    shown = [gap for gap in card.gaps if gap.name in (card.metric, *DIFFERENCES.values())]
    return metrics | {f"gap/{gap.name} over {_plain(gap.column)}": gap.value for gap in shown[:SLICES_TOLD]}


def _live_slices(score: Score, metric: str) -> dict[str, float]:
    """The largest slices, as `slice/COLUMN: VALUE/METRIC`."""
    largest = sorted(score.slices, key=lambda s: -s.rows)[:SLICES_TOLD]
    return {f"slice/{_plain(s.column)}: {_plain(s.value)}/{metric}": s.metrics[metric] for s in largest}


def _plain(text: str) -> str:
    """Text as one part of an MLflow metric's name, which has slashes between its parts."""
    return text.replace("/", "_").strip()[:80] or "_"
