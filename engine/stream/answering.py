"""The live version is asked about a window: what it says, how the data differ, how good the answers were."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engine import drift, evaluate, exact, profiling
from engine.alarms import anytime
from engine.alarms.anytime import Monitor, Watch
from engine.columns import Floats
from engine.data import table
from engine.labels import ROW, folder_of
from engine.ledger.codec import decode
from engine.nouns import Champion, DriftReport, JobSpec, Labelled, LiveScore, Predicted, Training, Window
from engine.profile import Profile
from engine.stream.at_work import AtWork, frame_of, landed, predicted
from serving.errors import Refused, Unreachable

QUIET = 200  # windows that limits are learnt from


@dataclass(frozen=True)
class Watched:
    """What the monitor knows, and the champion that it watches for."""

    version: int
    watch: Watch


class Answering(AtWork):
    """The steps that look at the champion through a window."""

    def predict(self, window: Window) -> Predicted:
        """Ask the live endpoint about the whole window before anybody trains on it."""
        arrays = table.inputs(landed(window, self.parts.schema), self.parts.schema)
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
            before = exact.WhileThere(self._sorted(self._here(_trained_on(champion)), names))
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

    def _profile_of(self, window: Window, champion: Champion, said: Predicted) -> Profile:
        reference, schema = self._reference(champion), self.parts.schema
        extra = predicted(np.load(said.answers), schema)
        if not set(extra) <= set(reference.numbers):  # the champion was registered before its answers were profiled
            extra = {}
        return profiling.build(landed(window, schema), schema, reference.edges, extra=extra, by=reference.by)

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
        frame = frame_of(window, schema)
        known = table.has_target(frame, schema, None if self.cycle.window.accepted else self._within)
        frame, answers = frame.filter(known), answers[known.to_numpy()]
        truth, cuts = table.target(frame, schema).reshape(-1), self._cuts(frame, asked)
        return LiveScore(said.version, evaluate.score(truth, answers, schema.task, cuts), said.answers)


def _trained_on(champion: Champion) -> tuple[Window, ...]:
    """The windows behind the champion's Profile, as its job wrote them down."""
    folder = Path(champion.folder)
    training: Training = decode(Training, (folder / "result.json").read_text())
    return training.trained_on(decode(JobSpec, (folder / "job.json").read_text()))
