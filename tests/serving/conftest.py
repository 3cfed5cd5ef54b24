from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.endpoint import Endpoint
from serving.release import Deployment
from serving.repository import Repository
from serving.server import EmbeddedServer
from tests.servers import require

RUNTIME = Path(__file__).parents[2] / ".triton"


@pytest.fixture(scope="session")
def runtime() -> Path:
    require(str(RUNTIME / "bin" / "python3"), "make run")
    return RUNTIME


@pytest.fixture
def launch(runtime: Path, tmp_path: Path) -> Iterator[Callable[..., EmbeddedServer]]:
    """Start this test's own server, as often as asked; none is left behind."""
    (tmp_path / "state").mkdir()

    def start(**arguments: object) -> EmbeddedServer:
        return EmbeddedServer.start(tmp_path / "models", runtime, tmp_path / "state", **arguments)

    yield start
    if (left := EmbeddedServer.find(tmp_path / "state")) is not None:
        left.stop(timeout=0.2)


@pytest.fixture(scope="session")
def server(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    base = tmp_path_factory.mktemp("triton")
    started = EmbeddedServer.start(base / "models", runtime, base / "state", verb="tests")
    yield started
    started.stop()


@pytest.fixture(scope="session")
def everything(server: EmbeddedServer) -> Iterator[Deployment]:
    endpoint = Endpoint(server.address)
    yield Deployment(Repository(Path(server.state).parent / "models"), (endpoint,))
    endpoint.close()


@pytest.fixture
def deployment(everything: Deployment) -> Iterator[Deployment]:
    """The shared server; models that a test leaves are unloaded and removed."""
    before = set(everything.repository.root.iterdir())
    yield everything
    for folder in set(everything.repository.root.iterdir()) - before:
        for endpoint in everything.endpoints:
            endpoint.unload(folder.name)
        shutil.rmtree(folder)
