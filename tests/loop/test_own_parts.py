"""The page on parts of one's own, done as it says: its code goes into a project, then `init`, `update`, a question to Triton."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from toy import Toy, command

from engine import wiring
from engine.configuration import ConfigurationError, resolve
from engine.data import table
from engine.nouns import Decision, LiveScore
from engine.windows import SourceError
from serving.endpoint import Endpoint

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs" / "own-parts.md"
BLOCK = re.compile(r"^```(?:python|yaml)\n# ([\w/.]+)(, at its end)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def rows(day: int, count: int = 400) -> pl.DataFrame:
    """A day of sales; the first of January 2024 is a Monday."""
    random = np.random.default_rng(day)
    price, shop = random.uniform(1, 9, count), random.choice(["kiosk", "market", "depot"], count)
    units = 40 - 3 * price + 5 * (shop == "depot") + random.normal(0, 1, count)
    at = [datetime(2024, 1, day) + timedelta(minutes=minute) for minute in range(count)]
    missing = np.where(random.random(count) < 0.02, np.nan, price)
    return pl.DataFrame({"sold_at": at, "price": missing, "shop": shop, "units": units})


@pytest.fixture(scope="module")
def project(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    """A folder with the page's modules and whole files in it, and a server at work. It is the current folder."""
    made = Toy(tmp_path_factory.mktemp("parts") / "project")
    (made.root / "stream").mkdir(parents=True)
    for name, addition, text in BLOCK.findall(PAGE.read_text()):
        if not addition:
            (made.root / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        with made.served():
            yield made


def ask(project: Toy, stream: str, day: int) -> np.ndarray:  # type: ignore[type-arg]
    server = project.server()
    assert server is not None
    endpoint = Endpoint(server.address)
    schema = wiring.parts(resolve([f"stream={stream}"])).schema
    answer = endpoint.infer(stream, table.inputs(rows(day)[:5], schema)).outputs["units"]
    endpoint.close()
    return answer


def test_a_model_and_a_trigger_of_ones_own_go_into_a_drafted_stream(project: Toy) -> None:
    folder = project.root / "data" / "demand"
    folder.mkdir(parents=True)
    for day in (1, 2):
        rows(day).write_parquet(folder / f"day-{day}.parquet")
    assert command("init", "data/demand", "--target", "units") == 0
    with Path("stream", "demand.yaml").open("a") as file:
        for name, addition, text in BLOCK.findall(PAGE.read_text()):
            if addition and name == "stream/demand.yaml":
                file.write(text)
    assert command("update", "stream=demand") == 0
    with project.ledger() as ledger:
        first, second = ledger.cycles("demand")
        (_, begun), (_, decided) = ledger.results("demand", "decide", Decision)
        ((_, live),) = ledger.results("demand", "score", LiveScore)
        trained = project.state / "jobs" / "demand" / second.id.replace(":", ".") / "result.json"
    assert (first.outcome, first.version, begun.cause) == ("promoted", 1, "first")
    assert (decided.cause, decided.reason) == ("schedule", "it is day 2 of the week")
    assert second.outcome in ("promoted", "rejected")
    assert "failed" not in str(second.reason)
    assert '"parent": "' in trained.read_text()  # from the weights of version 1
    assert live.score.metrics["r2"] > 0.8
    truth = rows(9)["units"].to_numpy()[:5]
    np.testing.assert_allclose(ask(project, "demand", 9).reshape(-1), truth, atol=8)
    weights = next(iter((project.state / "models" / "demand").glob("1/model.onnx")))
    assert b"deep.0.weight" in weights.read_bytes()


def test_a_source_of_ones_own_writes_windows(project: Toy) -> None:
    with pytest.raises(SourceError, match=r"shop\.db: unable to open database file; see `stream\.source\.database`"):
        command("update", "stream=orders")
    with sqlite3.connect("shop.db") as database:
        database.execute("create table orders (sold_at text, price real, shop text, units real)")
        for day in (1, 2, 3):
            table_rows = rows(day).with_columns(
                pl.col("sold_at").dt.to_string("%Y-%m-%d %H:%M:%S"), pl.col("price").fill_nan(None)
            )
            database.executemany("insert into orders values (?, ?, ?, ?)", table_rows.iter_rows())
    database.close()
    assert command("update", "stream=orders") == 0
    with project.ledger() as ledger:
        cycles = ledger.cycles("orders")
    assert [(c.window.id, c.window.rows, c.window.start) for c in cycles] == [
        ("2024-01-01", 400, "2024-01-01T00:00:00"),
        ("2024-01-02", 400, "2024-01-02T00:00:00"),
    ]
    assert cycles[0].outcome == "promoted"
    assert np.isfinite(ask(project, "orders", 9)).all()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model._target_=my_modle.Net"], r"`my_modle\.Net`: there is no module 'my_modle'"),
        (
            ["model._target_=my_model.WideDep"],
            r"`my_model\.WideDep`: there is no name in my_model 'WideDep'; did you mean 'WideDeep'\?",
        ),
        (
            ["model._target_=my_model"],
            r"^model.*=my_model: `my_model`: it is a module; say which class in it: my_model\.NAME",
        ),
        (["strategy._target_=engine.strategies.wram.Warm"], r"strategy\._target_=.*did you mean 'engine\.strategies\.warm'\?"),
        (["trigger._target_=my_trigger.Weekday"], r"there is no setting 'trigger\.triggers'.*`override /trigger: NAME`"),
        (["trigger.triggers=[{_target_:my_trigger.Weekdy}]"], r"`my_trigger\.Weekdy`: .*did you mean 'Weekday'\?"),
        (["~stream.source._target_"], r"stream\.source: say which class it is: `_target_: module\.Class`"),
    ],
)
def test_what_is_wrong_with_a_target_is_said_at_the_start(project: Toy, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        command("update", "stream=orders", *overrides)


def test_a_class_without_the_method_is_named(project: Toy) -> None:
    config = {"stream": {"name": "orders", "source": {"_target_": "my_trigger.Weekday", "day": 1}}, "platform": {"state": "."}}
    with pytest.raises(
        ConfigurationError, match=r"^stream\.source: my_trigger\.Weekday has no method list; see engine\.windows\.Source$"
    ):
        wiring.source(config)


def test_a_module_that_cannot_be_parsed_is_named_with_its_line(project: Toy) -> None:
    Path("broken.py").write_text("class Net:\n    def forward(self:\n        pass\n")
    with pytest.raises(ConfigurationError, match=r"broken\.py, line 2: "):
        command("update", "stream=orders", "model._target_=broken.Net")


def test_a_trigger_that_decides_nothing_is_named() -> None:
    from engine.triggers import ask as asked

    class Silent:
        def decide(self, evidence: object) -> None:
            return None

    class Odd:
        def decide(self, evidence: object) -> Decision:
            return Decision(True, "nigth", "it is dark")  # type: ignore[arg-type]

    with pytest.raises(
        ConfigurationError, match=r"trigger: Silent\.decide returned None; it must return an engine\.nouns\.Decision"
    ):
        asked(Silent(), None)  # type: ignore[arg-type]
    with pytest.raises(
        ConfigurationError, match=r"trigger: there is no cause 'nigth'.*Known: first, drift.*\(returned by Odd\.decide"
    ):
        asked(Odd(), None)  # type: ignore[arg-type]
