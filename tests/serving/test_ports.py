from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from serving.errors import CannotStart
from serving.ports import chosen, free_ports, is_free, refuse_taken


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_port_is_the_one_that_was_asked_for_else_the_last_one_else_any(taken: int):
    first, second, third = free_ports()
    assert chosen((None, first, None), [])[1] == first
    assert chosen((None, None, None), [first, second, third]) == (first, second, third)
    grpc, http, metrics = chosen((None, None, third), [first, taken, second])
    assert (grpc, metrics) == (first, third)
    assert http not in (taken, first, second, third)


def test_the_last_port_of_one_purpose_may_be_asked_for_another():
    first, second, third = free_ports()
    grpc, http, metrics = chosen((second, None, None), [first, second, third])
    assert (grpc, metrics) == (second, third)
    assert len({grpc, http, metrics}) == 3


def test_who_holds_a_port_that_was_asked_for_is_named(taken: int):
    assert not is_free(taken)
    words = (
        rf"port {taken} \(serving.metrics_port\) is taken by process {os.getpid()} \(.+\): stop that, set another port, or null"
    )
    with pytest.raises(CannotStart, match=words):
        refuse_taken((None, None, taken))


def test_a_port_that_only_lingers_is_free(taken: int):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            server.accept()[0].close()  # whoever closes first lingers
            client.recv(1)
    assert is_free(port)


def test_a_port_for_root_alone_is_told_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("serving.ports._refused", lambda port: PermissionError(13, "Permission denied"))
    with pytest.raises(
        CannotStart, match=r"^port 80 \(serving.http_port\) is for root alone, set another port, or null for a free"
    ):
        refuse_taken((None, 80, None))
