"""A stream whose windows lie behind a URL: drafted, trained and served as one in a folder is, through outages and restarts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from toy import Toy, rows

from engine import app
from engine.loop import Interrupted
from engine.places import SourceError
from tests import web

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def far(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Toy, web.Web]]:
    """An empty project, the current folder, with a server at work; a supplier's web server over another folder."""
    made = Toy(tmp_path_factory.mktemp("far") / "project")
    made.root.mkdir()
    (made.root.parent / "supplier" / "toy").mkdir(parents=True)
    with web.serving(made.root.parent / "supplier") as server, made.served():
        yield made, server


def land(toy: Toy, day: int, turned: bool = False) -> None:
    rows(day, turned).write_parquet(toy.root.parent / "supplier" / "toy" / f"day-{day}.parquet")


def test_it_is_as_if_the_windows_lay_here(far: tuple[Toy, web.Web]) -> None:
    toy, server = far
    land(toy, 1)
    assert app.cli(["init", f"{server.url}/toy", "--target", "wear"], standalone_mode=False) is None
    assert "platform: {poll: 10}" in Path("stream/toy.yaml").read_text()
    assert server.fetched() == ["/toy/day-1.parquet"]
    assert toy("update") == 0
    assert toy.outcomes() == [("day-1", "promoted", 1)]
    assert toy.answer().version == 1
    assert Path(toy.cycles()[0].window.uri).parent == toy.state / "windows" / "toy"
    assert server.fetched() == []  # what `init` fetched is there

    land(toy, 2)
    server.refuse = 503
    waits = ["platform.retries=[0.01,0.01]"]
    server.gets.clear()
    with pytest.raises(Interrupted, match=r"the windows cannot be listed: http.*/toy does not answer: .*503"):
        toy("update", *waits)
    assert len(server.gets) == 3
    server.refuse = 404
    with pytest.raises(SourceError, match="there is nothing at http"):
        toy("update", *waits)
    assert toy.outcomes() == [("day-1", "promoted", 1)]

    server.refuse = 0
    server.gets.clear()
    assert toy("update") == 0
    assert [outcome[0] for outcome in toy.outcomes()] == ["day-1", "day-2"]
    assert server.fetched() == ["/toy/day-2.parquet"]

    for copy in (toy.state / "windows" / "toy").glob("*.parquet"):
        copy.unlink()
    land(toy, 3, turned=True)
    assert toy("update") == 0  # draws from windows whose copies had gone
    assert server.fetched() == [f"/toy/day-{day}.parquet" for day in (3, 2, 1)]
    assert toy.cycles()[-1].outcome == "promoted"
    assert toy("update") == 0
    assert server.fetched() == []
