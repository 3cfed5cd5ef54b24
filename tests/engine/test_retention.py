"""What is removed when there is too much of it, and what never is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import story
from click.testing import CliRunner

from engine import app, report
from engine.configuration import ConfigurationError, resolve
from engine.ledger import Ledger, tables
from engine.ledger.codec import encode
from engine.ledger.rows import Cycle
from engine.locks import Locks
from engine.nouns import PAST, Closing, Decision, Labelled, LiveScore, Outcome, Score
from engine.opening import place_of
from engine.page import history
from engine.retention import LASTING, Place, Retention, tidy
from engine.wiring import build
from serving.repository import Repository

ALL = Retention(releases=100, checkpoints=100, jobs=100, answers=100, quarantined=100, steps=100)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield Place("toy", ledger, Locks(ledger, tmp_path / "locks"), tmp_path, Repository(tmp_path / "models"))
    ledger.close()


def files(place: Place, cycle: Cycle) -> None:
    """What the engine leaves of a cycle, 10 bytes a file."""
    content = f"{cycle.window.id}.{cycle.window.digest[:12]}"
    paths = [f"jobs/toy/{cycle.id.replace(':', '.')}/model.onnx", f"answers/toy/{content}.npy"]
    if cycle.outcome == Outcome.QUARANTINED:
        paths = [f"quarantine/toy/{content}.parquet", f"quarantine/toy/{content}.json"]
    for path in paths:
        (place.state / path).parent.mkdir(parents=True, exist_ok=True)
        (place.state / path).write_bytes(b"0123456789")


def version(place: Place, number: int, selected: bool = False) -> None:
    folder = place.state / "models" / "toy" / str(number)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"0123456789")
    if selected:
        (folder.parent / "config.pbtxt").write_text(f'name: "toy"\nversion_policy {{ specific {{ versions: [{number}] }} }}\n')


def left(place: Place, kind: str) -> list[str]:
    return sorted(path.name for path in (place.state / kind / "toy").iterdir())


def promotions(place: Place, count: int) -> list[Cycle]:
    made = []
    for number in range(1, count + 1):
        made.append(story.promoted(place.ledger, number, number))
        files(place, made[-1])
        version(place, number)
    return made


def test_within_its_numbers_nothing_goes(place: Place) -> None:
    promotions(place, 3)
    assert tidy(ALL, place, whole=True) == []


def test_sorted_columns_beyond_the_budget_go_with_a_whole_tidying(place: Place) -> None:
    promotions(place, 1)
    columns = [place.state / "sorted" / "toy" / digest / f"{name}.npy" for digest in ("d1", "d2") for name in "ab"]
    for age, path in enumerate(columns):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(400_000))
        os.utime(path, (time.time() - 100 + age,) * 2)
    small = replace(ALL, sorted_mb=1)
    assert tidy(small, place) == []  # what sorts looks after its budget itself
    (said,) = tidy(small, place, whole=True, dry_run=True)
    assert (said.kind, said.names, said.bytes) == ("sorted", ("d1/b.npy", "d1/a.npy"), 800_000)
    assert tidy(small, place, whole=True) == [said]
    assert left(place, "sorted") == ["d2"]


def test_the_first_the_live_and_the_one_before_it_stay_whatever_their_age(place: Place) -> None:
    promotions(place, 6)
    back = place.ledger.intend("toy", 3, 6, "rollback", None)
    place.ledger.finish(back, "done", Closing(Outcome.PROMOTED, ""))
    tidy(Retention(releases=1, jobs=1, answers=1, steps=1), place, whole=True)
    # 3 is live, 2 was before it, 6 was just taken out, and is the newest.
    assert left(place, "models") == ["1", "2", "3", "6"]
    assert left(place, "jobs") == [f"toy.{n:08x}".ljust(20, "0") + ".1" for n in (1, 2, 3, 6)]
    gone = {c.window.id for c in place.ledger.cycles("toy") if place.ledger.step(c.id, "judge.1") is None}
    assert gone == {"day-4", "day-5"}


def test_a_version_that_waits_or_was_begun_to_be_released_stays_with_all_that_is_known_of_it(place: Place) -> None:
    first = story.opened(place.ledger, 1)
    place.ledger.record(first, "judge.1", {}, 0.0)
    place.ledger.record(first, "close", Closing(Outcome.WAITING, "for a person", 1), 0.0)
    files(place, first)
    version(place, 1)
    for day in (2, 3, 4, 5):
        files(place, story.kept(place.ledger, day))
        version(place, day)
    place.ledger.intend("toy", 3, 2, "promotion", None)
    tidy(Retention(releases=1, jobs=1, answers=1, steps=1), place, whole=True)
    assert left(place, "models") == ["1", "2", "3", "5"]
    assert len(left(place, "jobs")) == len(left(place, "answers")) == 2
    assert place.ledger.step(first.id, "judge.1") is not None


def test_the_work_of_a_killed_process_stays(place: Place) -> None:
    killed = story.opened(place.ledger, 1)
    place.ledger.record(killed, "validate", (), 0.0)
    files(place, killed)
    for day in range(2, 6):
        files(place, story.kept(place.ledger, day))
    tidy(Retention(jobs=1, answers=1, steps=1), place, whole=True)
    assert [name.split(".")[0] for name in left(place, "answers")] == ["day-1", "day-5"]
    assert place.ledger.step(killed.id, "validate") is not None


def test_what_is_being_written_is_left_alone(place: Place) -> None:
    for day in (1, 2):
        files(place, story.kept(place.ledger, day))
    (place.state / "answers" / "toy" / ".day-3.npy").touch()
    tidy(Retention(answers=1), place)
    assert [name.split(".")[0] for name in left(place, "answers")] == ["", "day-2"]


def test_copies_of_fetched_windows_go_when_no_fine_tune_may_be_offered_them(place: Place) -> None:
    made = [story.kept(place.ledger, day) if day in (2, 3) else story.quarantined(place.ledger, day) for day in (1, 2, 3)]
    made += [story.kept(place.ledger, day) for day in range(4, PAST + 4)]
    made += [
        story.promoted(place.ledger, PAST + 4, 1),
        story.kept(place.ledger, PAST + 5),
        story.promoted(place.ledger, PAST + 6, 2),
    ]
    folder = place.state / "windows" / "toy"
    for cycle in made:
        copy = folder / f"{cycle.window.id}.{cycle.window.digest[:12]}"
        copy.mkdir(parents=True)
        (copy / "part-0.parquet").write_bytes(b"0123456789")
    (folder / f"day-99.{'9' * 12}.parquet").touch()  # fetched, and not worked on yet
    (folder / ".known.jsonl").touch()
    assert tidy(Retention(windows=PAST + 7), place) == []
    (freed,) = tidy(Retention(windows=PAST + 6), place)  # version 1 may be put back, 64 good windows before it are offered
    assert (freed.kind, [name.split(".")[0] for name in freed.names], freed.bytes) == ("windows", ["day-1"], 10)
    (freed,) = tidy(Retention(windows=1), place)
    assert [name.split(".")[0] for name in freed.names] == ["day-2", "day-3"]
    assert tidy(Retention(windows=1), place) == []
    assert len(left(place, "windows")) == len(made) - 3 + 2


def test_a_quarantined_window_goes_with_its_report(place: Place) -> None:
    for day in (1, 2, 3):
        files(place, story.quarantined(place.ledger, day))
    (freed,) = tidy(Retention(quarantined=2), place, whole=True)
    assert (freed.kind, [n.split(".")[0] for n in freed.names], freed.bytes) == ("quarantine", ["day-1"], 20)
    assert [name.split(".")[0] for name in left(place, "quarantine")] == ["day-2", "day-2", "day-3", "day-3"]


def test_of_old_cycles_the_outcome_the_decision_and_the_lineage_stay(place: Place) -> None:
    promotions(place, 2)
    for day in (3, 4):
        story.kept(place.ledger, day)
    promoted = story.promoted(place.ledger, 5, 3)
    kept = place.ledger.cycles("toy")[2]
    tidy(Retention(steps=1), place, whole=True)
    assert {s.name for s in place.ledger.steps(kept.id)} == {"decide", "close"} <= set(LASTING)
    assert [c.outcome for c in place.ledger.cycles("toy")] == ["promoted", "promoted", "kept", "kept", "promoted"]
    assert len(place.ledger.steps(promoted.id)) == 10
    assert len(history.read(place.ledger, "toy").windows) == 5


def labelled(place: Place, cycle: Cycle, when: float) -> None:
    """A cycle's labelled window, its file beside it."""
    window = replace(cycle.window, digest=f"{cycle.window.digest[:8]}{'1' * 56}")
    place.ledger.record(cycle, "label", Labelled(window, when), when)
    path = place.state / "labelled" / "toy" / f"{window.id}.{window.digest[:12]}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"0123456789")


def test_labelled_windows_that_a_fine_tune_may_draw_from_stay_and_older_ones_go(place: Place) -> None:
    made = {1: story.promoted(place.ledger, 1, 1)}
    for day in range(2, 111):
        made[day] = (
            story.promoted(place.ledger, day, 2 if day == 80 else 3) if day in (80, 100) else story.kept(place.ledger, day)
        )
    for day, cycle in sorted(made.items()):
        # The labels of day 3 came last: it is fresh.
        labelled(place, cycle, 1000.0 if day == 3 else float(day))
    waits = story.opened(place.ledger, 200)
    (place.state / "labelled" / "toy" / f"{waits.window.id}.0123456789ab.parquet").touch()
    (place.state / "labelled" / "toy" / "orphan.0123456789ab.parquet").touch()
    (freed,) = tidy(replace(ALL, jobs=1000, answers=1000, steps=1000, labelled=1), place, whole=True)
    days = sorted(int(name.split(".")[0].removeprefix("day-")) for name in freed.names if name.startswith("day"))
    # A rollback makes version 2 of day 80 champion again: 64 windows before it are offered.
    assert (freed.kind, days, len(freed.names)) == ("labelled", [1, 2, *range(4, 80 - PAST)], 2 + 80 - PAST - 4 + 1)
    assert tidy(replace(ALL, jobs=1000, answers=1000, steps=1000, labelled=1), place, whole=True) == []


def test_a_dry_run_says_the_same_and_removes_nothing(place: Place) -> None:
    promotions(place, 5)
    few = Retention(releases=1, jobs=1, answers=1, steps=1)
    before = sorted(path for path in place.state.rglob("*") if "ledger" not in path.name)
    said = tidy(few, place, whole=True, dry_run=True)
    assert sorted(path for path in place.state.rglob("*") if "ledger" not in path.name and "locks" not in path.parts) == before
    assert said == tidy(few, place, whole=True)
    assert [(f.kind, len(f.names), f.bytes) for f in said if f.kind != "steps"] == [
        ("jobs", 2, 20),
        ("answers", 2, 20),
        ("releases", 2, 20),
    ]
    assert tidy(few, place, whole=True) == []


def test_a_release_under_way_is_not_waited_for_after_a_window(place: Place) -> None:
    promotions(place, 5)
    with place.locks.release("toy"):
        freed = tidy(Retention(releases=1), place)
    assert "releases" not in {each.kind for each in freed}
    assert len(left(place, "models")) == 5


def test_no_number_may_be_zero() -> None:
    with pytest.raises(ConfigurationError, match=r"retention\.jobs is 0; at least 1 has to be kept"):
        build(resolve(["stream=flights", "retention.jobs=0"])["retention"], "retention")


def in_a_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "stream").mkdir()
    (folder / "stream" / "toy.yaml").write_text(
        "# @package _global_\nstream:\n  name: toy\n  target: wear\n  columns: {speed: number}\n"
        "  source: {_target_: engine.windows.ParquetFolder, folder: windows}\n"
    )
    monkeypatch.chdir(folder)


def test_the_verb_says_what_it_would_free_then_frees_it(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_project(tmp_path, monkeypatch)
    promotions(place, 5)
    settings = [f"platform.state={tmp_path}", "retention.jobs=1", "retention.releases=1"]
    assert place_of(resolve(settings), place.ledger).repository.root == tmp_path / "models"
    dry = CliRunner().invoke(app.cli, ["gc", "--dry-run", *settings])
    assert dry.output.splitlines() == [
        "jobs              2               20 bytes  toy.0000000200000000.1, toy.0000000300000000.1",
        "releases          2               20 bytes  2, 3",
        "would free 40 bytes",
    ]
    assert CliRunner().invoke(app.cli, ["gc", *settings]).output.endswith("freed 40 bytes\n")
    assert CliRunner().invoke(app.cli, ["gc", *settings]).output == "nothing is too much\n"
    assert left(place, "models") == ["1", "4", "5"]


@pytest.mark.parametrize("options", [["--dry-run"], []])
def test_the_verb_leaves_an_empty_project_empty(options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_project(tmp_path, monkeypatch)
    assert CliRunner().invoke(app.cli, ["gc", *options, "stream=toy"]).output == "nothing is too much\n"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["stream", "toy.yaml"]


def test_2000_windows_stay_small_and_quick(place: Place) -> None:
    count = 2000
    cycles, steps = [], []
    for n in range(count):
        window = story.window(n + 1)
        id = f"toy:{window.digest[:16]}:1"
        at = 1.7e9 + 3600 * n
        cycles.append(
            {
                "id": id,
                "stream": "toy",
                "window_id": window.id,
                "digest": window.digest,
                "attempt": 1,
                "sequence": 1,
                "rows": window.rows,
            }
            | {"window": encode(window), "opened": at, "closed": at + 1, "outcome": "kept", "version": 1, "reason": "quiet"}
        )
        results = {
            "configuration": {"stream": "x" * 2000},
            "drift": story.drifted(n, 0.1),
            "score": LiveScore(1, Score(800, {"rmse": 1.0}), "/gone"),
            "decide": Decision(False, "none", "quiet"),
            "close": Closing(Outcome.KEPT, "quiet", 1),
        }
        steps += [
            {"cycle": id, "name": name, "result": encode(result), "started": at, "finished": at + 1}
            for name, result in results.items()
        ]
    with place.ledger.engine.begin() as tx:
        tx.execute(tables.cycles.insert(), cycles)
        tx.execute(tables.steps.insert(), steps)
    answers = place.state / "answers" / "toy"
    answers.mkdir(parents=True)
    for row in cycles[-600:]:
        (answers / f"{row['window_id']}.{row['digest'][:12]}.npy").touch()

    started = time.process_time()
    assert report.stream_status(place.ledger, "toy")["counts"] == {"kept": count}
    assert time.process_time() - started < 1.0

    started = time.process_time()
    freed = {each.kind: len(each.names) for each in tidy(Retention(), place)}
    assert freed == {"answers": 100, "steps": 64}
    assert time.process_time() - started < 1.0
    freed = {each.kind: len(each.names) for each in tidy(Retention(), place, whole=True)}
    assert freed == {"steps": count - 1000 - 64}
    assert len(left(place, "answers")) == 500
