"""A challenger is trained, judged, registered, staged and released."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path

from engine import evaluate, profile_file, profiling
from engine.data import table
from engine.gate import Served
from engine.intact import WindowLost, lost
from engine.metrics import chosen
from engine.nouns import Champion, JobFailure, JobSpec, Release, Scorecard, Training, Verdict, Window
from engine.stream.at_work import PROFILE, predicted
from engine.stream.windows import TrainingWindows
from engine.windows import digest_of
from serving.config import ModelConfig, Tensor
from serving.errors import Refused


class Challenging(TrainingWindows):
    """The steps of a challenger, from its training to the live name."""

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
            within=self._within,
        )

    def judge(self, window: Window, challenger: Training, rival: Champion | None, champion: Champion | None) -> Scorecard:
        """Challenger and champion on the latest rows, which nobody fitted or stopped on; both as the graphs Triton serves."""
        schema, gate = self.parts.schema, self.parts.gate
        fresh = self._here(self._fresh(window, champion))
        rows = table.labelled([w for w in fresh if w.digest not in challenger.left_out], schema, self._within)
        _, _, last = table.slices(rows.height, self.parts.slices)
        before, rows = rows[: last.start], rows[last.start : last.stop]
        arrays, truth = table.inputs(rows, schema), table.target(rows, schema).reshape(-1)
        mine = evaluate.predict(Path(challenger.folder) / "model.onnx", arrays, schema.target)
        theirs = evaluate.predict(Path(rival.folder) / "model.onnx", arrays, schema.target) if rival else None
        version = rival.version if rival else None
        metric, cuts = chosen(gate.metric, schema.task), self._cuts(rows, rival or champion)
        card = evaluate.compare(
            metric, truth, mine, theirs, version, gate.confidence, seed=self.parts.seed, task=schema.task, cuts=cuts
        )
        if rival or not truth.size:
            return card
        fitted = table.target(before, schema).reshape(-1)
        return replace(card, constant=evaluate.constant(fitted, truth, schema.task, len(schema.classes)))

    def register(self, window: Window, challenger: Training, champion: Champion | None, card: Scorecard, quality: Verdict) -> int:
        """Register the challenger in MLflow as a candidate, with the Profile of what it was trained on."""
        spec = self._spec(window, champion)
        path = Path(challenger.folder) / PROFILE
        if not path.exists():
            rows, schema = table.read(challenger.trained_on(spec), self.parts.schema), self.parts.schema
            said = evaluate.predict(Path(challenger.folder) / "model.onnx", table.inputs(rows, schema), schema.target)
            made = profiling.build(rows, schema, extra=predicted(said, schema), by=self.parts.drift.segment_by)
            profile_file.write(made, path)
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
