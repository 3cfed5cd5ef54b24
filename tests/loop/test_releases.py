"""Rollback, approval and outages around a release, with a real Triton."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from toy import SCHEMA, Toy, rows

from engine.configuration import ConfigurationError, resolve
from engine.data import table
from engine.locks import Busy
from engine.nouns import Release
from engine.opening import registry_of, releases_of
from engine.releases import CannotRelease
from serving.endpoint import Endpoint
from serving.repository import Repository


def promote(toy: Toy, *days: int) -> None:
    """Each of these days turns the relation around and is promoted."""
    with toy.engine() as engine:
        for day in days:
            toy.land(f"day-{day}", rows(day, turned=day % 2 == 0))
            assert [closing.outcome for closing in engine.carry_pending()] == ["promoted"]


@contextmanager
def at_work(toy: Toy, *overrides: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`warmstart update` as a process of its own whose job waits until the yielded file is removed."""
    root, flag = Path(__file__).parents[2], toy.root / "training"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(Path(__file__).parent)])}
    slow = ["strategy._target_=trouble.Slow", f"+strategy.flag={flag}"]
    command = [sys.executable, "-m", "engine.app", "update", "stream=toy", *slow, *overrides]
    log = (toy.root / "update.log").open("w")
    with log, subprocess.Popen(command, cwd=toy.root, env=environment, text=True, stdout=log, stderr=log) as process:
        try:
            yield process, flag
            process.wait(60)
        finally:
            process.kill()


def test_rollback_puts_the_previous_version_back_and_holds_the_stream_until_it_is_resumed(toy: Toy):
    promote(toy, 2)
    assert toy("rollback") == 0
    assert toy.answer().version == 1
    assert toy.aliases() == {"champion": 1}
    assert toy.held().startswith("rolled back from version 2 to 1 by ")

    toy.land("day-4", rows(4, turned=True))
    toy("update")
    assert toy.outcomes()[-1] == ("day-4", "kept", 1)
    assert toy.cycles()[-1].reason.startswith("the stream is held (rolled back from version 2 to 1")

    assert toy("resume") == 0
    assert toy.held() is None
    promote(toy, 6)
    assert toy.answer().version == 3
    assert toy.aliases() == {"champion": 3, "previous": 1}


def test_two_rollbacks_go_back_two_versions_and_a_third_says_that_there_is_none(toy: Toy):
    promote(toy, 2, 3)
    toy("rollback")
    assert (toy.answer().version, toy.aliases()) == (2, {"champion": 2, "previous": 1})
    toy("rollback")
    assert (toy.answer().version, toy.aliases()) == (1, {"champion": 1})
    with pytest.raises(CannotRelease, match="version 1 is the first one released; there is nothing to roll back to"):
        toy("rollback")


def test_rollback_goes_to_the_version_that_is_asked_for_forwards_too(toy: Toy):
    promote(toy, 2, 3)
    toy("rollback", "--to", "1")
    assert (toy.answer().version, toy.aliases()) == (1, {"champion": 1})
    toy("rollback", "--to", "3")
    assert (toy.answer().version, toy.aliases()) == (3, {"champion": 3, "previous": 2})
    with pytest.raises(CannotRelease, match="version 3 is live already"):
        toy("rollback", "--to", "3")
    with pytest.raises(CannotRelease, match="version 9 was never released; these were: 1, 2, 3"):
        toy("rollback", "--to", "9")
    assert Repository(toy.models.parent).prune("toy", keep=1, spare={1}) == (2,)
    words = r"version 2 cannot be put back: its files are no longer in the model repository \(`retention.releases`\)"
    with pytest.raises(CannotRelease, match=rf"{words}; these can be: 1, 3"):
        toy("rollback", "--to", "2")
    registry_of(resolve(["stream=toy"])).remove_files(2)
    with pytest.raises(CannotRelease, match=rf"{words} nor in MLflow \(`retention.checkpoints`\); these can be: 1, 3"):
        toy("rollback", "--to", "2")
    assert toy.answer().version == 3


def test_a_stream_without_a_release_has_nothing_to_roll_back(empty: Toy):
    with pytest.raises(CannotRelease, match="stream 'toy' has no released version yet"):
        empty("rollback")


def test_rollback_works_when_no_server_runs_and_the_next_server_serves_it(toy: Toy):
    promote(toy, 2)
    toy.stop()
    assert toy("rollback") == 0
    assert toy.server() is None  # the one that rollback started to verify is gone with it
    toy.serve()
    assert toy.answer().version == 1


def test_rollback_during_a_training_takes_less_than_a_second_and_its_challenger_waits_for_a_person(
    toy: Toy, until: Callable[..., None], capsys: pytest.CaptureFixture[str]
):
    promote(toy, 2)
    toy.land("day-3", rows(3))
    with at_work(toy, "gate.margin=-1") as (update, flag):
        until(flag.exists)
        with releases_of(resolve(["stream=toy"]), "rollback") as releases:
            begin = time.perf_counter()
            releases.rollback(None, "the test")
            seconds = time.perf_counter() - begin
        assert toy.answer().version == 1
        flag.unlink()
    assert update.returncode == 3
    assert toy.outcomes()[-1] == ("day-3", "waiting", 3)
    assert "the stream is held (rolled back from version 2 to 1" in toy.cycles()[-1].reason
    judged = [toy.result(toy.cycles()[-1], f"judge.{turn}")["champion_version"] for turn in (1, 2)]
    assert judged == [2, 1]
    assert toy.answer().version == 1
    with capsys.disabled():
        print(f"\nrollback during a training: {seconds * 1000:.0f} ms from lock to verified answer")
    assert seconds < 1


def test_a_version_whose_champion_is_gone_cannot_be_approved_and_can_be_tried_again(toy: Toy):
    promote(toy, 2)
    toy.land("day-3", rows(3))
    assert toy("update", "stream.require_approval=true") == 3
    toy("rollback")
    with pytest.raises(ConfigurationError, match="version 3 was judged against version 2, but version 1 is champion now; "):
        toy("approve")
    toy("resume")
    assert toy("retry", "day-3", "trigger=always", "gate.margin=-1") == 0
    assert toy.outcomes()[-2:] == [("day-3", "rejected", 3), ("day-3", "promoted", 4)]


def test_a_waiting_version_may_be_approved_while_the_stream_is_held(toy: Toy):
    promote(toy, 2)
    toy("rollback")
    toy("resume")
    toy.land("day-4", rows(4, turned=True))
    assert toy("update", "stream.require_approval=true") == 3
    with toy.ledger() as ledger:
        ledger.hold("toy", "somebody looks into it")
    assert toy("approve") == 0
    assert toy.answer().version == 3
    assert toy.held() == "somebody looks into it"


def test_a_server_killed_in_the_middle_of_a_cycle_is_started_again_and_the_cycle_ends(toy: Toy):
    toy.land("day-2", rows(2, turned=True))
    killed = []

    def kill(window: object, step: str) -> None:
        if step in ("predict", "stage.1", "release.1") and step not in killed:
            killed.append(step)
            os.kill(toy.server().pid, signal.SIGKILL)

    with toy.engine("platform.retries=[0,0,0,0]") as engine:
        engine.listener.step = kill  # type: ignore[method-assign]
        assert [closing.outcome for closing in engine.carry_pending()] == ["promoted"]
        assert toy.answer().version == 2
    assert killed == ["predict", "stage.1", "release.1"]


def test_the_second_engine_on_a_stream_names_the_first_and_exits_with_4(toy: Toy, until: Callable[..., None]):
    from engine import app

    toy.land("day-2", rows(2, turned=True))
    with at_work(toy) as (update, flag):
        until(flag.exists)
        with pytest.raises(Busy, match=f"stream 'toy' is in use by `warmstart update`, process {update.pid} on ") as busy:
            toy("run")
        assert app._known(busy.value) == 4
        flag.unlink()
    assert update.returncode == 0


def test_retry_beside_a_working_engine_is_queued_for_it(toy: Toy, until: Callable[..., None], capsys: pytest.CaptureFixture[str]):
    toy.land("day-2", rows(2))
    toy("update")
    toy.land("day-3", rows(3, turned=True))
    with at_work(toy) as (_, flag):
        until(flag.exists)
        toy("retry", "day-2")
        flag.unlink()
    assert "queued: stream 'toy' is in use by `warmstart update`" in capsys.readouterr().out
    assert [(c.window.id, c.attempt, c.outcome) for c in toy.cycles()[-2:]] == [("day-3", 1, "promoted"), ("day-2", 2, None)]


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"  # ended, and nobody asked yet
    except FileNotFoundError:
        return False


def test_a_job_does_not_outlive_an_engine_that_was_killed(toy: Toy, until: Callable[..., None]):
    toy.land("day-2", rows(2, turned=True))
    with at_work(toy) as (update, flag):
        until(lambda: flag.exists() and flag.read_text())
        job = int(flag.read_text())
        update.kill()
        until(lambda: not running(job), 5.0)


def test_a_server_that_a_killed_engine_left_running_is_taken_over_and_stopped_in_the_end(toy: Toy, until: Callable[..., None]):
    toy.stop()
    toy.land("day-2", rows(2, turned=True))
    with at_work(toy, "+strategy.seconds=2") as (update, flag):
        until(flag.exists)
        left = toy.server()
        update.kill()
        update.wait()
    with toy.engine() as engine:
        assert toy.server().pid == left.pid
        assert [closing.outcome for closing in engine.carry_pending()] == ["promoted"]
        assert toy.answer().version == 2
    assert toy.server() is None


# killed between the steps of a release


def perform(toy: Toy, work: Callable[[Any], Release | None]) -> Release | None:
    with releases_of(resolve(["stream=toy"]), "test") as releases:
        return work(releases)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def killed_in(toy: Toy, monkeypatch: pytest.MonkeyPatch, where: str, work: Callable[[Any], object]) -> None:
    """Do the work and die when it comes to a method of the registry or the ledger."""
    from engine.ledger import Ledger
    from engine.registry import Registry

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Registry if where == "promote" else Ledger, where, die)
        with pytest.raises(Killed):
            perform(toy, work)


def test_rollback_undoes_a_promotion_that_was_killed_halfway(toy: Toy, monkeypatch: pytest.MonkeyPatch):
    from engine.registry import Registry

    toy.land("day-2", rows(2, turned=True))
    with toy.engine() as engine, monkeypatch.context() as patch:

        def die(*_: object) -> None:
            raise Killed

        patch.setattr(Registry, "promote", die)
        with pytest.raises(Killed):
            list(engine.carry_pending())
    assert toy.answer().version == 2
    assert toy("rollback") == 0
    assert (toy.answer().version, toy.aliases()) == (1, {"champion": 1})
    assert toy("update") == 3
    assert toy.outcomes()[-1] == ("day-2", "waiting", 2)
    assert toy.answer().version == 1


def test_an_approval_that_was_killed_halfway_is_finished_at_the_next_start(toy: Toy, monkeypatch: pytest.MonkeyPatch):
    toy.land("day-2", rows(2, turned=True))
    toy("update", "stream.require_approval=true")
    cycle = toy.cycles()[-1]
    killed_in(toy, monkeypatch, "finish", lambda releases: releases.approve(cycle, 1, "the test"))
    assert toy.outcomes()[-1] == ("day-2", "waiting", 2)
    toy.land("day-3", rows(3, turned=True))
    toy("update", "stream.require_approval=true")
    assert toy.outcomes()[1:] == [("day-2", "promoted", 2), ("day-3", "waiting", 3)]
    assert (toy.answer().version, toy.aliases()) == (2, {"champion": 2, "previous": 1})


def test_a_rollback_that_was_killed_halfway_is_finished_before_anything_else_is_released(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
):
    promote(toy, 2)
    with toy.engine("trigger=always", "gate.margin=-1") as engine:  # it works all the while and does not start again
        killed_in(toy, monkeypatch, "finish", lambda releases: releases.rollback(None, "the test"))
        toy("resume")
        toy.land("day-3", rows(3))
        assert [closing.outcome for closing in engine.carry_pending()] == ["promoted"]
    assert [(r.version, r.cause, r.state) for r in toy.releases()[2:]] == [(1, "rollback", "done"), (3, "promotion", "done")]
    assert toy.aliases() == {"champion": 3, "previous": 1}


def test_no_request_fails_while_versions_come_and_go(toy: Toy):
    failed, answered, stop = [], set(), threading.Event()
    endpoint = Endpoint(toy.server().address)
    inputs = table.inputs(rows(99, count=2), SCHEMA)

    def ask() -> None:
        while not stop.is_set():
            try:
                answered.add(endpoint.infer("toy", inputs).version)
            except Exception as error:
                failed.append(error)
            time.sleep(0.005)

    client = threading.Thread(target=ask)
    client.start()
    try:
        promote(toy, 2)
        toy("rollback")
    finally:
        stop.set()
        client.join()
        endpoint.close()
    assert failed == []
    assert answered == {1, 2}
