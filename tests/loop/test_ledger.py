"""The ledger on SQLite and on PostgreSQL: what was done once stays done."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from postgres import Cluster

from engine.ledger import Ledger
from engine.ledger.codec import decode
from engine.ledger.cycles import INTERRUPTED, SEQUENCE
from engine.ledger.database import FencedOut, LedgerError
from engine.ledger.rows import Cycle
from engine.ledger.steps import Steps
from engine.ledger.tables import LAYOUT, layout
from engine.nouns import Acceptance, Closing, Decision, Outcome, Score, Window

ONE = Window("toy", "day-1", "/data/day-1.parquet", "a" * 64, 800, "2024-01-01T00:00:00", "2024-01-01T13:19:00")
TWO = replace(ONE, id="day-2", digest="b" * 64)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.database()


@pytest.fixture
def another(url: str) -> Iterator[Callable[[], Ledger]]:
    """Open the ledger as one more process would."""
    opened: list[Ledger] = []

    def start() -> Ledger:
        opened.append(Ledger(url))
        return opened[-1]

    yield start
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(another: Callable[[], Ledger]) -> Ledger:
    return another()


def kept(version: int | None = 1) -> Closing:
    return Closing(Outcome.KEPT, "nothing drifted", version)


def test_a_finished_step_answers_from_the_ledger_after_a_restart(ledger: Ledger, another: Callable[[], Ledger]):
    runs = []

    def measure() -> Score:
        runs.append(1)
        return Score(800, {"rmse": 1.5, "worst": math.inf, "none": math.nan})

    first = Steps(ledger, ledger.open(ONE))("score", measure)
    restarted = another()
    second = Steps(restarted, restarted.open(ONE))("score", measure)
    assert len(runs) == 1
    assert repr(second) == repr(first)


def test_a_step_that_raises_is_not_recorded_and_runs_again(ledger: Ledger):
    tries = []

    def fails_once() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("disk on fire")
        return 7

    steps = Steps(ledger, ledger.open(ONE))
    with pytest.raises(OSError, match="disk on fire"):
        steps("risky", fails_once)
    assert steps("risky", fails_once) == 7
    assert steps("risky", fails_once) == 7
    assert len(tries) == 2


def test_a_step_is_recorded_once(ledger: Ledger):
    cycle = ledger.open(ONE)
    ledger.record(cycle, "score", 1, 0.0)
    with pytest.raises(sa.exc.IntegrityError):
        ledger.record(cycle, "score", 2, 0.0)
    assert ledger.step(cycle.id, "score").result == "1"


def test_a_closing_closes_its_cycle_and_opening_the_window_again_finds_it(ledger: Ledger):
    cycle = ledger.open(ONE)
    assert [c.id for c in ledger.unfinished("toy")] == [cycle.id]
    ledger.record(cycle, "close", kept(), 0.0)
    assert ledger.unfinished("toy") == []
    assert ledger.open(ONE).outcome == "kept"
    assert ledger.counts("toy") == {"kept": 1}


def test_another_attempt_has_steps_of_its_own(ledger: Ledger):
    first = ledger.open(ONE)
    ledger.record(first, "close", kept(), 0.0)
    second = ledger.again(ONE)
    assert (second.attempt, ledger.steps(second.id)) == (2, [])
    assert ledger.open(ONE).id == second.id


def test_an_acceptance_is_there_with_the_attempt_that_it_opens(ledger: Ledger):
    joined = replace(ONE, parts=("c" * 64, "d" * 64))
    ledger.record(ledger.open(joined), "close", Closing(Outcome.QUARANTINED, "too fast"), 0.0)
    second = ledger.again(joined, Acceptance("somebody", "the storm was real"))
    (step,) = ledger.steps(second.id)
    assert (step.name, decode(Acceptance, step.result)) == ("accept", Acceptance("somebody", "the storm was real"))
    assert ledger.open(joined) == replace(second, fresh=False)
    assert ledger.unfinished("toy")[0].window == replace(joined, accepted=True)
    assert not ledger.again(second.window).window.accepted, "a person accepts one attempt"


def test_work_begun_by_an_older_sequence_of_steps_starts_a_new_attempt(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    old = ledger.open(ONE)
    ledger.record(old, "validate", (), 0.0)
    monkeypatch.setattr("engine.ledger.cycles.SEQUENCE", SEQUENCE + 1)
    new = ledger.open(ONE)
    assert (new.attempt, ledger.steps(new.id)) == (2, [])
    assert ledger.cycle(old.id).outcome == INTERRUPTED


@pytest.mark.parametrize("killed", [False, True])
def test_what_a_person_accepted_stays_so_when_other_steps_begin_anew(
    killed: bool, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    ledger.record(ledger.open(ONE), "close", Closing(Outcome.QUARANTINED, "too fast"), 0.0)
    old = ledger.again(ONE, Acceptance("somebody", "the storm was real"))
    ledger.record(old, "validate", (), 0.0)
    monkeypatch.setattr("engine.ledger.cycles.SEQUENCE", SEQUENCE + 1)
    if killed:
        ledger._set_aside(old)
    new = ledger.open(ONE)
    (step,) = ledger.steps(new.id)
    assert (new.attempt, new.window.accepted, step.name) == (3, True, "accept")
    assert decode(Acceptance, step.result) == Acceptance("somebody", "the storm was real")


def test_a_kill_between_setting_aside_and_starting_anew_starts_anew(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    old = ledger.open(ONE)
    monkeypatch.setattr("engine.ledger.cycles.SEQUENCE", SEQUENCE + 1)
    ledger._set_aside(old)
    assert ledger.open(ONE).attempt == 2


def test_results_are_those_of_cycles_opened_after_a_moment(ledger: Ledger):
    first, second = ledger.open(ONE), ledger.open(TWO)
    for cycle in (first, second):
        ledger.record(cycle, "decide", Decision(False, "none", cycle.window.id), 0.0)
    assert [d.reason for _, d in ledger.results("toy", "decide", Decision)] == ["day-1", "day-2"]
    assert [d.reason for _, d in ledger.results("toy", "decide", Decision, since=first.opened)] == ["day-2"]


def test_a_newer_intention_supersedes_one_that_was_not_done(ledger: Ledger):
    ledger.intend("toy", 2, 1, "promotion", "toy:b:1")
    back = ledger.intend("toy", 1, 2, "rollback", None, hold="rolled back by the test")
    assert ledger.held("toy") == "rolled back by the test"
    ledger.finish(back, "done", Closing(Outcome.PROMOTED, "", 1))
    assert [(r.version, r.state) for r in ledger.releases("toy")] == [(2, "superseded"), (1, "done")]
    ledger.hold("toy", None)
    assert ledger.held("toy") is None


def test_steps_of_older_cycles_are_forgotten_but_for_lasting_ones_and_needed_cycles(ledger: Ledger):
    windows = [replace(ONE, id=f"day-{n}", digest=f"{n}" * 64) for n in range(6)]
    cycles = [ledger.open(window) for window in windows]
    for cycle in cycles:
        ledger.record(cycle, "score", 1.25, 0.0)
        ledger.record(cycle, "decide", Decision(False, "none", "quiet"), 0.0)
    for cycle in cycles[1:]:
        ledger.record(cycle, "close", kept() if cycle is not cycles[2] else Closing(Outcome.WAITING, "", 2), 0.0)
    assert [c.window.id for c in ledger.unsettled("toy")] == ["day-0", "day-2"]
    settings = {"keep": 1, "lasting": ("decide", "close"), "needed": {cycles[3].id}}
    assert ledger.forget("toy", **settings, most=1, dry_run=False) == (("day-4",), 4)
    assert ledger.forget("toy", **settings, most=None, dry_run=True) == (("day-1",), 4)
    assert ledger.forget("toy", **settings, most=None, dry_run=False) == (("day-1",), 4)
    assert ledger.forget("toy", **settings, most=None, dry_run=False) == ((), 0)
    assert [len(ledger.steps(c.id)) for c in cycles] == [2, 2, 3, 3, 2, 3]


def test_an_event_is_used_by_one_decision(ledger: Ledger):
    ledger.announce("toy", "new tariff", "ann")
    ledger.announce("other", "not ours", "ann")
    first, second = ledger.open(ONE), ledger.open(TWO)
    assert [(e.reason, e.who) for e in ledger.use(first)] == [("new tariff", "ann")]
    ledger.announce("toy", "came later", "bob")
    ledger.record(first, "decide", Decision(True, "event", "new tariff"), 0.0)
    assert [e.reason for e in ledger.announced("toy")] == ["came later"]
    assert [e.reason for e in ledger.use(second)] == ["came later"]
    ledger.record(second, "decide", Decision(True, "event", "came later"), 0.0)
    assert (ledger.announced("toy"), ledger.use(ledger.again(ONE))) == ([], [])


def test_an_event_whose_decision_was_never_recorded_is_there_for_the_next_attempt(ledger: Ledger):
    ledger.announce("toy", "new tariff", "ann")
    killed = ledger.open(ONE)
    assert [len(ledger.use(killed)) for _ in range(2)] == [1, 1]
    ledger._set_aside(killed)
    assert [e.reason for e in ledger.use(ledger.open(ONE))] == ["new tariff"]


def test_an_approved_release_ends_the_cycle_that_waited_for_it(ledger: Ledger):
    cycle = ledger.open(ONE)
    ledger.record(cycle, "close", Closing(Outcome.WAITING, "for a person", 2), 0.0)
    row = ledger.intend("toy", 2, 1, "approval", cycle.id)
    ledger.finish(row, "done", Closing(Outcome.PROMOTED, "approved by the test", 2))
    ended = ledger.cycle(cycle.id)
    assert (ended.outcome, ended.version, ended.reason) == ("promoted", 2, "approved by the test")


def test_whoever_was_taken_over_cannot_write_any_more(ledger: Ledger, another: Callable[[], Ledger]):
    successor = another()
    ledger.take_over("toy", "run", 1)
    cycle = ledger.open(ONE)
    successor.take_over("toy", "update", 2)
    with pytest.raises(FencedOut, match="another process has taken stream 'toy' over"):
        ledger.record(cycle, "score", 1, 0.0)
    with pytest.raises(FencedOut):
        ledger.open(TWO)
    successor.record(cycle, "score", 2, 0.0)
    assert successor.step(cycle.id, "score").result == "2"
    assert successor.holder("toy")["verb"] == "update"


def test_streams_do_not_see_each_other(ledger: Ledger):
    other = replace(ONE, stream="other")
    ledger.open(ONE)
    ledger.open(other)
    ledger.intend("other", 1, None, "promotion", None)
    assert ledger.stream_names() == ["other", "toy"]
    assert [c.window.stream for c in ledger.cycles("toy")] == ["toy"]
    assert ledger.releases("toy") == []


def test_many_processes_may_open_a_new_ledger_in_the_same_moment(url: str):
    def start(_: int) -> None:
        Ledger(url).close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, range(8)))
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        assert connection.execute(sa.select(layout.c.version)).scalars().all() == [LAYOUT]
    engine.dispose()


def test_a_ledger_of_another_layout_is_refused_with_the_remedy(url: str, monkeypatch: pytest.MonkeyPatch):
    Ledger(url).close()
    monkeypatch.setattr("engine.ledger.database.LAYOUT", 99)
    with pytest.raises(
        LedgerError, match=r"an older version of warmstart \(table layout 3, this one reads 99\): run an older version, or point"
    ):
        Ledger(url)


class Agrees(RuleBasedStateMachine):
    """Windows opened, steps recorded, closings, new attempts and restarts in any order, against a dictionary."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(self.url)
        self.stream = f"s{sum(1 for _ in self.ledger.stream_names())}"
        self.attempts: dict[str, list[dict[str, int]]] = {}
        self.ended: dict[str, bool] = {}

    def window(self, day: int) -> Window:
        return replace(ONE, stream=self.stream, id=f"day-{day}", digest=str(day) * 64)

    @rule(day=st.integers(1, 3))
    def opens(self, day: int) -> None:
        window = self.window(day)
        attempts = self.attempts.setdefault(window.id, [{}])
        assert self.ledger.open(window).attempt == len(attempts)

    @rule(day=st.integers(1, 3), name=st.sampled_from(["train", "judge"]), value=st.integers())
    def steps(self, day: int, name: str, value: int) -> None:
        def step() -> int:
            return value

        window = self.window(day)
        known = self.attempts.setdefault(window.id, [{}])[-1]
        assert Steps(self.ledger, self.ledger.open(window))(name, step) == known.setdefault(name, value)

    @rule(day=st.integers(1, 3))
    def closes(self, day: int) -> None:
        window = self.window(day)
        self.attempts.setdefault(window.id, [{}])
        assert Steps(self.ledger, self.ledger.open(window))("close", kept).outcome == "kept"
        self.ended[window.id] = True

    @precondition(lambda self: any(self.ended.values()))
    @rule()
    def tries_again(self) -> None:
        day = next(day for day, ended in self.ended.items() if ended)
        self.attempts[day].append({})
        self.ended[day] = False
        self.ledger.again(self.window(int(day.removeprefix("day-"))))

    @rule()
    def restarts(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.url)

    @invariant()
    def what_is_unfinished_is_what_has_no_end(self) -> None:
        unfinished = {c.window.id for c in self.ledger.unfinished(self.stream)}
        assert unfinished == {day for day in self.attempts if not self.ended.get(day)}

    def teardown(self) -> None:
        self.ledger.open(self.window(9))  # the next example gets a stream of its own
        self.ledger.close()


def test_any_order_of_work_and_restarts_agrees_with_a_dictionary(url: str):
    machine = type("Machine", (Agrees,), {"url": url})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=15, stateful_step_count=15, deadline=None, derandomize=True)
    )


def closed(ledger: Ledger, window: Window, outcome: Outcome) -> Cycle:
    cycle = ledger.again(window)
    ledger.record(cycle, "decide", Decision(outcome == Outcome.PROMOTED, "none", outcome.value), 0.0)
    if outcome == Outcome.PROMOTED:
        ledger.record(cycle, "register", 7, 0.0)
    ledger.record(cycle, "close", Closing(outcome, outcome.value, 7), 0.0)
    return ledger.cycle(cycle.id)


def test_a_window_may_be_trained_on_once_where_it_first_ended_well(ledger: Ledger):
    days = [replace(ONE, id=f"day-{n}", digest=str(n) * 64, rows=100 + n) for n in range(6)]
    endings = [Outcome.KEPT, Outcome.QUARANTINED, Outcome.PROMOTED, Outcome.REJECTED, Outcome.WAITING, Outcome.KEPT]
    cycles = [closed(ledger, day, outcome) for day, outcome in zip(days, endings, strict=True)]
    closed(ledger, days[0], Outcome.REJECTED)  # tried again: it stays where it was
    closed(ledger, days[1], Outcome.KEPT)  # repaired
    ledger.open(replace(ONE, id="day-6", digest="f" * 64))  # unfinished
    since, last = cycles[2].opened, days[5].digest
    assert [w.id for w in ledger.fresh("toy", since, last)] == ["day-3", "day-4", "day-1"]
    assert ledger.fresh_rows("toy", since, last) == 103 + 104 + 101
    assert [w.id for w in ledger.past("toy", since, 64, last)] == ["day-0", "day-2"]
    assert [w.id for w in ledger.past("toy", since, 1, last)] == ["day-2"]
    assert ledger.fresh_rows("another", 0.0, "") == 0
    assert ledger.done_with("toy") == {day.digest for day in days}
    assert ledger.makers("toy") == {7: cycles[2]}
    assert (ledger.latest("toy", "day-1").attempt, ledger.latest("toy", "day-9")) == (2, None)


def test_nothing_that_is_asked_for_every_window_looks_through_the_whole_history(tmp_path: Path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    asked: list[tuple[str, Any]] = []
    sa.event.listen(
        ledger.engine, "before_cursor_execute", lambda c, cursor, statement, values, *_: asked.append((statement, values))
    )
    champion = closed(ledger, ONE, Outcome.PROMOTED)
    asked.clear()

    steps = Steps(ledger, ledger.open(TWO))
    ledger.unfinished("toy")
    steps("champion", begun)
    ledger.use(steps.cycle)
    ledger.held("toy")
    ledger.cycle(champion.id)
    ledger.fresh_rows("toy", champion.opened, TWO.digest)
    ledger.fresh("toy", champion.opened, TWO.digest)
    ledger.past("toy", champion.opened, 64, TWO.digest)
    ledger.results("toy", "decide", Decision, champion.opened, ('"retrain": true',))
    ledger.steps(steps.cycle.id)
    ledger.unsettled("toy")
    ledger.cycles("toy", limit=10)
    ledger.forget("toy", 1, ("decide",), (), 64, dry_run=False)

    plans = {}
    with ledger.engine.connect() as connection:
        for statement, values in asked:
            if statement.startswith(("SELECT", "UPDATE", "DELETE")):
                found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
                plans[statement] = [row[3] for row in found]
    ledger.close()
    assert len(plans) > 12
    whole = re.compile(r"SCAN (cycle|step)|SEARCH cycle USING .*\(stream=\?\)$")  # all rows, or all of the stream
    assert [s for s, plan in plans.items() if "LIMIT" not in s and any(map(whole.match, plan))] == []
    assert [s for s, plan in plans.items() if "USE TEMP B-TREE FOR ORDER BY" in plan and "cycle.stream" in s] == []


def begun() -> int:
    return 1
