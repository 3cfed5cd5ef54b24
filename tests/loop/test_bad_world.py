"""Whatever goes wrong around the engine ends in one clear sentence, and the next good window is served."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import impostors
import numpy as np
import polars as pl
import pytest
from pydantic import TypeAdapter
from toy import ROWS, STREAM, Toy, one, rows, the_next_good_window_is_served

import serving.endpoint
from engine import app, jobs, verbs
from engine.data import table
from engine.jobs import JobLost
from engine.loop import Interrupted, Loop
from engine.nouns import JobFailure, JobSpec
from serving.errors import Unreachable
from serving.processes import kill_all

DAYS = itertools.count(200)
EXTERNAL = ("serving=external", "serving.repository=.warmstart/models")


@pytest.fixture(scope="module")
def at_work(founded: Toy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Toy, Loop]]:
    """One engine at work through all of this, as it would be."""
    project = founded.copy(tmp_path_factory.mktemp("world") / "project")
    with project.served() as toy, toy.engine("gate.margin=1000", "stream.contract.learn=0") as engine:
        yield toy, engine


@contextlib.contextmanager
def at_step(engine: Loop, step: str, act: Callable[[], object]) -> Iterator[None]:
    """`act` happens once, when that step is about to begin."""
    left = [step]

    def begins(window: object, name: str) -> None:
        if [name] == left:
            left.clear()
            act()

    before, engine.listener.step = engine.listener.step, begins  # type: ignore[method-assign]
    try:
        yield
        assert not left, f"no step {step}"
    finally:
        engine.listener.step = before  # type: ignore[method-assign]


@contextlib.contextmanager
def outages(engine: Loop, act: Callable[[], object] = lambda: None) -> Iterator[list[str]]:
    """What the loop says of outages; `act` happens at each."""
    said: list[str] = []

    def outage(error: Exception, wait: float) -> None:
        said.append(str(error))
        act()

    before, engine.listener.outage = engine.listener.outage, outage  # type: ignore[method-assign]
    try:
        yield said
    finally:
        engine.listener.outage = before  # type: ignore[method-assign]


# windows


def gone(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("step", ["validate", "predict"])
@pytest.mark.parametrize(("change", "why"), [(gone, "it is gone"), (a_folder, "it cannot be read (Is a directory)")])
def test_a_window_that_is_lost_while_it_is_carried_is_quarantined(
    at_work: tuple[Toy, Loop], step: str, change: Callable[[Path], None], why: str
) -> None:
    toy, engine = at_work
    day = next(DAYS)
    path = toy.land(f"day-{day}", rows(day))
    with at_step(engine, step, lambda: change(path)):
        closing = one(engine)
    assert closing.outcome == "quarantined"
    assert closing.reason.startswith(f"{why}: deliver it again, or put the file back and `warmstart retry` it (report: ")
    if path.is_dir():
        path.rmdir()
    the_next_good_window_is_served(toy, engine, next(DAYS))


@pytest.mark.parametrize("step", ["train", "judge.1"])
def test_a_window_that_is_lost_before_it_was_learnt_from_is_quarantined(at_work: tuple[Toy, Loop], step: str) -> None:
    toy, engine = at_work
    day = next(DAYS)
    path = toy.land(f"day-{day}", rows(day, turned=True))
    with at_step(engine, step, path.unlink):
        closing = one(engine)
    assert closing.outcome == "quarantined"
    assert closing.reason.startswith("it is gone: deliver it again")
    the_next_good_window_is_served(toy, engine, next(DAYS))


def test_other_bytes_under_a_windows_name_are_a_window_of_their_own(at_work: tuple[Toy, Loop]) -> None:
    toy, engine = at_work
    day = next(DAYS)
    toy.land(f"day-{day}", rows(day))
    with at_step(engine, "predict", lambda: toy.land(f"day-{day}", rows(day + 1000))):
        closing = one(engine)
    assert closing.outcome == "quarantined"
    assert closing.reason.startswith("other bytes are there now than those that landed: deliver it again")
    assert not list((toy.state / "quarantine" / "toy").glob(f"day-{day}.*.parquet"))
    assert (one(engine).outcome, toy.answer().version) == ("kept", 1)


def test_older_windows_that_are_lost_are_left_out_of_the_training_and_explain_says_so(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    second = toy.land("day-2", rows(2))
    with toy.engine() as engine:
        assert one(engine).outcome == "kept"
        second.unlink()
        toy.land("day-1", rows(0))
        assert one(engine).outcome == "kept"
        toy.land("day-3", rows(3, turned=True))
        assert (one(engine).outcome, toy.answer().version) == ("promoted", 2)
    training = toy.result(toy.cycles()[-1], "train")
    assert training["windows"] == ["day-1", "day-3"]
    assert training["rows_fit"] + training["rows_stop"] + training["rows_judge"] == 1600
    toy("explain", "day-3")
    said = capsys.readouterr().out
    assert "without the window day-2: it is gone" in said
    assert "without the window day-1: other bytes are there now than those that landed" in said


def test_a_window_older_than_the_last_is_carried_in_its_turn_and_cut_by_its_time(toy: Toy) -> None:
    with toy.engine() as engine:
        toy.land("day-5", rows(5))
        assert one(engine).outcome == "kept"
        toy.land("day-4", rows(4))
        assert one(engine).outcome == "kept"
        toy.land("day-6", rows(6, turned=True))
        assert (one(engine).outcome, toy.answer().version) == ("promoted", 2)
        toy.land("day-3", rows(3))
        assert one(engine).outcome in ("kept", "promoted", "rejected")
    assert [window for window, *_ in toy.outcomes()] == ["day-1", "day-5", "day-4", "day-6", "day-3"]
    job = toy.state / "jobs" / "toy" / toy.cycles()[3].id.replace(":", ".") / "job.json"
    spec = TypeAdapter(JobSpec).validate_json(job.read_bytes())
    fresh = table.read(spec.fresh, spec.schema)["at"]
    assert fresh.is_sorted()
    assert fresh[-480:].min() >= rows(6)["at"].min()


# large and wide ones


@pytest.mark.slow
def test_a_window_a_thousand_times_larger_than_the_last_takes_bounded_memory_and_time(toy: Toy) -> None:
    toy.land("day-2", rows(2, turned=True, count=800_000))
    peak = toy.root / "peak.txt"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parent)])}
    command = [sys.executable, "-m", "engine.app", "update", "+strategy.most_steps=2000"]
    measured = ["model._target_=trouble.Measured", f"+model.peak={peak}"]
    began = time.monotonic()
    with (toy.root / "said.txt").open("w") as said:
        child = subprocess.Popen([*command, *measured], cwd=toy.root, env=environment, stdout=said, stderr=said)
        _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, (toy.root / "said.txt").read_text()
    assert toy.outcomes()[-1] == ("day-2", "promoted", 2)
    assert toy.result(toy.cycles()[-1], "train")["steps"] == 2000
    seconds, engine_peak, job_peak = time.monotonic() - began, used.ru_maxrss * 1024, int(peak.read_text())
    print(f"{seconds:.0f} s; at most {engine_peak / 2**20:.0f} MiB in the engine, {job_peak / 2**20:.0f} MiB in the job")
    assert engine_peak < 1.5e9
    assert job_peak < 1.5e9
    assert seconds < 240
    with toy.engine() as engine:
        toy.land("day-3", rows(3, turned=True))
        assert (one(engine).outcome, toy.answer().version) == ("kept", 2)


@pytest.mark.slow
def test_five_hundred_columns_are_served(empty: Toy) -> None:
    names = [f"c{number}" for number in range(500)]
    listed = "\n".join(f"    {name}: number" for name in names)
    stream = STREAM.replace("    speed: number\n    load: number\n    kind: category", listed)
    (empty.root / "stream" / "toy.yaml").write_text(stream)

    def wide(seed: int) -> pl.DataFrame:
        numbers = np.random.default_rng(seed).normal(size=(ROWS, 500))
        return pl.DataFrame(numbers, schema=names).with_columns(rows(seed)["at"], wear=pl.col("c0") + pl.col("c499"))

    with empty.engine() as engine:
        empty.land("day-1", wide(1))
        assert one(engine).outcome == "promoted"
        empty.land("day-2", wide(2))
        assert one(engine).outcome == "kept"


# jobs


def test_a_job_that_always_dies_is_given_up_after_three_deaths_over_all_starts(toy: Toy) -> None:
    toy.land("day-2", rows(2, turned=True))
    dies = ("strategy._target_=trouble.AlwaysDies", "platform.retries=[0.01]")
    with toy.engine(*dies) as engine, pytest.raises(Interrupted, match="ended without a word: killed by signal 9 "):
        one(engine)
    with toy.engine(*dies) as engine:
        closing = one(engine)
        assert closing.outcome == "rejected"
        assert closing.reason == (
            "the training job ended 3 times without a word: killed by signal 9 (Killed; out of memory?); "
            "the last that it said: so much memory"
        )
    with toy.engine() as engine:
        toy.land("day-3", rows(3, turned=True))
        assert (one(engine).outcome, toy.answer().version) == ("promoted", 2)


def test_a_job_that_somebody_stopped_is_not_counted_as_dead(tmp_path: Path) -> None:
    for _ in range(5):
        with pytest.raises(JobLost, match=r"killed by signal 15 \(Terminated\)"):
            jobs.died(tmp_path / "job", -signal.SIGTERM)
    for code in (-signal.SIGSEGV, 255):
        with pytest.raises(JobLost):
            jobs.died(tmp_path / "job", code)
    assert jobs.died(tmp_path / "job", 1) == JobFailure("the training job ended 3 times without a word: exit code 1")


# the model server


def dead(toy: Toy) -> None:
    server = toy.server()
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)
    while server.answers():
        time.sleep(0.01)


@pytest.mark.parametrize("step", ["validate", "predict", "close"])
def test_a_server_that_is_killed_is_started_again_and_the_window_ends(at_work: tuple[Toy, Loop], step: str) -> None:
    toy, engine = at_work
    day = next(DAYS)
    toy.land(f"day-{day}", rows(day))
    with at_step(engine, step, lambda: dead(toy)), outages(engine) as said:
        assert one(engine).outcome == "kept"
    if step != "close":
        assert said[0].startswith("no model server answers at 127.0.0.1:")
    the_next_good_window_is_served(toy, engine, next(DAYS))


@pytest.mark.parametrize("other", [impostors.web, impostors.mute])
def test_other_programs_on_the_ports_of_a_killed_server_are_left_alone(
    at_work: tuple[Toy, Loop], other: Callable[..., contextlib.AbstractContextManager[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, engine = at_work
    monkeypatch.setattr("serving.probing.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(serving.endpoint, "CONTROL_SECONDS", 0.5)
    day = next(DAYS)
    toy.land(f"day-{day}", rows(day))
    server = toy.server()
    assert server is not None
    grpc, http = (int(address.rpartition(":")[2]) for address in (server.address, server.http))
    with contextlib.ExitStack() as there:

        def taken() -> None:
            kill_all(server.id)  # with its stubs, which inherit its ports
            for port in (grpc, http):
                impostors.until_free(port)
                there.enter_context(other(port=port))

        with at_step(engine, "predict", taken), outages(engine) as said:
            assert one(engine).outcome == "kept"
    assert len(said) == 1
    now = toy.server()
    assert now is not None
    assert now.address != server.address
    the_next_good_window_is_served(toy, engine, next(DAYS))


def test_a_server_that_stands_still_is_waited_for(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    server = toy.server()
    assert server is not None
    monkeypatch.setattr(serving.endpoint, "CONTROL_SECONDS", 0.5)
    toy.land("day-2", rows(2))
    with toy.engine(*EXTERNAL, f"serving.addresses=[{server.address}]", "platform.retries=[0.01,0.01,0.01]") as engine:
        times = iter(range(10))

        def go_on_at_the_second() -> None:
            if next(times) == 1:
                os.kill(server.pid, signal.SIGCONT)

        stop = lambda: os.kill(server.pid, signal.SIGSTOP)  # noqa: E731
        with at_step(engine, "predict", stop), outages(engine, go_on_at_the_second) as said:
            assert one(engine).outcome == "kept"
    assert len(said) == 2
    assert all("did not answer" in words and "within 0.5 s; look at its log" in words for words in said)
    assert toy.answer().version == 1


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (impostors.mute, "the model server at {} did not answer `get_model_repository_index` within 0.5 s; look at its log"),
        (impostors.another_grpc, "what answers at {} is no model server (Method not found!); correct the address"),
        (impostors.web, "no model server answers at {} ("),
    ],
)
def test_an_address_where_something_else_answers_is_named(
    toy: Toy,
    other: Callable[[], contextlib.AbstractContextManager[int]],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving.endpoint, "CONTROL_SECONDS", 0.5)
    toy.land("day-2", rows(2))
    with other() as port:
        with pytest.raises(Unreachable) as error:
            toy("update", *EXTERNAL, f"serving.addresses=[127.0.0.1:{port}]")
        assert str(error.value).startswith(message.format(f"127.0.0.1:{port}"))
        assert app._known(error.value) == verbs.OUTAGE
    with toy.engine() as engine:
        assert (one(engine).outcome, toy.answer().version) == ("kept", 1)


# MLflow


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: contextlib.nullcontext(impostors.nobody()), "MLflow does not answer: API request to http://127.0.0.1:"),
        (lambda: impostors.web(status=500), "MLflow does not answer: API request to http://127.0.0.1:"),
        (lambda: impostors.web(status=404), "MLflow does not answer: API request to endpoint /api/2.0/mlflow/"),
        (
            lambda: impostors.web(b'{"error_code": "PERMISSION_DENIED", "message": "no"}', 403),
            "MLflow does not answer: PERMISSION_DENIED: no",
        ),
        (lambda: impostors.web(), "MLflow does not answer: API request to endpoint was successful but the response body was not"),
        (lambda: impostors.web(b'{"model_version": 5}'), "what answers in the place of MLflow is something else: "),
    ],
    ids=["nobody", "500", "404", "403", "a web page", "JSON"],
)
def test_an_mlflow_that_is_away_or_is_something_else_interrupts_and_loses_nothing(
    toy: Toy, other: Callable[[], contextlib.AbstractContextManager[int]], message: str
) -> None:
    toy.land("day-2", rows(2))
    with other() as port, toy.engine(f"platform.mlflow=http://127.0.0.1:{port}", "platform.retries=[0.01]") as engine:
        with outages(engine) as said, pytest.raises(Interrupted) as error:
            one(engine)
        assert len(said) == 1
    assert str(error.value).startswith(f"window day-2 is left unfinished, nothing is lost: {message}")
    assert app._known(error.value) == verbs.OUTAGE
    with toy.engine() as engine:
        assert (one(engine).outcome, toy.answer().version) == ("kept", 1)


@pytest.mark.long
@pytest.mark.slow
def test_an_mlflow_server_that_dies_and_comes_back_is_waited_for(toy: Toy) -> None:
    port = impostors.nobody()
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        """The real server, on the database that this project has already."""
        store = f"sqlite:///{toy.state / 'mlflow.db'}"
        place = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, *place]
        with (toy.root / "mlflow.txt").open("a") as said:
            process = subprocess.Popen(
                [*command, "--no-serve-artifacts"], cwd=toy.root, stdout=said, stderr=said, start_new_session=True
            )
        running.append(process)
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
                assert answer.status == 200
                return
            time.sleep(0.1)
        raise AssertionError((toy.root / "mlflow.txt").read_text())

    def stop() -> None:
        os.killpg(running[-1].pid, signal.SIGKILL)
        running[-1].wait()

    start()
    try:
        with toy.engine(f"platform.mlflow=http://127.0.0.1:{port}", "platform.retries=[0.01,0.01]") as engine:
            toy.land("day-2", rows(2, turned=True))
            with at_step(engine, "register", stop), outages(engine, start) as said:
                assert one(engine).outcome == "promoted"
            assert len(said) == 1
            assert said[0].startswith(f"MLflow does not answer: API request to http://127.0.0.1:{port}/api/2.0/mlflow/")
            assert toy.aliases() == {"champion": 2, "previous": 1}
            toy.land("day-3", rows(3, turned=True))
            assert (one(engine).outcome, toy.answer().version) == ("promoted", 3)
    finally:
        stop()


# the clock


def test_a_clock_that_is_set_back_changes_no_order_and_no_duration(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Not everybody's: gRPC counts its deadlines in Python's time, and takes them for its own, which stays.
    shift = [0.0]
    set_back = SimpleNamespace(**vars(time) | {"time": lambda: time.time() + shift[0]})
    ledger = (f"ledger.{each}" for each in ("cycles", "database", "events", "releases", "results", "steps"))
    for module in (*ledger, "registry", "windows"):
        monkeypatch.setattr(f"engine.{module}.time", set_back)
    with toy.engine("gate.margin=-1") as engine:
        toy.land("day-2", rows(2))
        assert one(engine).outcome == "kept"
        shift[0] = -3600.0
        toy.land("day-3", rows(3))
        assert one(engine).outcome == "kept"
        toy.land("day-4", rows(4, turned=True))
        with at_step(engine, "judge.1", lambda: shift.__setitem__(0, -86_400.0)):
            assert one(engine).outcome == "promoted"
        toy.land("day-5", rows(5, turned=True))
        one(engine)
    assert [window for window, *_ in toy.outcomes()] == ["day-1", "day-2", "day-3", "day-4", "day-5"]
    assert toy.result(toy.cycles()[3], "train")["windows"] == ["day-1", "day-2", "day-3", "day-4"]
    with toy.ledger() as ledger:
        for cycle in toy.cycles():
            steps = ledger.steps(cycle.id)
            assert steps[0].name == "configuration"
            assert steps[-1].name == "close"
            assert cycle.opened <= steps[0].started
            assert all(a.finished <= b.started for a, b in itertools.pairwise(steps))
            assert all(0 <= step.finished - step.started < 60 for step in steps)
            assert cycle.closed == steps[-1].finished
    capsys.readouterr()
    toy("status", "--json")
    (found,) = json.loads(capsys.readouterr().out)["streams"]
    assert [line["window"] for line in found["last"]] == ["day-1", "day-2", "day-3", "day-4", "day-5"]
    assert all(0 <= line["seconds"] < 120 for line in found["last"])
    assert (toy("explain", "day-4"), toy("report")) == (0, 0)


# one release at a time


def test_who_approves_a_version_does_not_clear_away_the_one_that_is_just_being_staged(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    import serving.repository

    toy.land("day-2", rows(2, turned=True))
    assert toy("update", "stream.require_approval=true") == 3
    toy.land("day-3", rows(3, turned=True))
    approving = threading.Thread(target=toy, args=("approve",))
    link = os.link

    def linked(*args: object) -> None:
        link(*args)  # type: ignore[arg-type]
        if not approving.ident:
            approving.start()
            time.sleep(0.5)

    monkeypatch.setattr(serving.repository.os, "link", linked)
    with toy.engine("gate.margin=-1") as engine:
        assert one(engine).outcome == "promoted"
        approving.join()
    assert toy.outcomes()[1:] == [("day-2", "promoted", 2), ("day-3", "promoted", 3)]
    assert toy.answer().version == 3
    assert toy.aliases() == {"champion": 3, "previous": 2}
