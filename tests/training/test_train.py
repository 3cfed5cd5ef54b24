from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import pytorch_lightning as lightning
import torch
from pydantic import TypeAdapter
from stream import SCHEMA, job, week, window

from engine import export, train
from engine.data import golden, table
from engine.data.batches import Batches, tensors
from engine.data.table import Arrays
from engine.intact import WindowLost
from engine.nouns import JobSpec, Slices, Training
from engine.strategies.replay import Replay
from engine.training import fitting
from engine.training.rows import rows_of
from engine.training.weights import build, load
from engine.windows import digest_of

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A first model, trained on week 0."""
    folder = tmp_path_factory.mktemp("champion")
    return train.fit(job(folder, "first", [window(folder, 0)]))


def weights(training: Training) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(Path(training.folder) / "checkpoint.ckpt", weights_only=True)
    state: dict[str, torch.Tensor] = checkpoint["state_dict"]
    return state


def rmse(training: Training, number: int, folder: Path) -> float:
    frame = table.read(window(folder, number), SCHEMA)
    session = onnxruntime.InferenceSession(Path(training.folder) / "model.onnx", providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, table.inputs(frame, SCHEMA))
    return float(np.sqrt(np.mean((answer - table.target(frame, SCHEMA)) ** 2)))


def test_the_first_model_learns_from_one_window(champion: Training, tmp_path: Path) -> None:
    assert (champion.rows_fit, champion.rows_stop, champion.rows_judge) == (480, 0, 120)
    assert champion.parent is None
    assert champion.windows == ("week-00",)
    assert champion.exported == "graph"
    assert rmse(champion, 1, tmp_path) < 15  # the target's deviation is 69, the noise and the week's shift 1.4


def test_a_warm_start_is_better_and_exchanges_weights(champion: Training, tmp_path: Path) -> None:
    past, fresh = window(tmp_path, 0), window(tmp_path, 30)
    second = train.fit(job(tmp_path, "second", [fresh], (past,), champion.folder))
    assert second.parent == champion.folder
    assert second.windows == ("week-00", "week-30")
    assert second.exported == "weights"
    assert rmse(champion, 31, tmp_path) > 30
    assert rmse(second, 31, tmp_path) < 20
    assert set(second.seconds) == {"read", "build", "adapt", "fit", "save", "export"}


def test_golden_rows_hold_what_torch_says_and_the_graph_agrees(champion: Training) -> None:
    inputs, outputs = golden.read(Path(champion.folder) / "golden.npz")
    session = onnxruntime.InferenceSession(Path(champion.folder) / "model.onnx", providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, inputs)
    assert answer.shape == (68, 1)
    np.testing.assert_allclose(answer, outputs["minutes"], rtol=1e-4, atol=1e-3)


def test_the_judge_rows_have_no_influence(tmp_path: Path) -> None:
    first = window(tmp_path, 0)
    a = train.fit(job(tmp_path, "a", [first]))
    frame = table.read(first, SCHEMA)
    _, _, judge = table.slices(frame.height, Slices(stop=0, judge=0.2))
    spoilt = frame.with_row_index().with_columns(minutes=frame["minutes"].scatter(list(judge), 1e6)).drop("index")
    path = tmp_path / "spoilt.parquet"
    spoilt.write_parquet(path)
    b = train.fit(job(tmp_path, "b", [dataclasses.replace(first, uri=str(path), digest=digest_of(path))]))
    assert all(torch.equal(weights(b)[name], weight) for name, weight in weights(a).items())


def test_cold_takes_nothing_from_its_parent(champion: Training, tmp_path: Path) -> None:
    strategy = {"strategy": {"_target_": "engine.strategies.cold.Cold", "epochs": 2}}
    fresh = window(tmp_path, 1)
    with_parent = train.fit(job(tmp_path, "a", [fresh], parent=champion.folder, **_node(strategy)))
    without = train.fit(job(tmp_path, "b", [fresh], **_node(strategy)))
    assert with_parent.parent is None
    assert all(torch.equal(weights(without)[name], weight) for name, weight in weights(with_parent).items())


def _node(changes: dict[str, Any]) -> dict[str, Any]:
    changes["strategy"] = {"batch": 64, **changes["strategy"]}
    return changes


def test_warm_reads_no_past_window(champion: Training, tmp_path: Path) -> None:
    strategy = {"_target_": "engine.strategies.warm.Warm", "batch": 64}
    gone = dataclasses.replace(window(tmp_path, 0), uri="/nowhere.parquet")
    result = train.fit(job(tmp_path, "a", [window(tmp_path, 1)], (gone,), champion.folder, strategy=strategy))
    assert result.windows == ("week-01",)


def test_a_backlog_is_one_fit_on_all_its_windows(champion: Training, tmp_path: Path) -> None:
    backlog = [window(tmp_path, number) for number in (1, 2, 3)]
    result = train.fit(job(tmp_path, "a", backlog, (window(tmp_path, 0),), champion.folder))
    assert result.windows == ("week-00", "week-01", "week-02", "week-03")
    assert (result.rows_fit, result.rows_judge) == (1440, 360)


def test_the_champions_moments_are_kept_or_not(champion: Training, tmp_path: Path) -> None:
    fresh = window(tmp_path, 1, cities=tuple(f"town {i}" for i in range(40)))  # the table grows, its moments must follow
    kept = train.fit(job(tmp_path, "kept", [fresh], parent=champion.folder))
    reset = train.fit(job(tmp_path, "reset", [fresh], parent=champion.folder, strategy={"keep_optimizer": False}))
    steps = [
        torch.load(Path(t.folder) / "checkpoint.ckpt", weights_only=True)["optimizer_states"][0]["state"][0]["step"]
        for t in (champion, kept, reset)
    ]
    assert steps[1] == steps[0] + kept.steps
    assert steps[2] == reset.steps


def test_the_best_weights_on_the_stop_slice_are_kept(champion: Training, tmp_path: Path) -> None:
    spec = job(tmp_path, "a", [window(tmp_path, 1)], parent=champion.folder, slices=Slices(stop=0.2, judge=0.2, min_stop_rows=1))
    result = train.fit(spec)
    assert result.rows_stop == 120
    assert result.stop_loss is not None
    module = build(spec)
    load(module, torch.load(Path(result.folder) / "checkpoint.ckpt", weights_only=True))
    frame = table.read(spec.fresh, SCHEMA)[360:480]
    inputs, target = table.inputs(frame, SCHEMA), table.target(frame, SCHEMA)
    module.eval().requires_grad_(False)
    batch = tensors(inputs, module.vocabularies), torch.from_numpy(target)
    assert float(module.validation_step(batch, 0)) == pytest.approx(result.stop_loss, rel=1e-5)


def test_a_finished_job_is_not_done_again(champion: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = _spec(champion)
    monkeypatch.setattr(train, "_run", lambda *_: pytest.fail("it ran again"))
    assert train.fit(spec) == champion


def _spec(training: Training) -> JobSpec:
    return TypeAdapter(JobSpec).validate_json((Path(training.folder) / "job.json").read_bytes())


def test_a_folder_of_another_job_is_refused(champion: Training) -> None:
    with pytest.raises(ValueError, match=r"holds the files of another job, see job\.json"):
        train.fit(dataclasses.replace(_spec(champion), seed=2))


def test_an_interrupted_fit_goes_on_and_ends_as_if_nothing_had_happened(
    champion: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {"model": {"unknown": 0.0}, "slices": Slices(stop=0.2, judge=0.2, min_stop_rows=1)}
    windows = [window(tmp_path, 1)]
    whole = train.fit(job(tmp_path, "whole", windows, parent=champion.folder, **changes))

    class Killed(BaseException):
        pass

    given = 0

    def until_killed(self: Batches) -> Any:
        nonlocal given
        for batch in everything(self):
            if given == 19:
                raise Killed
            given += 1
            yield batch

    everything = Batches.__iter__
    monkeypatch.setattr(fitting, "CHECKPOINT_EVERY", 0.0)
    monkeypatch.setattr(Batches, "__iter__", until_killed)
    spec = job(tmp_path, "half", windows, parent=champion.folder, **changes)
    with pytest.raises(Killed):
        train.fit(spec)
    assert sorted(p.name for p in Path(spec.folder).iterdir() if p.suffix != ".lock") == ["job.json", "last.ckpt"]
    monkeypatch.setattr(Batches, "__iter__", everything)
    half = train.fit(spec)
    assert (half.steps, half.stop_loss) == (whole.steps, whole.stop_loss)
    assert all(torch.equal(weights(half)[name], weight) for name, weight in weights(whole).items())
    assert not (Path(spec.folder) / "last.ckpt").exists()


@pytest.mark.slow
def test_a_killed_program_goes_on_when_it_is_started_again(tmp_path: Path) -> None:
    spec = job(tmp_path, "killed", [window(tmp_path, 0)], strategy={"first_draws": 300})
    path, last = tmp_path / "spec.json", Path(spec.folder) / "last.ckpt"
    path.write_text(json.dumps(dataclasses.asdict(spec)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    often = (
        "import sys; from engine import train; from engine.training import fitting; "
        "fitting.CHECKPOINT_EVERY = 0.2; train.main(sys.argv[1])"
    )
    process = subprocess.Popen([sys.executable, "-c", often, str(path)], cwd=REPOSITORY, env=environment)
    until = time.monotonic() + 60
    while not last.exists() and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    reached = torch.load(last, weights_only=True)["global_step"]
    assert 0 < reached < 2250
    assert not (Path(spec.folder) / "result.json").exists()
    again = [sys.executable, "-m", "engine.train", str(path)]
    ran = subprocess.run(again, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == json.loads((Path(spec.folder) / "result.json").read_text())
    assert json.loads(ran.stdout)["steps"] == 2250
    assert ran.stderr == ""


def test_a_loss_that_is_no_number_ends_the_job_in_words(tmp_path: Path) -> None:
    with pytest.raises(fitting.TrainingDiverged, match=r"the loss on week-00 became .* lower model\.learning_rate"):
        train.fit(job(tmp_path, "a", [window(tmp_path, 0)], model={"learning_rate": 1e30}))
    assert not (tmp_path / "a" / "result.json").exists()


def test_a_window_that_changed_after_it_was_listed_is_refused(tmp_path: Path) -> None:
    listed = window(tmp_path, 0)
    week(0, rows=599).write_parquet(listed.uri)
    with pytest.raises(WindowLost, match=r"window week-00 of toy cannot be read from .*: other bytes are there now"):
        train.fit(job(tmp_path, "a", [listed]))


def test_older_windows_that_are_lost_are_left_out_and_named(tmp_path: Path) -> None:
    windows = [window(tmp_path, number) for number in range(5)]
    Path(windows[0].uri).unlink()
    week(9).write_parquet(windows[2].uri)
    Path(windows[3].uri).write_bytes(b"no Parquet")
    result = train.fit(job(tmp_path, "a", windows[2:], past=tuple(windows[:2])))
    assert list(result.left_out) == [windows[number].digest for number in (0, 2, 3)]
    other = "other bytes are there now than those that landed"
    assert list(result.left_out.values()) == ["week-00: it is gone", f"week-02: {other}", f"week-03: {other}"]
    assert result.windows == ("week-01", "week-04")
    assert (result.rows_fit, result.rows_judge) == (480, 120)


def test_windows_are_cut_by_time_though_an_older_one_comes_later(tmp_path: Path) -> None:
    windows = [window(tmp_path, number) for number in (1, 2, 0)]
    rows = rows_of(job(tmp_path, "a", windows, slices=Slices(stop=0.2, judge=0.2, min_stop_rows=1)), Replay())
    assert rows.fitted["time"].is_sorted()
    assert rows.fitted["time"].max() < rows.stop["time"].min()
    assert rows.stop["time"].max() < rows.judge["time"].min()
    assert rows.judge["time"].max() == 3 * 600 - 1


class Line(lightning.LightningModule):
    """A model of one's own: a line through the distance."""

    vocabularies: dict[str, list[str]] = {"city": [""]}  # noqa: RUF012

    def __init__(self, schema: object, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.line = torch.nn.Linear(1, 1)

    def adapt(self, inputs: Arrays, target: np.ndarray, fresh: int) -> None:
        pass

    def forward(self, distance: torch.Tensor, city: torch.Tensor, jet: torch.Tensor, late: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.line(distance.float() / 1000)
        return answer

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        inputs, target = batch
        return (self(*inputs) - target.float()).square().mean()

    validation_step = training_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.rate)


def test_a_model_of_ones_own_trains_exports_and_continues(tmp_path: Path) -> None:
    own = {"_target_": "test_train.Line", "rate": 0.1}
    first = dataclasses.replace(job(tmp_path, "first", [window(tmp_path, 0)]), model=own)
    one = train.fit(first)
    two = train.fit(dataclasses.replace(job(tmp_path, "two", [window(tmp_path, 1)], parent=one.folder), model=own))
    assert (one.exported, two.exported) == ("graph", "weights")
    assert weights(two)["line.weight"].item() == pytest.approx(125, rel=0.1)
    assert rmse(two, 2, tmp_path) < 12


def test_the_weights_of_another_model_are_refused_in_words(champion: Training, tmp_path: Path) -> None:
    other = {"_target_": "test_train.Line", "rate": 0.1}
    spec = dataclasses.replace(job(tmp_path, "a", [window(tmp_path, 1)], parent=champion.folder), model=other)
    with pytest.raises(ValueError, match=r"model: test_train\.Line cannot start from the champion's weights.*`strategy=cold`"):
        train.fit(spec)


def test_a_model_without_the_contract_is_named(tmp_path: Path) -> None:
    spec = dataclasses.replace(job(tmp_path, "a", [window(tmp_path, 0)]), model={"_target_": "test_train.NotLearner"})
    with pytest.raises(ValueError, match=r"model: test_train\.NotLearner has no .*adapt; engine\.models\.Learner"):
        train.fit(spec)


class NotLearner(lightning.LightningModule):
    def __init__(self, schema: object) -> None:
        super().__init__()


def test_predictions_by_torch_and_graph_start_from_the_same_raw_rows(champion: Training, tmp_path: Path) -> None:
    module = build(_spec(champion))
    load(module, torch.load(Path(champion.folder) / "checkpoint.ckpt", weights_only=True))
    inputs = table.inputs(table.read(window(tmp_path, 5), SCHEMA), SCHEMA)
    session = onnxruntime.InferenceSession(Path(champion.folder) / "model.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(
        session.run(None, inputs)[0], export.predict(module, inputs, SCHEMA)["minutes"], rtol=1e-5, atol=1e-3
    )
