"""A container may run under a number that has no name: whoever decides there is recorded all the same."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from engine import app
from engine.disk import refusal
from engine.ledger import Ledger
from engine.person import user


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> str:
    """This process's user has no name; what it is called then."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    return f"user {os.geteuid()}"


def test_a_user_is_called_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    assert user() == "ada"


def test_a_user_without_a_name_is_called_by_number(nameless: str) -> None:
    assert user() == nameless
    assert f"may not be written by {nameless}: " in str(refusal(PermissionError(13, "Permission denied", "/state/ledger.db")))


def test_a_user_without_a_name_decides(nameless: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WARMSTART_STATE", raising=False)
    app.cli(["pause", "--reason", "an audit", "stream=flights"], standalone_mode=False)
    app.cli(["trigger", "--reason", "a storm", "stream=flights"], standalone_mode=False)
    ledger = Ledger(f"sqlite:///{tmp_path / '.warmstart' / 'ledger.db'}")
    assert ledger.held("flights") == f"paused by {nameless}: an audit"
    assert [event.who for event in ledger.announced("flights")] == [nameless]
    ledger.close()
