"""A real HTTP server over a folder, which remembers what it was asked and can be made to misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Web(ThreadingHTTPServer):
    """`refuse` is a status that answers everything; of the paths in `cut` only half is sent."""

    refuse: int = 0

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.gets: list[str] = []
        self.cut: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fetched(self) -> list[str]:
        """The Parquet files that were asked for since this was last called."""
        found, self.gets[:] = [path for path in self.gets if path.endswith(".parquet")], []
        return found


class _Handler(SimpleHTTPRequestHandler):
    server: Web

    def send_head(self) -> Any:
        if self.server.refuse:
            self.send_error(self.server.refuse)
            return None
        return super().send_head()

    def do_GET(self) -> None:
        self.server.gets.append(self.path)
        super().do_GET()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        outputfile.write(content[: len(content) // 2] if self.path in self.server.cut else content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[Web]:
    server = Web(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
