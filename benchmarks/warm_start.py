"""What a warm start saves: the same network trained cold each week on the last four weeks until it is as good, beside ours.

Week by week over the year of flights, the jobs of the engine in one process on one thread: each week is predicted by last week's
model before it is trained on. Ours continues from the model before (`strategy=replay`). Cold begins with new weights each week
and trains for more and more epochs until its error over the year is no larger than ours. Seconds are those of the fit alone.
Neither has a judge slice here; everything else is what the engine does.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from benchmarks import result
from engine import evaluate, flights, train
from engine.configuration import resolve
from engine.data import table
from engine.nouns import JobSpec, Slices, Window
from engine.windows import digest_of

FIRST = 3  # the first week with four weeks to train on; weeks after it are predicted
COLD_EPOCHS = (5, 15)


@dataclass
class Run:
    """One strategy over the year: root mean squared error over all predicted rows, seconds of fitting."""

    name: str
    rmse: float
    seconds: float
    steps: int


def run(name: str, strategy: dict[str, Any], windows: list[Window], folder: Path, every: int = 1) -> Run:
    """Carry one strategy through the year; predict every `every`-th week."""
    config = resolve(["stream=flights"])
    squares, rows, seconds, steps = 0.0, 0, 0.0, 0
    parent: str | None = None
    warm = "epochs" not in strategy
    for week in range(0 if warm else FIRST, len(windows) - 1):
        counted = week >= FIRST and (week - FIRST) % every == 0
        if not warm and not counted:
            continue
        spec = JobSpec(
            cycle_id=f"{name}:{week}",
            folder=str(folder / name / windows[week].id),
            schema=flights.SCHEMA,
            fresh=(windows[week],),
            past=tuple(windows[:week]),
            parent=parent,
            model=config["model"],
            strategy=strategy,
            trainer=config["trainer"],
            slices=Slices(judge=0.0),
            seed=week,
        )
        done = train.fit(spec)
        parent = done.folder if warm else None
        if counted:
            frame = pl.read_parquet(windows[week + 1].uri)
            said = evaluate.predict(Path(done.folder) / "model.onnx", table.inputs(frame, flights.SCHEMA), flights.SCHEMA.target)
            squares += float(((table.target(frame, flights.SCHEMA).reshape(-1) - said) ** 2).sum())
            rows += frame.height
            seconds += done.seconds["fit"]
            steps += done.steps
    return Run(name, float(np.sqrt(squares / rows)), seconds, steps)


def as_window(path: Path) -> Window:
    """A week as the loop would know it."""
    return Window("flights", path.stem, str(path), digest_of(path), pl.scan_parquet(path).select(pl.len()).collect().item())


def main() -> None:
    """Run, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--every", type=int, default=1, help="train cold in every n-th week only, and compare on those weeks")
    parser.add_argument("--epochs", type=int, nargs="+", default=COLD_EPOCHS, help="of cold training, in rising order")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        windows = [as_window(path) for path in flights.write(folder / "windows")]
        ours = run("replay", resolve(["stream=flights"])["strategy"], windows, folder, arguments.every)
        runs = [ours]
        for epochs in arguments.epochs:
            cold = {"_target_": "engine.strategies.cold.Cold", "windows": 3, "epochs": epochs}
            runs.append(run(f"cold, {epochs} epochs", cold, windows, folder, arguments.every))
            print(report(runs, arguments.every).read_text(), flush=True)
            if runs[-1].rmse <= ours.rmse:
                break


def report(runs: list[Run], every: int) -> Path:
    """Write `results/warm_start.md`; done after each run, as the longer ones take their time."""
    ours, last = runs[0], runs[-1]
    ratio = last.seconds / ours.seconds
    verdict = (
        f"Cold is as good after {last.name.split()[1]} epochs, at {ratio:.1f} times our training seconds."
        if last.rmse <= ours.rmse
        else f"Cold was never as good: at {ratio:.1f} times our seconds its error is still {last.rmse - ours.rmse:+.2f}."
    )
    rows = [[r.name, f"{r.rmse:.3f}", f"{r.seconds:.1f}", f"{r.steps:,}", f"{r.seconds / ours.seconds:.1f}"] for r in runs]
    weeks = "every week" if every == 1 else f"every {every}th week"
    body = [
        f"Flights, one thread, {weeks} from the fifth on predicted by the model of the week before.",
        f"**{verdict}**",
        "",
        *result.table(["strategy", "RMSE, minutes", "training seconds", "steps", "times ours"], rows),
    ]
    return result.write("warm_start", "A warm start beside training from nothing", body)


if __name__ == "__main__":
    main()
