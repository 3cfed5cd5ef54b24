from __future__ import annotations

import sys
from pathlib import Path

import pytest

from serving.errors import CannotStart
from serving.runtime import located, places


@pytest.fixture
def looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The three places, all empty: a project, the environment of the command, the user's data."""
    for name in ("project", "checkout", "data"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "checkout" / ".venv"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return places()


def make(folder: Path) -> None:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python3").touch()


def test_a_server_is_looked_for_in_the_project_then_beside_the_environment_then_with_the_user(looked: list[Path], tmp_path: Path):
    project, checkout, user = looked
    assert project == tmp_path / "project" / ".triton"
    assert checkout == tmp_path / "checkout" / ".triton"
    assert user == tmp_path / "data" / "warmstart" / "triton"
    for folder in (user, checkout, project):  # each goes before those that were made before it
        make(folder)
        assert located(places()) == folder


def test_where_there_is_none_every_place_is_named(looked: list[Path]):
    with pytest.raises(CannotStart) as told:
        located(looked)
    assert str(told.value) == (
        f"there is no model server in {looked[0]} or {looked[1]} or {looked[2]}: `warmstart setup` makes it, once for "
        "all projects (about 440 MB)"
    )


def test_outside_of_an_environment_only_the_project_and_the_user_have_one(looked: list[Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert places() == [looked[0], looked[2]]


def test_without_a_folder_for_data_it_is_the_one_in_the_users_home(looked: list[Path], tmp_path: Path, monkeypatch):
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places()[-1] == tmp_path / ".local" / "share" / "warmstart" / "triton"


def test_a_user_without_a_home_has_none_there(looked: list[Path], monkeypatch: pytest.MonkeyPatch):
    def homeless(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setattr(Path, "expanduser", homeless)
    assert places() == looked[:2]
