"""One fine-tune: a JobSpec in, a folder with a challenger out.

    read the windows → build the model, from the champion's weights if the strategy is warm → let it adapt to the rows →
    draw batches → fit under Lightning → export the graph → write golden rows → write the result, last

The job opens no ledger and asks no registry, so it runs anywhere: in a child process, or as a program under srun or Kubernetes,

    python -m engine.train SPEC.json

Started again it goes on from its last checkpoint; when it has finished before, the written result is returned at once.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import logging
import multiprocessing
import resource
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytorch_lightning as lightning
import torch
from filelock import FileLock
from hydra.utils import instantiate
from pydantic import TypeAdapter

from engine import export
from engine.data import golden, table
from engine.data.batches import Batches, InOrder, tensors
from engine.intact import WindowLost
from engine.nouns import JobSpec, Resources, Training, Window
from engine.strategies import Floats, Integers, Strategy
from engine.strategies.moments import Moments

CHECKPOINT_EVERY = 60.0
"""Seconds between checkpoints of a running fit."""

STOP_CHECKS = 4
"""How often in a fit the stop slice is looked at. With a learning rate that falls to zero the last look is usually the best."""


class TrainingDiverged(RuntimeError):
    """The loss is no longer a number."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a job, past ones first, then the fresh ones to fit on; those held out stay apart.

    `windows` are the ids of the windows read, oldest first, and `left_out` those that are lost (digest → why); `ages` are those
    of the fitted rows, as in `Strategy.draw`.
    """

    windows: tuple[str, ...]
    left_out: dict[str, str]
    fitted: pl.DataFrame
    ages: Floats
    fresh: int
    stop: pl.DataFrame
    judge: pl.DataFrame


def fit(spec: JobSpec) -> Training:
    """Run the job, or what is left of it, and return what it did.

    Raises:
        TrainingDiverged: the loss became NaN or infinite.
        ValueError: a window, the schema or the folder does not fit the job; the message says which.
    """
    if multiprocessing.parent_process() is not None:
        _die_with_parent()
    folder = Path(spec.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "job.lock"):
        _claim(folder, spec)
        if (folder / "result.json").exists():
            return TypeAdapter(Training).validate_json((folder / "result.json").read_bytes())
        training = _run(spec, folder)
        _replace(folder / "result.json", json.dumps(dataclasses.asdict(training), indent=2).encode())
        (folder / "last.ckpt").unlink(missing_ok=True)
        return training


def _run(spec: JobSpec, folder: Path) -> Training:
    seconds: dict[str, float] = {}
    torch.manual_seed(spec.seed)
    with _clock(seconds, "read"):
        strategy: Strategy = instantiate(spec.strategy)
        rows = _rows(spec, strategy)
        inputs, target = table.inputs(rows.fitted, spec.schema), table.target(rows.fitted, spec.schema)
    with _clock(seconds, "build"):
        module = _build(spec)
        parent = _checkpoint(Path(spec.parent)) if spec.parent and strategy.warm else None
        last = None if rows.left_out else _last(folder)  # other rows than it was written with, perhaps
        if last:
            _load(module, last)
        elif parent:
            _inherit(module, parent, spec)
    with _clock(seconds, "adapt"):
        if not last:
            module.adapt(inputs, target, rows.fresh)
    with _clock(seconds, "fit"):
        order = strategy.draw(rows.ages, rows.fresh, parent is None, np.random.default_rng(spec.seed))
        trainer, watch = _fit(spec, strategy, module, rows, (inputs, target, order), parent, last is not None)
    with _clock(seconds, "save"):
        partial = folder / ".checkpoint.ckpt"
        trainer.save_checkpoint(partial, weights_only=False)
        partial.replace(folder / "checkpoint.ckpt")
    with _clock(seconds, "export"):
        module.cpu()
        sample = rows.judge if rows.judge.height else rows.fitted
        asked = golden.rows(table.inputs(sample, spec.schema))
        previous = Path(spec.parent) / "model.onnx" if spec.parent else None
        exported = export.write(module, spec.schema, folder / "model.onnx", asked, previous)
        golden.write(folder / "golden.npz", asked, export.predict(module, asked, spec.schema))
    return Training(
        folder=str(folder),
        strategy=strategy.name,
        windows=tuple(rows.windows[-1 - age] for age in np.unique(rows.ages[order].astype(int))[::-1]),
        parent=spec.parent if parent else None,
        seed=spec.seed,
        rows_fit=rows.fresh,
        rows_stop=rows.stop.height,
        rows_judge=rows.judge.height,
        steps=trainer.global_step,
        fit_loss=watch.fit_loss,
        stop_loss=watch.best_loss,
        exported=exported,
        seconds={name: round(value, 4) for name, value in seconds.items()},
        left_out=rows.left_out,
        resources=_resources(),
    )


def _resources() -> Resources:
    """What this process took. Linux counts the resident set in kibibytes (getrusage(2))."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return Resources(round(used.ru_utime + used.ru_stime, 2), used.ru_maxrss * 1024, gpu)


def _rows(spec: JobSpec, strategy: Strategy) -> Rows:
    left_out: dict[str, str] = {}

    def readable(windows: Sequence[Window]) -> Iterator[tuple[Window, pl.DataFrame]]:
        for window in windows:
            try:
                yield window, table.read(window, spec.schema)
            except WindowLost as lost:
                if window == spec.fresh[-1]:
                    raise
                left_out[window.digest] = f"{window.id}: {lost.why}"

    past = list(readable(spec.past[-strategy.windows :] if strategy.windows else ()))
    recent = list(readable(spec.fresh))
    fresh = table.in_order([frame for _, frame in recent], spec.schema)
    fit, stop, judge = table.slices(fresh.height, spec.slices)
    if not len(fit):
        raise ValueError(f"{_names(spec)}: no rows to fit on")
    frames = [frame for _, frame in past]
    counts = [frame.height for _, frame in (*past, *recent)]
    ages = [len(counts) - number - np.arange(1, count + 1) / count for number, count in enumerate(counts)]
    fitted = pl.concat([*frames, fresh[: fit.stop]], how="vertical_relaxed")
    return Rows(
        windows=tuple(window.id for window, _ in (*past, *recent)),
        left_out=left_out,
        fitted=fitted,
        ages=np.concatenate(ages)[: fitted.height],
        fresh=len(fit),
        stop=fresh[stop.start : stop.stop],
        judge=fresh[judge.start : judge.stop],
    )


def _names(spec: JobSpec) -> str:
    return ", ".join(window.id for window in spec.fresh)


def _build(spec: JobSpec) -> Any:
    # Hydra would turn the schema into a configuration of its own if it were passed through it.
    module = instantiate({**spec.model, "_partial_": True})(schema=spec.schema)
    name = spec.model["_target_"]
    if not isinstance(module, lightning.LightningModule):
        raise ValueError(f"model: {name} is no pytorch_lightning.LightningModule")
    given = ("forward", "training_step", "validation_step", "configure_optimizers")  # Lightning's own do nothing
    lacking = [each for each in given if getattr(type(module), each) is getattr(lightning.LightningModule, each)]
    lacking += [each for each in ("vocabularies", "adapt") if not hasattr(module, each)]
    if lacking:
        raise ValueError(f"model: {name} has no {', '.join(lacking)}; engine.models.Learner says what each is")
    return module


def _checkpoint(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / "checkpoint.ckpt", map_location="cpu", weights_only=True)
    return state


def _last(folder: Path) -> dict[str, Any] | None:
    path = folder / "last.ckpt"
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def _load(module: Any, checkpoint: Any) -> None:
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"])


def _inherit(module: Any, parent: dict[str, Any], spec: JobSpec) -> None:
    """Start from the champion's weights."""
    try:
        _load(module, parent)
    except (KeyError, RuntimeError) as error:
        raise ValueError(
            f"model: {spec.model['_target_']} cannot start from the champion's weights, which look like another model's "
            f"({' '.join(str(error).split())[:200]}); train it from nothing once, with `strategy=cold`"
        ) from error


def _fit(
    spec: JobSpec,
    strategy: Strategy,
    module: Any,
    rows: Rows,
    drawn: tuple[table.Arrays, np.ndarray[Any, np.dtype[np.float64]], Integers],
    parent: dict[str, Any] | None,
    resume: bool,
) -> tuple[lightning.Trainer, Watch]:
    inputs, target, order = drawn
    watch = Watch(Path(spec.folder) / "last.ckpt", _names(spec))
    moments = [Moments(parent["optimizer_states"])] if parent and strategy.keep_optimizer else []
    with _quiet():
        trainer: lightning.Trainer = instantiate({**spec.trainer, "_partial_": True})(
            callbacks=[watch, *moments],
            max_steps=len(order),
            val_check_interval=max(1, len(order) // STOP_CHECKS) if rows.stop.height else None,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        device = trainer.strategy.root_device
        made = tensors(inputs, module.vocabularies, device), torch.from_numpy(target).to(device)
        stop = None
        if rows.stop.height:
            stop_inputs = tensors(table.inputs(rows.stop, spec.schema), module.vocabularies, device)
            stop = InOrder(stop_inputs, torch.from_numpy(table.target(rows.stop, spec.schema)).to(device))
        batches = Batches(*made, torch.from_numpy(order).to(device))
        trainer.fit(module, batches, stop, ckpt_path=watch.path if resume else None, weights_only=True if resume else None)
    if trainer.interrupted:
        raise KeyboardInterrupt
    watch.finish(module)
    return trainer, watch


class Watch(lightning.Callback):
    """Looks after a running fit: the loss must be a number, the best weights on the stop slice are kept, and now and then a
    checkpoint is written from which the same job can go on.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what
        self.saved = time.monotonic()
        self.losses: list[torch.Tensor] = []
        self.stop_losses: list[tuple[torch.Tensor, int]] = []
        self.fit_loss = float("nan")
        self.best_loss: float | None = None
        self.best: dict[str, torch.Tensor] = {}

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collect the loss without waiting for the device; check and save at intervals."""
        self.losses.append(outputs["loss"].detach())
        if trainer.global_step % 50 == 0:
            self._check(trainer.global_step)
        if time.monotonic() - self.saved >= CHECKPOINT_EVERY:
            partial = self.path.with_name(f".{self.path.name}")
            trainer.save_checkpoint(partial, weights_only=False)
            partial.replace(self.path)
            self.saved = time.monotonic()

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect the loss of a part of the stop slice, weighted by its rows."""
        rows = len(batch[1])
        self.stop_losses.append((outputs.detach() * rows, rows))

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the weights if they are the best so far."""
        loss = float(sum(loss for loss, _ in self.stop_losses)) / sum(rows for _, rows in self.stop_losses)
        self.stop_losses.clear()
        if self.best_loss is None or loss < self.best_loss:
            self.best_loss = loss
            self.best = {name: value.detach().clone() for name, value in pl_module.state_dict().items()}

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """A last look at the loss, over the steps since the previous one."""
        self._check(trainer.global_step)

    def _check(self, step: int) -> None:
        if not self.losses:
            return
        self.fit_loss = float(torch.stack(self.losses).mean())
        self.losses.clear()
        if not np.isfinite(self.fit_loss):
            raise TrainingDiverged(
                f"the loss on {self.what} became {self.fit_loss} by step {step}; lower model.learning_rate, "
                "or look for extreme targets"
            )

    def finish(self, module: lightning.LightningModule) -> None:
        """Give the module its best weights and forget them here, so that the final checkpoint holds them once."""
        if self.best:
            module.load_state_dict(self.best)
            self.best = {}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed fit must know."""
        return {"best_loss": self.best_loss, "best": self.best, "fit_loss": self.fit_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.best_loss, self.best, self.fit_loss = state_dict["best_loss"], state_dict["best"], state_dict["fit_loss"]


def _claim(folder: Path, spec: JobSpec) -> None:
    """A folder belongs to one job: what lies there must never be taken for another's."""
    mine = json.dumps(dataclasses.asdict(spec), indent=2).encode()
    path = folder / "job.json"
    if not path.exists():
        _replace(path, mine)
    elif json.loads(path.read_bytes()) != json.loads(mine):
        raise ValueError(f"{folder} holds the files of another job, see {path.name} there; give this job a folder of its own")


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}")
    partial.write_bytes(content)
    partial.replace(path)


@contextmanager
def _clock(seconds: dict[str, float], phase: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[phase] = time.perf_counter() - start


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's greetings (which accelerators exist, a tip) and two warnings; all others stay."""
    logger = logging.getLogger("pytorch_lightning")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Lightning 2.6 asks torch's pytree in a way that torch 2.9 and later deprecate.
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
            # A fit without a stop slice is meant to run its whole budget.
            warnings.filterwarnings("ignore", message="You defined a `validation_step` but have no `val_dataloader`")
            yield
    finally:
        logger.setLevel(before)


def _die_with_parent() -> None:
    """Ask Linux to kill this child when its parent dies: a fine-tune that nobody waits for must not hold a GPU."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def main(path: str) -> None:
    """Run the job written as JSON in the file at `path`, and print its result."""
    spec = TypeAdapter(JobSpec).validate_json(Path(path).read_bytes())
    print(json.dumps(dataclasses.asdict(fit(spec))))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m engine.train SPEC.json")
    main(sys.argv[1])
