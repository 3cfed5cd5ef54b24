"""Windows in a bucket or behind a URL: listed by the rules of a local folder, each fetched once, every fault in a sentence."""

from __future__ import annotations

import functools
import io
import itertools
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.configuration import recorded, resolve
from engine.nouns import Window
from engine.places import SourceError, SourceUnreachable
from engine.windows import ParquetFolder
from tests import web

NUMBERS = itertools.count()


@functools.cache
def parquet(rows: int) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame({"at": range(rows), "wear": [0.5] * rows}).write_parquet(buffer)
    return buffer.getvalue()


class Shelf:
    """Somewhere to put files, and what looks there for windows."""

    def __init__(self, url: str, folder: Path | None, copies: Path, options: dict[str, object] | None = None) -> None:
        self.url, self.folder, self.copies, self.options = url, folder, copies, options or {}

    def put(self, path: str, content: bytes) -> None:
        if self.folder is None:
            fs, root = fsspec.core.url_to_fs(self.url, **self.options)
            fs.pipe_file(f"{root}/{path}", content)
        else:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(content)

    def source(self, settle: float = 60.0) -> ParquetFolder:
        return ParquetFolder(self.url, settle=settle, storage_options=self.options, copies=str(self.copies))

    def list(self, settle: float = 60.0) -> list[Window]:
        """As a process that just started sees it."""
        return self.source(settle).list("s", "at")


def somewhere(kind: str, root: Path, address: str = "") -> Shelf:
    folder, copies = root / "windows", root / "copies"
    folder.mkdir(parents=True, exist_ok=True)
    urls = {
        "disk": str(folder),
        "file": f"file://{folder}",
        "dir": f"dir://windows::file://{root}",
        "http": f"{address}/windows",
        "memory": f"memory://{next(NUMBERS)}/windows",
        "s3": f"s3://bucket/{next(NUMBERS)}/windows",
    }
    options = {"key": "anyone", "secret": "anything", "endpoint_url": address} if kind == "s3" else {}
    return Shelf(urls[kind], None if kind in ("memory", "s3") else folder, copies, options)


@pytest.fixture(params=["disk", "file", "dir", "memory", "http", "s3"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shelf]:
    if request.param == "http":
        with web.serving(tmp_path) as server:
            yield somewhere("http", tmp_path, server.url)
    elif request.param == "s3":
        yield somewhere("s3", tmp_path, request.getfixturevalue("s3"))
    else:
        yield somewhere(request.param, tmp_path)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of a server that speaks S3, with an empty bucket `bucket`."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    fsspec.filesystem("s3", key="anyone", secret="anything", endpoint_url=address).mkdir("bucket")
    yield address
    server.stop()


def test_the_rules_are_those_of_a_folder(shelf: Shelf) -> None:
    for name in ("part-10.parquet", "part-2.parquet", ".part-3.parquet", "_part-4.parquet", "notes.txt", "other/part-5.parquet"):
        shelf.put(name, parquet(3))
    for path in ("day=10/a.parquet", "year=1/day=2/a.parquet", "_day=3/a.parquet", "day=4/inner/a.parquet"):
        shelf.put(path, parquet(4))
        shelf.put(f"{path.rpartition('/')[0]}/_SUCCESS", b"")
    shelf.put("year=1/day=2/b.parquet", parquet(5))
    shelf.put("day=11/a.parquet", parquet(4))
    shelf.put("part-11.parquet", parquet(3)[:-20])
    found = shelf.list()
    assert [(w.id, w.rows) for w in found] == [
        ("day=10", 4),
        ("part-2", 3),
        ("part-10", 3),
        ("year=1,day=2", 9),
    ]
    assert [(w.start, w.end) for w in found] == [("0", "3"), ("0", "2"), ("0", "2"), ("0", "4")]
    assert [pl.read_parquet(w.uri).height for w in found] == [4, 3, 3, 9]
    settled = shelf.list(settle=0)
    assert [(w.id, w.rows) for w in settled if w not in found] == [("day=11", 4), ("part-11", 0)]


NAMES = [
    *("a-2.parquet", "a-10.parquet", ".b.parquet", "_c.parquet", "d.csv", "e/f.parquet", "g=1/_SUCCESS", "g=1/h.parquet"),
    *("g=1/i.parquet", "g=1/.j.parquet", "g=1/k=2/l.parquet", "g=1/k=2/_SUCCESS", "_g=3/m.parquet", ".g=4/n.parquet"),
]
CONTENTS = [parquet(3), parquet(4), parquet(3)[:-9], b""]


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(CONTENTS), min_size=1), st.sampled_from([0.0, 60.0]))
def test_every_place_lists_the_same_windows(files: dict[str, bytes], settle: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shelves = [somewhere(kind, Path(folder) / kind) for kind in ("disk", "file", "dir", "memory")]
        for shelf in shelves:
            for path, content in files.items():
                shelf.put(path, content)
        disk, *others = [[replace(window, uri="") for window in shelf.list(settle)] for shelf in shelves]
        assert others == [disk] * 3


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Shelf, web.Web]]:
    with web.serving(tmp_path) as server:
        yield somewhere("http", tmp_path, server.url), server


def test_what_was_fetched_is_never_fetched_again(served: tuple[Shelf, web.Web]) -> None:
    shelf, server = served
    for path in ("1.parquet", "day=2/a.parquet", "day=2/_SUCCESS"):
        shelf.put(path, parquet(3))
    source = shelf.source()
    first = source.list("s", "at")
    assert server.fetched() == ["/windows/1.parquet", "/windows/day=2/a.parquet"]
    assert source.list("s", "at") == shelf.list() == first
    shutil.rmtree(Path(first[1].uri).parent)  # as retention does
    assert [w.digest for w in shelf.list()] == [w.digest for w in first]
    assert server.fetched() == []
    shelf.put("3.parquet", parquet(4))
    assert [w.id for w in source.list("s", "at")] == ["1", "3", "day=2"]
    assert server.fetched() == ["/windows/3.parquet"]


def test_a_copy_that_was_removed_is_brought_back_when_it_is_asked_for(served: tuple[Shelf, web.Web]) -> None:
    shelf, server = served
    shelf.put("day=1/a.parquet", parquet(3))
    shelf.put("day=1/_SUCCESS", b"")
    (window,) = shelf.list()
    shutil.rmtree(Path(window.uri).parent)
    source = shelf.source()
    source.list("s", "at")
    server.gets.clear()
    for _ in range(2):
        source.fetch(window)
    assert pl.read_parquet(window.uri).height == 3
    assert server.fetched() == ["/windows/day=1/a.parquet"]


def test_a_copy_that_cannot_be_brought_back_is_said_to_be_lost(served: tuple[Shelf, web.Web]) -> None:
    shelf, _ = served
    shelf.put("1.parquet", parquet(3))
    (window,) = shelf.list()
    Path(window.uri).unlink()
    shelf.put("1.parquet", parquet(5))
    source = shelf.source()
    source.list("s", "at")
    with pytest.raises(SourceError, match=r"window 1 is needed again, its copy was removed \(`retention\.windows`\) and http"):
        source.fetch(window)


def test_a_killed_fetch_leaves_nothing_that_is_taken_for_a_window(served: tuple[Shelf, web.Web]) -> None:
    shelf, server = served
    shelf.put("1.parquet", parquet(3))
    (shelf.copies / ".1").mkdir(parents=True)
    (shelf.copies / ".1" / "1.parquet").write_bytes(parquet(3)[:10])
    (shelf.copies / ".known.jsonl").write_text('{"key": "0123')
    assert [w.rows for w in shelf.list()] == [3]
    assert [w.rows for w in shelf.list()] == [3]
    assert server.fetched() == ["/windows/1.parquet"]
    assert sorted(path.name[:2] for path in shelf.copies.iterdir()) == [".k", "1."]


def test_a_file_cut_short_on_its_way_is_an_outage_and_fetched_again(served: tuple[Shelf, web.Web]) -> None:
    shelf, server = served
    shelf.put("1.parquet", parquet(3))
    server.cut.add("/windows/1.parquet")
    source = shelf.source()
    with pytest.raises(SourceUnreachable, match=r"/windows does not answer|was cut short"):
        source.list("s", "at")
    server.cut.clear()
    assert [w.rows for w in source.list("s", "at")] == [3]


class Growing(ParquetFolder):
    """Somebody writes on between the listing and the fetch."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__(shelf.url, copies=str(shelf.copies))
        files = self.place.files

        def listed() -> object:
            found = files()
            shelf.put("1.parquet", parquet(9))
            return found

        self.place.files = listed  # type: ignore[method-assign,assignment]


def test_a_file_that_grew_since_it_was_listed_waits_for_the_next_look(tmp_path: Path) -> None:
    shelf = somewhere("memory", tmp_path)
    shelf.put("1.parquet", parquet(3))
    source = Growing(shelf)
    assert source.list("s", "at") == []
    assert [w.rows for w in source.list("s", "at")] == [9]


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (404, SourceError, "there is nothing at http.*: write the first window there, or correct `stream.source.folder`"),
        (403, SourceError, "lets us not in .*403.*: give what it needs in `stream.source.storage_options`"),
        (400, SourceError, "cannot be opened .*400.*: correct `stream.source.folder` or `.storage_options`"),
        (503, SourceUnreachable, "does not answer: .*503"),
    ],
)
def test_what_a_server_refuses_is_said_in_words(
    served: tuple[Shelf, web.Web], status: int, error: type[Exception], words: str
) -> None:
    shelf, server = served
    server.refuse = status
    with pytest.raises(error, match=words):
        shelf.list()


def test_a_server_that_is_not_there_is_an_outage(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(SourceUnreachable, match=r"http://127\.0\.0\.1:\d+/x does not answer: Cannot connect"):
            ParquetFolder(f"http://127.0.0.1:{taken.getsockname()[1]}/x", copies=str(tmp_path)).list("s", None)


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("memory://nothing/here", {}, "there is nothing at memory://nothing/here"),
        ("oci://bucket/x", {}, r"oci:// needs a package: `pip install ocifs`"),
        ("s4://bucket/x", {}, "s4://bucket/x cannot be opened .*Protocol not known: s4"),
        ("http://127.0.0.1:1/x", {"client_kwargs": {"hedears": {}}}, "cannot be opened .*hedears.*: correct"),
    ],
)
def test_a_wrong_url_is_said_in_words(url: str, options: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=words):
        ParquetFolder(url, storage_options=options, copies=str(tmp_path)).list("s", None)


def test_a_bucket_that_is_not_there_or_not_ours_is_said_in_words(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    known = {"key": "anyone", "secret": "anything", "endpoint_url": s3}
    for url, why in (("s3://no-such-bucket/x", r" \(The specified bucket does not exist\)"), ("s3://bucket/nothing", "")):
        with pytest.raises(SourceError, match=f"there is nothing at {url}{why}: write"):
            ParquetFolder(url, storage_options=known, copies=str(tmp_path)).list("s", None)
    with pytest.raises(SourceError, match=r"lets us not in .*: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        ParquetFolder("s3://bucket/x", storage_options={"endpoint_url": s3}, copies=str(tmp_path)).list("s", None)


def test_how_a_source_is_opened_is_not_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stream").mkdir()
    (tmp_path / "stream" / "far.yaml").write_text(
        "# @package _global_\nstream:\n  name: far\n  target: wear\n  columns: {speed: number}\n"
        "  source: {_target_: engine.windows.ParquetFolder, folder: 's3://b/far', storage_options: {secret: hush}}\n"
    )
    monkeypatch.chdir(tmp_path)
    config = resolve(["stream=far"])
    assert config["stream"]["source"]["storage_options"] == {"secret": "hush"}
    kept = recorded(config)
    assert "hush" not in str(kept)
    assert kept["stream"]["source"] == {"_target_": "engine.windows.ParquetFolder", "folder": "s3://b/far"}
    assert set(kept) == {"stream", "model", "strategy", "trainer", "trigger", "gate"}
