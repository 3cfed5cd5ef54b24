"""Every shipped YAML composes and builds; what is misspelt is told with the right spelling."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import flights, wiring
from engine.configuration import ConfigurationError, resolve, resolve_outside

CONFIGS = Path(__file__).parents[2] / "configs"
GROUPS = ("model", "strategy", "trigger", "gate")


def test_the_flights_stream_composes_to_the_schema_of_its_data() -> None:
    parts = wiring.parts(resolve(["stream=flights"]))
    assert parts.schema == flights.SCHEMA


@pytest.mark.parametrize("choice", [f"{group}={p.stem}" for group in GROUPS for p in sorted((CONFIGS / group).glob("*.yaml"))])
def test_every_choice_of_every_group_builds(choice: str) -> None:
    wiring.parts(resolve(["stream=flights", choice]))


def test_servers_of_ones_own_and_postgresql_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARMSTART_LEDGER", "postgresql+psycopg://h/d")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://h")
    found = resolve_outside(["serving=external", "serving.addresses=[a:1,b:2]", "serving.repository=/r", "platform=postgres"])
    assert found["serving"]["addresses"] == ["a:1", "b:2"]
    assert found["platform"]["ledger"] == "postgresql+psycopg://h/d"


def test_a_setting_without_a_value_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"no value: serving\.addresses, serving\.repository"):
        resolve(["stream=flights", "serving=external"])


def test_a_misspelt_stream_is_suggested() -> None:
    with pytest.raises(ConfigurationError, match=r"there is no stream 'flight'; did you mean 'flights'.* Looked in /"):
        resolve(["stream=flight"])


def test_a_misspelt_override_names_the_key() -> None:
    with pytest.raises(ConfigurationError, match="margn"):
        resolve(["stream=flights", "gate.margn=1"])


def test_a_wrong_kind_of_column_is_named() -> None:
    with pytest.raises(
        ConfigurationError, match=r"stream\.columns\.carrier: 'text' is no kind of column; there are number, boolean, category"
    ):
        wiring.parts(resolve(["stream=flights", "stream.columns.carrier=text"]))


def test_ones_own_stream_is_found_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stream").mkdir()
    (tmp_path / "stream" / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - override /trigger: volume\n"
        "stream:\n  name: mine\n  target: y\n  columns: {x: number, flag: {kind: boolean, nullable: false}}\n"
        "  source: {_target_: engine.windows.ParquetFolder, folder: windows}\n"
    )
    monkeypatch.chdir(tmp_path)
    parts = wiring.parts(resolve([]))
    assert parts.name == "mine"
    assert not parts.schema.columns[1].nullable


def own(task: str, classes: str = "[]", more: str = "") -> dict[str, object]:
    Path("stream").mkdir(exist_ok=True)
    Path("stream/mine.yaml").write_text(
        "# @package _global_\n"
        f"stream:\n  name: mine\n  target: y\n  task: {task}\n  classes: {classes}\n  columns: {{x: number}}\n"
        f"  source: {{_target_: engine.windows.ParquetFolder, folder: windows}}\n{more}"
    )
    return resolve(["stream=mine"])


def test_classes_are_text_whatever_yaml_makes_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert wiring.parts(own("multiclass", "[1, a, '02']")).schema.classes == ("1", "a", "02")
    assert wiring.parts(own("binary", "[false, true]")).schema.classes == ("false", "true")
    assert wiring.parts(own("binary")).schema.classes == ()


@pytest.mark.parametrize(
    ("task", "classes", "message"),
    [
        ("multiclass", "[]", r"stream\.classes: a multiclass task needs its classes, two at least: `classes: \[a, b, c\]`"),
        ("regression", "[a, b]", r"stream\.classes: a regression has none; say `task: binary` or `task: multiclass`"),
        ("binary", "[a, b, c]", r"stream\.classes: a, b, c: each once, and of a binary task exactly two"),
        ("multiclass", "[a, b, a]", r"stream\.classes: a, b, a: each once"),
        ("multiclas", "[a, b]", "there is no task 'multiclas'; did you mean 'multiclass'"),
    ],
)
def test_classes_that_do_not_fit_the_task_are_told_what_would(
    task: str, classes: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=message):
        wiring.parts(own(task, classes))


@pytest.mark.parametrize("override", ["gate.metric=auro", "trigger.triggers.1.metric=auro"])
def test_a_metric_that_the_task_does_not_have_is_named(override: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own("binary")
    with pytest.raises(ConfigurationError, match="there is no metric of a binary task 'auro'; did you mean 'auroc'") as wrong:
        wiring.parts(resolve(["stream=mine", override]))
    assert str(wrong.value).endswith(f"(`{override.partition('=')[0]}`)")
