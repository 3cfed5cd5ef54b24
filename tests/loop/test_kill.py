"""SIGKILL between any two effects of a verb; the next start leaves one champion, served and whole, and nothing done twice."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from toy import Toy, ask, rows

from serving.endpoint import Endpoint
from serving.errors import Refused, Unreachable
from serving.repository import Repository
from serving.server import EmbeddedServer

FULL = os.environ.get("WARMSTART_KILL_MATRIX") == "full"
# What a recovery takes at most, a first training included. On a machine with other work a single one says more about that work,
# so every one is only asked not to hang; of the full matrix the median is held to the limit.
RECOVERY_SECONDS = 10.0
HUNG_SECONDS = 60.0
UPDATE = ["update", "stream=toy", "trigger=always", "gate.margin=-1"]
KINDS = {
    "record": r"commit ledger: insert (step|cycle)",
    "publish": r"(write|rename|link|remove|rmdir) models/toy(__next)?/",
    "switch": r"(load|unload) toy|commit ledger: insert release|write models/toy/\.config|commit ledger: update release",
    "alias": r"commit mlflow: (insert|update|delete) registered_model_aliases",
    "register": r"commit mlflow: ",
    "create": r"commit \.mlflow|rename \.mlflow",
}


@dataclass(frozen=True)
class Scenario:
    """A saved project, the verb that is killed in it, and what the world may look like once the next start is done."""

    name: str
    saved: Toy
    verb: list[str]
    champions: tuple[int, ...]


@dataclass(frozen=True)
class Died:
    """What the verb had done when it was killed and how long the next start took to make it good."""

    effects: list[str]
    recovery: float


class Kills:
    """One project folder, one server for it, one zygote: every scenario is put there, killed and recovered."""

    def __init__(self, root: Path, runtime: Path):
        self.toy = Toy(root / "project").make()
        self.logs = root
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parent)])}
        command = [sys.executable, str(Path(__file__).parent / "zygote.py")]
        self.errors = (root / "zygote.txt").open("w")
        self.zygote = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment, cwd=root
        )
        self.runtime = runtime
        self.server: EmbeddedServer | None = None

    def close(self) -> None:
        assert self.zygote.stdin is not None
        assert self.zygote.stdout is not None
        self.zygote.stdin.close()
        self.zygote.wait(30)
        self.zygote.stdout.close()
        self.errors.close()
        if (left := self.toy.server()) is not None:
            left.stop(timeout=0.2)

    def run(self, verb: list[str], kill_after: int | None = None) -> dict[str, Any]:
        assert self.zygote.stdin is not None
        assert self.zygote.stdout is not None
        request = {"verb": verb, "project": str(self.toy.root), "log": str(self.logs / "effects.txt"), "kill_after": kill_after}
        self.zygote.stdin.write(json.dumps(request) + "\n")
        self.zygote.stdin.flush()
        answer = self.zygote.stdout.readline()
        assert answer, f"the zygote ended: {Path(self.errors.name).read_text()}"
        found: dict[str, Any] = json.loads(answer)
        return found

    def said(self) -> str:
        return (self.logs / "effects.out").read_text()

    def put(self, saved: Toy) -> None:
        """The saved project at this place, and the one server serving what it should."""
        state = self.toy.state
        for path in state.iterdir() if state.exists() else ():
            if path.name != "server":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(saved.root, self.toy.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("server"))
        landed = {path.name for path in saved.root.glob("windows/*")}
        for path in self.toy.root.glob("windows/*"):
            if path.name not in landed:
                path.unlink()
        self.toy.models.parent.mkdir(parents=True, exist_ok=True)
        self.server = self.toy.serve()
        endpoint = Endpoint(self.server.address)
        endpoint.unload("toy__next")
        if (self.toy.models / "config.pbtxt").exists():
            endpoint.load("toy")
        else:
            endpoint.unload("toy")
        endpoint.close()

    def effects(self, scenario: Scenario) -> list[str]:
        """Every effect of the verb, in order, when nobody kills it."""
        self.put(scenario.saved)
        found = self.run(scenario.verb)
        assert found["status"] == 0, self.said()
        return list(found["effects"])

    def kill(self, scenario: Scenario, after: int) -> Died:
        """Kill the verb after so many effects, start again, and look at everything."""
        self.put(scenario.saved)
        died = self.run(scenario.verb, kill_after=after)
        assert died["status"] == -9, self.said()
        recovered = self.run(UPDATE)
        assert recovered["status"] == 0, self.said()
        self.check(scenario)
        assert recovered["seconds"] < HUNG_SECONDS
        return Died(died["effects"], recovered["seconds"])

    def check(self, scenario: Scenario) -> None:
        toy = self.toy
        # One champion: the ledger's last release, the registry's alias, and what the world is told.
        releases = toy.releases()
        assert {release.state for release in releases} <= {"done", "superseded"}
        champion = [release.version for release in releases if release.state == "done"][-1]
        assert champion in scenario.champions
        assert toy.aliases()["champion"] == champion
        assert self.server is not None
        assert ask(self.server.address).version == champion
        assert max(Repository(toy.models.parent).selected("toy")) == champion
        # Nothing torn.
        assert [p.name for p in toy.models.parent.iterdir()] == ["toy"]
        assert {p.name for p in toy.models.iterdir()} == {"config.pbtxt", *map(str, toy.versions())}
        for folder in toy.models.glob("[0-9]*"):
            for file, entry in json.loads((folder / "manifest.json").read_text()).items():
                assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == entry["sha256"], folder / file
        # Nothing lost, nothing twice.
        landed = sorted(p.stem for p in (toy.root / "windows").glob("day-*.parquet"))
        assert [(c.window.id, c.outcome, c.version) for c in toy.cycles()] == [
            (day, "promoted", number) for number, day in enumerate(landed, 1)
        ]
        assert toy.versions() == {c.version: c.id for c in toy.cycles()}
        runs = [str(cycle) for (cycle,) in toy.registry("select value from tags where key = 'warmstart.cycle_id'")]
        assert sorted(runs) == sorted(c.id for c in toy.cycles())


@pytest.fixture(scope="module")
def kills(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kills]:
    kills = Kills(tmp_path_factory.mktemp("kills"), runtime)
    yield kills
    kills.close()


@pytest.fixture(scope="module")
def scenarios(kills: Kills, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scenario]:
    """The first window, a later one, and a rollback; each saved just before its verb."""
    base = tmp_path_factory.mktemp("saved")

    def save(name: str) -> Toy:
        shutil.copytree(kills.toy.root, base / name, ignore=shutil.ignore_patterns("server"))
        return Toy(base / name)

    kills.toy.models.parent.mkdir(parents=True)
    kills.toy.serve()
    kills.toy.land("day-1", rows(1))
    first = save("first")
    assert kills.run(UPDATE)["status"] == 0, kills.said()
    kills.toy.land("day-2", rows(2, turned=True))
    later = save("later")
    assert kills.run(UPDATE)["status"] == 0, kills.said()
    rollback = save("rollback")
    return {
        "first": Scenario("first", first, UPDATE, (1,)),
        "later": Scenario("later", later, UPDATE, (2,)),
        "rollback": Scenario("rollback", rollback, ["rollback", "stream=toy"], (1, 2)),
    }


@pytest.fixture(scope="module")
def every(kills: Kills, scenarios: dict[str, Scenario]) -> dict[str, list[str]]:
    """Every effect of every scenario."""
    return {name: kills.effects(scenario) for name, scenario in scenarios.items()}


DOZEN = [
    ("first", "create"),
    ("first", "record"),
    ("first", "publish"),
    ("first", "switch"),
    ("first", "alias"),
    ("later", "record"),
    ("later", "register"),
    ("later", "publish"),
    ("later", "switch"),
    ("later", "alias"),
    ("rollback", "switch"),
    ("rollback", "alias"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "name", "kind"), [(number, *point) for number, point in enumerate(DOZEN)])
def test_a_verb_killed_anywhere_is_made_good_by_the_next_start(
    number: int, name: str, kind: str, kills: Kills, scenarios: dict[str, Scenario], every: dict[str, list[str]]
):
    points = [i for i, effect in enumerate(every[name]) if re.match(KINDS[kind], effect)]
    after = random.Random(number).choice(points) + number % 2  # before the effect or after it
    died = kills.kill(scenarios[name], after)
    assert died.effects == every[name][:after]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not FULL, reason="not run: takes a quarter of an hour; WARMSTART_KILL_MATRIX=full runs it")
@pytest.mark.parametrize("name", ["first", "later", "rollback"])
def test_killed_before_and_after_every_single_effect(
    name: str, kills: Kills, scenarios: dict[str, Scenario], every: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
):
    effects, wrong, seconds = every[name], [], []
    for after, behind in enumerate(effects):
        before = effects[after - 1] if after else "start"
        try:
            seconds.append(kills.kill(scenarios[name], after).recovery)
        except (AssertionError, Refused, Unreachable) as error:
            wrong.append(f"killed between {before!r} and {behind!r}: {error}")
            with capsys.disabled():
                print(f"\n{wrong[-1]}")
    kinds = Counter(kind for effect in effects for kind, pattern in KINDS.items() if re.match(pattern, effect))
    with capsys.disabled():
        print(
            f"\n{name}: {len(seconds)} of {len(effects)} kills made good; recovery in {statistics.median(seconds):.1f} s "
            f"(median), {max(seconds):.1f} s (longest), {sum(s < RECOVERY_SECONDS for s in seconds)} of them within "
            f"{RECOVERY_SECONDS:.0f} s; effects: {dict(kinds)}"
        )
    assert wrong == []
    assert statistics.median(seconds) < RECOVERY_SECONDS
