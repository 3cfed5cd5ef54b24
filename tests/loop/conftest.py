from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import postgres
import pytest
from toy import Toy, rows

from tests.servers import require

RUNTIME = Path(__file__).parents[2] / ".triton"
FOREIGN = (
    # MLflow 3.17 still asks SQLAlchemy 2.1 for a loader strategy that it deprecates.
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
)
# A program of its own, with no doctest to collect.
collect_ignore = ["zygote.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for cause in FOREIGN:
                item.add_marker(pytest.mark.filterwarnings(cause))


@pytest.fixture(scope="session")
def runtime() -> Iterator[Path]:
    require(str(RUNTIME / "bin" / "python3"), "make setup")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WARMSTART_TRITON", str(RUNTIME.resolve()))
        patch.delenv("WARMSTART_STATE", raising=False)
        yield RUNTIME


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgres.Cluster]:
    with postgres.cluster() as started:
        yield started


@pytest.fixture(scope="session")
def founded(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A project whose first window was promoted as version 1; to be copied, not used."""
    toy = Toy(tmp_path_factory.mktemp("founded") / "project").make()
    toy.land("day-1", rows(1))
    before = Path.cwd()
    os.chdir(toy.root)
    try:
        toy("update")
    finally:
        os.chdir(before)
    assert toy.outcomes() == [("day-1", "promoted", 1)]
    return toy


@pytest.fixture
def empty(runtime: Path, tmp_path: Path) -> Iterator[Toy]:
    """A project in which nothing happened yet, its server started by another process. It is the current folder."""
    with Toy(tmp_path / "project").make().served() as made:
        yield made


@pytest.fixture
def toy(founded: Toy, tmp_path: Path) -> Iterator[Toy]:
    """A project with version 1 live and day 1 behind it, its server started by another process. It is the current folder."""
    with founded.copy(tmp_path / "project").served() as copied:
        yield copied


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Wait for something that is about to be true."""

    def wait(condition: Callable[[], object], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.01)

    return wait
