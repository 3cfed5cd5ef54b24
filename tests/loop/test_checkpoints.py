"""Files of old versions leave a real MLflow; what a rollback, a replay or a person may need stays, and every lineage."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy import SCHEMA, Toy, rows

from engine.configuration import resolve
from engine.ledger import Ledger
from engine.ledger.rows import Cycle
from engine.nouns import Champion, Closing, JobSpec, Outcome, Score, Slices, Training, Verdict, Window
from engine.opening import place_of, registry_of
from engine.registry import FilesRemoved, Registry, RegistryUnreachable
from engine.retention import Freed, Retention, tidy

TWO = Retention(checkpoints=2)
FILES = ("checkpoint.ckpt", "model.onnx", "profile.arrow")


@pytest.fixture
def project(founded: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """Version 1 was trained, published and released; 2 to 6 are registered and released, 10 bytes a file. No server runs."""
    toy = founded.copy(tmp_path / "project")
    monkeypatch.chdir(toy.root)
    with toy.ledger() as ledger:
        for number in range(2, 7):
            cycle = opened(ledger, number)
            register(toy, ledger, cycle)
            row = ledger.intend("toy", number, number - 1, "promotion", cycle.id)
            ledger.finish(row, "done", Closing(Outcome.PROMOTED, ""))
            ledger.record(cycle, "close", Closing(Outcome.PROMOTED, "", number), 0.0)
    return toy


def opened(ledger: Ledger, number: int) -> Cycle:
    return ledger.open(Window("toy", f"day-{number}", "/gone", f"{number:08x}".ljust(64, "0"), 800))


def register(toy: Toy, ledger: Ledger, cycle: Cycle) -> int:
    folder = toy.state / "jobs" / "toy" / cycle.id.replace(":", ".")
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_bytes(b"0123456789")
    spec = JobSpec(cycle.id, str(folder), SCHEMA, (cycle.window,), (), None, {}, {}, {}, Slices(), 1)
    training = Training(str(folder), "replay", (cycle.window.id,), None, 1, 1, 1, 1, 1, 1.0, None, "graph", {})
    version = registry().register(spec, training, "digest", 1, Score(800, {"rmse": 1.0}), Verdict(()))
    ledger.record(cycle, "register", version, 0.0)
    return version


def registry() -> Registry:
    return registry_of(resolve(["stream=toy"]))


def freed(toy: Toy, retention: Retention = TWO, dry_run: bool = False) -> Freed | None:
    with toy.ledger() as ledger:
        place = place_of(resolve(["stream=toy"]), ledger)
        found = tidy(retention, place, registry(), whole=True, dry_run=dry_run)
    return next((each for each in found if each.kind == "checkpoints"), None)


def test_the_newest_the_first_and_what_is_published_keep_their_files(project: Toy) -> None:
    (project.models / "4").mkdir()
    said = freed(project, dry_run=True)
    assert registry().stored() == [1, 2, 3, 4, 5, 6]
    assert said == freed(project) == Freed("checkpoints", ("2", "3"), 60)
    assert registry().stored() == [1, 4, 5, 6]
    assert freed(project) is None
    left = {path.name for path in project.state.glob("artifacts/toy/models/*/artifacts/*")}
    assert set(FILES) <= left
    assert len(list(project.state.glob("artifacts/toy/models/*/artifacts/profile.arrow"))) == 4


def test_the_live_version_and_the_one_before_it_keep_theirs_after_a_rollback_far_back(project: Toy) -> None:
    with project.ledger() as ledger:
        row = ledger.intend("toy", 3, 6, "rollback", None)
        ledger.finish(row, "done", Closing(Outcome.PROMOTED, ""))
    assert freed(project, Retention(checkpoints=1)).names == ("4", "5")
    assert registry().stored() == [1, 2, 3, 6]


def test_a_version_that_waits_and_the_champion_of_unfinished_work_keep_theirs(project: Toy) -> None:
    with project.ledger() as ledger:
        waits = opened(ledger, 7)
        ledger.record(waits, "champion", Champion(2, "/gone", "toy:0:1", "day-2"), 0.0)
        assert register(project, ledger, waits) == 7
        ledger.record(waits, "close", Closing(Outcome.WAITING, "for a person", 7), 0.0)
        killed = opened(ledger, 8)
        ledger.record(killed, "champion", Champion(3, "/gone", "toy:0:1", "day-3"), 0.0)
        ledger.record(killed, "champion.2", None, 0.0)
        for number in (9, 10):
            cycle = opened(ledger, number)
            register(project, ledger, cycle)
            ledger.record(cycle, "close", Closing(Outcome.REJECTED, "", number - 1), 0.0)
    assert freed(project).names == ("4",)
    assert registry().stored() == [1, 2, 3, 5, 6, 7, 8, 9]


def test_whoever_wants_removed_files_is_told_and_the_story_is_still_there(
    project: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = project.registry("select count(*) from runs")
    freed(project)
    with pytest.raises(
        FilesRemoved, match=r"the files of version 3 of stream 'toy' were removed from MLflow on 20\d\d-\d\d-\d\d "
    ):
        registry().version(3)
    assert project.versions().keys() == {1, 2, 3, 4, 5, 6}
    assert project.registry("select count(*) from runs") == runs
    assert project("explain", "3") == 0
    assert "promotion: done" in capsys.readouterr().out


def test_files_that_are_half_removed_by_a_kill_are_removed_by_the_next_call(project: Toy) -> None:
    (half,) = (path for path in project.state.glob("artifacts/toy/models/*/artifacts") if cycle_of(project, path) == 2)
    (half / FILES[0]).unlink()
    assert freed(project) == Freed("checkpoints", ("2", "3", "4"), 80)
    assert not half.exists()


def cycle_of(toy: Toy, artifacts: Path) -> int:
    query = f"select tag_value from logged_model_tags where model_id = '{artifacts.parent.name}' and tag_key = 'warmstart.window'"
    return int(str(toy.registry(query)[0][0]).removeprefix("day-"))


def test_the_verb_says_what_it_would_free_then_frees_it(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    project("gc", "--dry-run", "retention.checkpoints=2")
    project("gc", "retention.checkpoints=2")
    said = "checkpoints       3               90 bytes  2, 3, 4\n{} 90 bytes\n"
    assert capsys.readouterr().out == said.format("would free") + said.format("freed")


def test_a_run_that_was_made_though_no_answer_came_is_found_again(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    create = Registry._create_run

    def create_and_say_nothing(self: Registry, cycle: str, window: str, tags: dict[str, str]) -> str:
        made.append(create(self, cycle, window, tags))
        if len(made) == 1:
            raise RegistryUnreachable("the line was cut")
        return made[-1]

    monkeypatch.setattr(Registry, "_create_run", create_and_say_nothing)
    toy.land("day-2", rows(2))
    with toy.engine() as engine:
        assert [closing.outcome for closing in engine.carry_pending()] == ["kept"]
        toy.land("day-3", rows(3))
        assert [closing.outcome for closing in engine.carry_pending()] == ["kept"]
    assert len(made) == 2
    found = project_runs(toy)
    assert [name for name, _ in found] == ["day-1", "day-2", "day-3"]
    assert {status for _, status in found} == {"FINISHED"}


def project_runs(toy: Toy) -> list[tuple[object, ...]]:
    return toy.registry("select name, status from runs order by name")
