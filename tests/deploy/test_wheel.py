"""The wheel is whole: installed elsewhere, it drafts a stream, trains, releases and serves it."""

from __future__ import annotations

import os
import signal
import subprocess
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from dockerfile import ROOT

from serving.endpoint import Endpoint
from tests.servers import require

PACKAGES = ("configs", "engine", "kernels", "serving")


def test_the_wheel_holds_every_file_of_the_packages_and_none_more(built: Path) -> None:
    (wheel,) = (built / "wheels").iterdir()
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    assert held == {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}


def sold(week: int, rows: int = 400) -> pl.DataFrame:
    random = np.random.default_rng(week)
    price, shop = random.uniform(1, 50, rows), random.choice(["kiosk", "market", "depot"], rows)
    units = 40 - 0.5 * price + 6 * (shop == "market") + random.normal(0, 1, rows)
    at = [datetime(2024, 1, 1) + timedelta(weeks=week, minutes=20 * i) for i in range(rows)]
    return pl.DataFrame({"sold_at": at, "price": price, "shop": shop, "units": units})


@pytest.mark.long
@pytest.mark.slow
def test_a_newcomer_has_a_model_served_by_three_commands(installed: Path, tmp_path: Path) -> None:
    runtime = ROOT / ".triton"
    require(str(runtime / "bin" / "python3"), "warmstart setup")
    environment = {"PATH": f"{installed}:/usr/bin:/bin", "HOME": str(tmp_path), "WARMSTART_TRITON": str(runtime.resolve())}
    (tmp_path / "data" / "demand").mkdir(parents=True)
    for week in (1, 2):
        sold(week).write_parquet(tmp_path / "data" / "demand" / f"week-{week}.parquet")

    def command(*arguments: str) -> str:
        done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    modules = command("python", "-c", f"import {', '.join(PACKAGES)}; print({', '.join(f'{p}.__file__' for p in PACKAGES)})")
    assert all(Path(path).is_relative_to(installed.parent) for path in modules.split())
    command("warmstart", "init", "data/demand", "--target", "units")
    assert "promoted" in command("warmstart", "update", "stream=demand")
    assert "version 1 is live" in command("warmstart", "status")

    with subprocess.Popen(
        ["warmstart", "serve"], cwd=tmp_path, env=environment | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            told = dict(line.split(maxsplit=1) for line in (server.stdout.readline() for _ in range(2)))
            assert told["serving"].strip() == "demand"
            endpoint = Endpoint(told["gRPC"].strip())
            inputs = {
                "price": np.array([[10.0]]),
                "shop": np.array([["market"]], dtype=object),
            }
            answer = endpoint.infer("demand", inputs)
            endpoint.close()
            assert answer.version == 1
            assert answer.outputs["units"].item() == pytest.approx(41, abs=6)
        finally:
            os.kill(server.pid, signal.SIGINT)
    assert server.returncode == 130
