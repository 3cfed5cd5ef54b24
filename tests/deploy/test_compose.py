"""deploy/compose.yaml agrees with the configurations, with the embedded server and with itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile import ROOT, stages

from engine import app
from engine.configuration import resolve, resolve_outside
from serving.server import FLAGS

FILE = ROOT / "deploy" / "compose.yaml"
SECRET = {"POSTGRES_PASSWORD": "s3cret"}


def filled(value: str, given: dict[str, str]) -> str:
    """What compose makes of `${NAME:-default}` and `${NAME:?what to do}`."""

    def fill(found: re.Match[str]) -> str:
        name, how, rest = found.groups()
        assert how == "-" or name in given, f"{name}: {rest}"
        return given.get(name) or rest

    return re.sub(r"\$\{(\w+):([-?])([^}]*)\}", fill, value)


def tree(node: Any, given: dict[str, str]) -> Any:
    if isinstance(node, dict):
        return {name: tree(value, given) for name, value in node.items()}
    if isinstance(node, list):
        return [tree(value, given) for value in node]
    return filled(node, given) if isinstance(node, str) else node


@pytest.fixture
def composed() -> dict[str, Any]:
    return tree(yaml.safe_load(FILE.read_text()), SECRET)


@pytest.fixture
def services(composed: dict[str, Any]) -> dict[str, Any]:
    return composed["services"]


def test_the_engine_resolves_to_postgresql_mlflow_and_triton_of_these_services(
    services: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stream").mkdir()
    (tmp_path / "stream" / "demand.yaml").write_text(
        "# @package _global_\nstream: {name: demand, target: y, columns: {x: number}, "
        "source: {_target_: engine.windows.ParquetFolder, folder: w}}\n"
    )
    monkeypatch.chdir(tmp_path)
    for name, value in services["engine"]["environment"].items():
        monkeypatch.setenv(name, value)
    for step in stages()[-1]:
        for name, value in re.findall(r"(\w+)=(\S+)", step.rest) if step.word == "ENV" else ():
            monkeypatch.setenv(name, value)
    verb, *overrides = services["engine"]["command"]
    assert verb in app.cli.commands
    config = resolve(overrides)
    assert config["platform"]["ledger"] == "postgresql+psycopg://warmstart@postgres/warmstart"
    assert config["platform"]["mlflow"] == "http://mlflow:5000"
    assert config["platform"]["artifacts"] is None
    assert config["serving"]["addresses"] == ["triton:8001"]
    volumes = dict(volume.split(":")[:2] for volume in services["engine"]["volumes"])
    assert config["serving"]["repository"] == volumes["models"]
    assert config["platform"]["state"] == volumes["state"]
    _, health, *rest = services["engine"]["healthcheck"]["test"][1:]
    assert health == "status"
    assert resolve_outside([each for each in rest if "=" in each])["platform"]["ledger"] == config["platform"]["ledger"]


def test_triton_is_started_as_the_embedded_one_and_reads_the_same_repository(services: dict[str, Any]) -> None:
    program, *options = services["triton"]["command"]
    assert program == "tritonserver"
    assert set(options) == {*FLAGS, "--model-repository=/models"}
    assert services["triton"]["volumes"] == ["models:/models:ro"]
    assert "models:/models" in services["engine"]["volumes"]


def test_mlflow_takes_these_options_and_lets_the_engine_in(services: dict[str, Any]) -> None:
    verb, *options = services["mlflow"]["command"]
    program = (
        f"import json; from mlflow.cli import cli; found = cli.commands[{verb!r}].make_context({verb!r}, {options!r}).params\n"
        "print(json.dumps({name: found[name] for name in ('backend_store_uri', 'allowed_hosts', 'artifacts_destination')}))"
    )
    environment = os.environ | services["mlflow"]["environment"]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["backend_store_uri"] == "postgresql+psycopg://warmstart@postgres/mlflow"
    host = services["engine"]["environment"]["MLFLOW_TRACKING_URI"].removeprefix("http://")
    assert host in found["allowed_hosts"].split(",")
    assert services["mlflow"]["volumes"] == [f"artifacts:{found['artifacts_destination']}"]


def test_every_image_is_pinned_and_can_be_chosen(services: dict[str, Any]) -> None:
    for name, service in yaml.safe_load(FILE.read_text())["services"].items():
        default = re.fullmatch(r"\$\{\w+_IMAGE:-([\w./-]+:[\w.-]*\d[\w.-]*)\}", service["image"])
        assert default is not None, name
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert services["engine"]["image"] == f"warmstart:{version}"
    assert (FILE.parent / services["engine"]["build"]["context"] / services["engine"]["build"]["dockerfile"]).exists()


def test_everything_listens_on_loopback_and_is_asked_how_it_is(composed: dict[str, Any]) -> None:
    for name, service in composed["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert set(service.get("depends_on", ())) <= set(composed["services"])
        assert all(each == {"condition": "service_healthy"} for each in service.get("depends_on", {}).values())
        named = {volume.split(":")[0] for volume in service.get("volumes", ()) if volume[0].isalpha()}
        assert named <= set(composed["volumes"]), name
    assert [name for name, service in composed["services"].items() if "deploy" in service] == ["engine", "triton"]


def test_folders_of_named_volumes_belong_to_the_engine_in_its_image(services: dict[str, Any]) -> None:
    made = next(step.rest for step in stages()[-1] if "useradd" in step.rest).split()
    for name in ("engine", "mlflow"):
        targets = {volume.split(":")[1] for volume in services[name]["volumes"]}
        assert targets <= set(made), name


def test_no_secret_is_written_down_and_the_example_names_every_setting() -> None:
    asked = set(re.findall(r"\$\{(\w+):", FILE.read_text()))
    example = (FILE.parent / "env.example").read_text()
    assert asked == set(re.findall(r"^(?:# )?(\w+)=", example, re.MULTILINE))
    assert "POSTGRES_PASSWORD=\n" in example
    assert "deploy/.env" in (ROOT / ".gitignore").read_text().splitlines()
    with pytest.raises(AssertionError, match=r"copy deploy/env\.example to deploy/\.env"):
        tree(yaml.safe_load(FILE.read_text()), {})
