from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from air import CONFIG, files

from serving.config import ModelConfig
from serving.errors import Incomplete
from serving.repository import Repository


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the repository catches it or cleans up after it."""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "models")


def released(repository: Repository, tmp_path: Path, *versions: int) -> None:
    for version in versions:
        repository.publish("air", version, files(tmp_path / str(version), version), CONFIG)
        repository.accept("air", version)
    repository.select("air", versions[-1:])


def test_a_published_version_has_no_name_that_triton_would_load(repository, tmp_path):
    folder = repository.publish("air", 1, files(tmp_path / "1", 1), CONFIG)
    assert folder.name == ".candidate-1"
    assert {p.name for p in folder.iterdir()} == {"model.onnx", "golden.npz", "config.pbtxt", "manifest.json"}
    assert repository.versions("air") == ()
    assert repository.candidates("air") == (1,)
    assert repository.selected("air") == ()
    assert repository.names() == ()


def test_publishing_the_same_bytes_again_changes_nothing(repository, tmp_path):
    source = files(tmp_path / "1", 1)
    folder = repository.publish("air", 1, source, CONFIG)
    before = (folder / "model.onnx").stat()
    assert repository.publish("air", 1, source, CONFIG) == folder
    repository.accept("air", 1)
    accepted = repository.publish("air", 1, source, CONFIG)
    assert accepted.name == "1"
    assert (accepted / "model.onnx").stat().st_ino == before.st_ino


def test_a_version_is_never_overwritten(repository, tmp_path):
    repository.publish("air", 1, files(tmp_path / "1", 1), CONFIG)
    with pytest.raises(ValueError, match=r"air 1 exists in .*candidate-1 with other bytes; a version is never overwritten"):
        repository.publish("air", 1, files(tmp_path / "other", 2), CONFIG)


@pytest.mark.parametrize(
    ("name", "version", "words"), [("a/b", 1, "cannot name"), ("a__next", 1, "cannot name"), ("a", 0, "from 1")]
)
def test_what_triton_could_not_serve_is_not_published(repository, tmp_path, name, version, words):
    with pytest.raises(ValueError, match=words):
        repository.publish(name, version, files(tmp_path / "1", 1), CONFIG)


def test_files_without_a_model_are_not_published(repository, tmp_path):
    with pytest.raises(ValueError, match=r"model\.onnx is not among the files"):
        repository.publish("air", 1, {"golden.npz": files(tmp_path / "1", 1)["golden.npz"]}, CONFIG)


def dies_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Kill at the step-th change that reaches the disk; returns a count of the changes made."""
    count = 0

    def before(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            nonlocal count
            count += 1
            if count == step:
                raise Killed
            return real(*arguments, **named)

        return call

    for change in ("fsync", "rename", "replace", "link", "unlink", "mkdir", "rmdir"):
        monkeypatch.setattr(os, change, before(getattr(os, change)))
    return lambda: count


def whole_life(repository: Repository, source: dict[str, Path]) -> None:
    repository.publish("air", 2, source, CONFIG)
    repository.stage("air", 2)
    repository.accept("air", 2)
    repository.select("air", (1, 2))
    repository.unstage("air")
    repository.select("air", (1,))
    repository.move_aside("air", 2)


def test_killed_at_any_step_it_shows_only_whole_versions_and_done_again_ends_the_same(tmp_path, monkeypatch):
    source = files(tmp_path / "2", 2)
    for step in range(1, 200):
        repository = Repository(tmp_path / f"models-{step}")
        released(repository, tmp_path, 1)
        with monkeypatch.context() as patch:
            count = dies_at(step, patch)
            try:
                whole_life(repository, source)
            except Killed:
                pass
            else:
                assert count() < step
                assert step > 25, f"only {step} steps were killed at"
                return
        for version in repository.versions("air"):
            repository.complete("air", version)
        assert set(repository.selected("air")) <= set(repository.versions("air"))
        assert 1 in repository.selected("air")
        if repository.staged("air") is not None:
            repository._complete(repository.root / "air__next" / "2", "air__next 2")
        try:
            whole_life(repository, source)
        except Incomplete:
            assert (repository.root / "air" / ".rejected-2").is_dir(), f"step {step}"
        assert sorted(p.name for p in (repository.root / "air").iterdir()) == [".rejected-2", "1", "config.pbtxt"], f"step {step}"
        assert not (repository.root / "air__next").exists()
    pytest.fail("the steps never ended")


def test_the_staging_model_is_the_candidates_own_files_under_another_name(repository, tmp_path):
    folder = repository.publish("air", 5, files(tmp_path / "5", 5), CONFIG)
    assert repository.stage("air", 5) == "air__next"
    staged = repository.root / "air__next"
    assert (staged / "5" / "model.onnx").samefile(folder / "model.onnx")
    config = ModelConfig.from_pbtxt((staged / "config.pbtxt").read_text())
    assert (config.name, config.versions) == ("air__next", (5,))
    assert repository.staged("air") == 5
    assert repository.names() == ()
    repository.unstage("air")
    repository.unstage("air")
    assert repository.staged("air") is None
    assert (folder / "model.onnx").exists()


def test_staging_another_version_replaces_the_one_before(repository, tmp_path):
    for version in (5, 6):
        repository.publish("air", version, files(tmp_path / str(version), version), CONFIG)
        repository.stage("air", version)
    assert sorted(p.name for p in (repository.root / "air__next").iterdir()) == ["6", "config.pbtxt"]


def test_a_switch_after_a_rollback_leaves_out_the_version_that_was_rolled_back(repository, tmp_path):
    released(repository, tmp_path, 4, 5)
    repository.select("air", (4,))
    repository.publish("air", 6, files(tmp_path / "6", 6), CONFIG)
    repository.accept("air", 6)
    repository.select("air", (4, 6))
    assert repository.selected("air") == (4, 6)
    assert repository.versions("air") == (4, 5, 6)
    assert repository.names() == ("air",)


def test_a_candidate_cannot_be_selected(repository, tmp_path):
    repository.publish("air", 5, files(tmp_path / "5", 5), CONFIG)
    with pytest.raises(Incomplete, match="air 5 is not an accepted version"):
        repository.select("air", (5,))


def test_a_folder_without_its_model_file_is_refused_before_any_load(repository, tmp_path):
    released(repository, tmp_path, 1)
    (repository.root / "air" / "1" / "model.onnx").unlink()
    for step in (repository.complete, repository.stage):
        with pytest.raises(Incomplete, match=r"air 1: .*model\.onnx is missing"):
            step("air", 1)
    with pytest.raises(Incomplete, match="is missing"):
        repository.select("air", (1,))


def test_a_file_cut_short_is_refused_before_any_load(repository, tmp_path):
    folder = repository.publish("air", 1, files(tmp_path / "1", 1), CONFIG)
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-10])
    with pytest.raises(Incomplete, match="has not the size it was published with"):
        repository.accept("air", 1)


def test_a_live_version_is_not_moved_aside(repository, tmp_path):
    released(repository, tmp_path, 1)
    with pytest.raises(ValueError, match="air 1 is selected"):
        repository.move_aside("air", 1)


def test_what_is_moved_aside_is_kept_and_may_be_published_again(repository, tmp_path):
    source = files(tmp_path / "3", 3)
    repository.publish("air", 3, source, CONFIG)
    aside = repository.move_aside("air", 3)
    assert aside == repository.root / "air" / ".rejected-3"
    assert json.loads((aside / "manifest.json").read_text())["model.onnx"]["bytes"] == source["model.onnx"].stat().st_size
    assert repository.move_aside("air", 3) == aside
    assert repository.move_aside("air", 9) is None
    repository.publish("air", 3, source, CONFIG)
    assert repository.candidates("air") == (3,)


def test_prune_keeps_the_newest_and_what_is_selected(repository, tmp_path):
    released(repository, tmp_path, 1, 2, 3, 4)
    for version in (5, 6):
        repository.publish("air", version, files(tmp_path / str(version), version), CONFIG)
        repository.move_aside("air", version)
    repository.select("air", (1,))
    assert repository.prune("air", keep=1) == (2, 3)
    assert sorted(p.name for p in (repository.root / "air").iterdir()) == [".rejected-6", "1", "4", "config.pbtxt"]
