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
import multiprocessing
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from hydra.utils import instantiate
from pydantic import TypeAdapter

from engine import export
from engine.data import golden, table
from engine.nouns import JobSpec, Resources, Training
from engine.strategies import Strategy
from engine.training import fitting, weights
from engine.training.rows import rows_of


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
        rows = rows_of(spec, strategy)
        inputs, target = table.inputs(rows.fitted, spec.schema), table.target(rows.fitted, spec.schema)
    with _clock(seconds, "build"):
        module = weights.build(spec)
        parent = weights.final_checkpoint(Path(spec.parent)) if spec.parent and strategy.warm else None
        last = None if rows.left_out else weights.last_checkpoint(folder)  # other rows than it was written with, perhaps
        if last:
            weights.load(module, last)
        elif parent:
            weights.inherit(module, parent, spec)
    with _clock(seconds, "adapt"):
        if not last:
            module.adapt(inputs, target, rows.fresh)
    with _clock(seconds, "fit"):
        order = strategy.draw(rows.ages, rows.fresh, parent is None, np.random.default_rng(spec.seed))
        trainer, watch = fitting.run(spec, strategy, module, rows, (inputs, target, order), parent, last is not None)
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
        unlabelled=rows.unlabelled,
        resources=_resources(),
    )


def _resources() -> Resources:
    """What this process took. Linux counts the resident set in kibibytes (getrusage(2))."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return Resources(round(used.ru_utime + used.ru_stime, 2), used.ru_maxrss * 1024, gpu)


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
