"""Each way in which a window can end, with a real Triton, a real MLflow and real training jobs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from toy import ROWS, STREAM, Toy, rows

from engine.configuration import ConfigurationError
from engine.loop import Interrupted, Loop
from engine.nouns import Closing


def carried(engine: Loop) -> list[tuple[str, int | None]]:
    return [(closing.outcome.value, closing.version) for closing in engine.carry_pending()]


def one(engine: Loop) -> Closing:
    (closing,) = engine.carry_pending()
    return closing


def test_the_first_window_is_promoted_as_version_1_and_served(empty: Toy):
    empty.land("day-1", rows(1))
    with empty.engine() as engine:
        assert one(engine).reason.startswith("there is no champion yet → rmse ")
        assert empty.answer().version == 1
        assert carried(engine) == []
    assert empty.outcomes() == [("day-1", "promoted", 1)]
    assert empty.aliases() == {"champion": 1}


def test_a_quiet_window_is_kept_and_a_turned_one_promoted(toy: Toy):
    with toy.engine() as engine:
        toy.land("day-2", rows(2))
        assert one(engine).reason == "0 columns drifted, 1 needed"
        toy.land("day-3", rows(3, turned=True))
        assert one(engine).reason.startswith("drift in ")
        assert toy.answer().version == 2
    assert toy.outcomes() == [("day-1", "promoted", 1), ("day-2", "kept", 1), ("day-3", "promoted", 2)]
    assert toy.aliases() == {"champion": 2, "previous": 1}


def test_a_challenger_that_does_not_win_by_the_margin_is_rejected_and_never_registered(toy: Toy):
    toy.land("day-2", rows(2, turned=True))
    with toy.engine("gate.margin=1000") as engine:
        closing = one(engine)
        assert toy.answer().version == 1
    assert (closing.outcome, closing.version) == ("rejected", None)
    assert "+100000.0% needed" in closing.reason
    assert list(toy.versions()) == [1]


def test_a_version_that_fails_where_it_is_served_is_moved_aside(toy: Toy):
    toy.land("day-2", rows(2, turned=True))
    with toy.engine("gate.max_difference=-1") as engine:
        closing = one(engine)
        assert toy.answer().version == 1
    assert (closing.outcome, closing.version) == ("rejected", 2)
    assert closing.reason.startswith("served answers differ from the checkpoint's by ")
    assert sorted(p.name for p in toy.models.iterdir()) == [".rejected-2", "1", "config.pbtxt"]


def test_a_broken_window_is_kept_aside_with_a_report_and_its_repaired_delivery_is_a_new_window(toy: Toy):
    broken = toy.land("day-2", rows(2).drop("speed"))
    with toy.engine() as engine:
        assert carried(engine) == [("quarantined", None)]
        (report,) = (toy.state / "quarantine" / "toy").glob("*.json")
        assert json.loads(report.read_text())["breaches"][0]["column"] == "speed"
        assert report.with_suffix(".parquet").read_bytes() == broken.read_bytes()
        toy.land("day-2", rows(2))
        assert carried(engine) == [("kept", 1)]
        assert carried(engine) == []


def test_a_window_that_vanished_before_it_was_looked_at_is_quarantined_and_the_next_one_is_carried(toy: Toy):
    with toy.engine() as engine:
        gone = toy.land("day-2", rows(2))
        (window,) = engine.pending()
        engine.ledger.open(window)
        gone.unlink()
        toy.land("day-3", rows(3))
        assert carried(engine) == [("quarantined", None), ("kept", 1)]


def test_with_approval_a_version_waits_until_a_person_approves_it(toy: Toy):
    toy.land("day-2", rows(2, turned=True))
    assert toy("update", "stream.require_approval=true") == 3
    assert toy.outcomes()[-1] == ("day-2", "waiting", 2)
    assert toy.aliases() == {"champion": 1}
    assert toy("approve") == 0
    assert toy.outcomes()[-1] == ("day-2", "promoted", 2)
    assert toy.aliases() == {"champion": 2, "previous": 1}
    with pytest.raises(ConfigurationError, match="no version of 'toy' waits for a person"):
        toy("approve")


def test_a_person_may_turn_a_waiting_version_away(toy: Toy):
    toy.land("day-2", rows(2, turned=True))
    assert toy("update", "stream.require_approval=true") == 3
    assert toy("reject") == 0
    assert toy.answer().version == 1
    assert toy.aliases() == {"champion": 1}
    assert toy.outcomes()[-1] == ("day-2", "rejected", 2)
    assert sorted(p.name for p in toy.models.iterdir()) == [".rejected-2", "1", "config.pbtxt"]


def test_a_newer_waiting_version_supersedes_the_older_one(toy: Toy):
    with toy.engine("stream.require_approval=true") as engine:
        for day in (2, 3):
            toy.land(f"day-{day}", rows(day, turned=True))
            assert carried(engine) == [("waiting", day)]
    assert toy.outcomes()[1:] == [("day-2", "rejected", 2), ("day-3", "waiting", 3)]
    assert toy.cycles()[1].reason == "superseded by version 3"


def test_a_promotion_supersedes_the_version_that_waits(toy: Toy):
    toy.land("day-2", rows(2, turned=True))
    assert toy("update", "stream.require_approval=true") == 3
    toy.land("day-3", rows(3, turned=True))
    assert toy("update") == 0
    assert toy.outcomes()[1:] == [("day-2", "rejected", 2), ("day-3", "promoted", 3)]
    assert toy.cycles()[1].reason == "superseded by version 3"


def test_retry_opens_a_new_attempt_and_trains_again(toy: Toy):
    toy.land("day-2", rows(2, turned=True))
    with toy.engine("gate.margin=1000") as engine:
        assert carried(engine) == [("rejected", None)]
    assert toy("retry", "day-2") == 0
    assert toy.outcomes()[1:] == [("day-2", "rejected", None), ("day-2", "promoted", 2)]
    assert [cycle.attempt for cycle in toy.cycles()] == [1, 1, 2]
    with pytest.raises(ConfigurationError, match="window day-2 was promoted as version 2"):
        toy("retry", "day-2")
    with pytest.raises(ConfigurationError, match="there is no window 'day-22'; did you mean 'day-2'"):
        toy("retry", "day-22")


def test_the_same_content_under_another_name_is_not_worked_on_twice(toy: Toy):
    with toy.engine() as engine:
        toy.land("day-1-again", rows(1))
        assert carried(engine) == []
        toy.land("day-2", rows(2))
        toy.land("day-2-again", rows(2))
        assert carried(engine) == [("kept", 1)]


def test_of_a_backlog_only_the_latest_window_retrains_and_on_all_of_them(toy: Toy):
    for day in (2, 3, 4, 5):
        toy.land(f"day-{day}", rows(day, turned=day > 2))
    with toy.engine() as engine:
        assert carried(engine) == [("kept", 1), ("kept", 1), ("kept", 1), ("promoted", 2)]
    trained = toy.result(toy.cycles()[-1], "train")
    assert [trained[f"rows_{part}"] for part in ("fit", "stop", "judge")] == [0.7 * 4 * ROWS, 0.1 * 4 * ROWS, 0.2 * 4 * ROWS]
    assert toy.cycles()[2].reason.endswith("left to the latest window of the backlog")


def test_a_backlog_whose_last_window_is_quiet_still_retrains_for_the_one_that_asked(toy: Toy):
    toy.land("day-2", rows(2, turned=True))
    toy.land("day-3", rows(3))
    with toy.engine() as engine:
        outcomes = carried(engine)
        assert toy.result(toy.cycles()[-1], "decide")["cause"] == "deferred"
        assert outcomes[0] == ("kept", 1)


def test_a_quiet_window_in_the_middle_of_a_backlog_leaves_what_was_asked_for_to_the_latest(toy: Toy):
    for day in (2, 3, 4):
        toy.land(f"day-{day}", rows(day, turned=day == 2))
    with toy.engine() as engine:
        assert [outcome for outcome, _ in carried(engine)[:2]] == ["kept", "kept"]
    decisions = [toy.result(cycle, "decide") for cycle in toy.cycles()[1:]]
    assert [(d["retrain"], d["cause"]) for d in decisions] == [(False, "drift"), (False, "none"), (True, "deferred")]


def test_what_a_backlog_asked_for_is_tried_once_not_with_every_window_after_it(toy: Toy):
    toy.land("day-2", rows(2, turned=True))
    toy.land("day-3", rows(3))
    with toy.engine("gate.margin=1000") as engine:
        assert carried(engine) == [("kept", 1), ("rejected", None)]
        toy.land("day-4", rows(4))
        assert carried(engine) == [("kept", 1)]


def test_each_window_of_a_backlog_can_retrain_when_asked_to(toy: Toy):
    for day in (2, 3):
        toy.land(f"day-{day}", rows(day, turned=day == 2))
    with toy.engine("stream.catch_up=each", "trigger=always", "gate.margin=-1") as engine:
        assert carried(engine) == [("promoted", 2), ("promoted", 3)]


def test_an_edited_configuration_does_not_change_a_cycle_that_was_begun(toy: Toy):
    toy.land("day-2", rows(2, turned=True))
    with toy.engine("gate.margin=1000") as engine:
        engine.listener.step = lambda window, name: _interrupt(name == "judge.1")  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            carried(engine)
    (toy.root / "stream" / "toy.yaml").write_text(STREAM.replace("gate:", "gate:\n  margin: -1"))
    with toy.engine() as engine:
        assert carried(engine) == [("rejected", None)]
        toy.land("day-3", rows(3, turned=True))
        assert carried(engine) == [("promoted", 2)]


def test_after_each_window_what_is_not_kept_goes_and_the_champions_own_stays(toy: Toy):
    with toy.engine("gate.margin=1000", "retention.jobs=1", "retention.answers=1") as engine:
        for day in (2, 3):
            toy.land(f"day-{day}", rows(day, turned=True))
            assert carried(engine) == [("rejected", None)]
    first, _, last = toy.cycles()
    jobs = {path.name for path in (toy.state / "jobs" / "toy").iterdir()}
    assert jobs == {first.id.replace(":", "."), last.id.replace(":", ".")}
    assert [path.name.split(".")[0] for path in (toy.state / "answers" / "toy").iterdir()] == ["day-3"]


def _interrupt(now: bool) -> None:
    if now:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("model._target_=trouble.Diverges", r"the loss on day-2 became nan by step \d+"),
        ("strategy._target_=trouble.Broken", "the training job failed: LookupError: no such row"),
    ],
)
def test_a_training_that_fails_is_rejected_with_its_reason_and_the_next_window_works(toy: Toy, trouble: str, reason: str):
    import re

    toy.land("day-2", rows(2, turned=True))
    with toy.engine(trouble) as engine:
        closing = one(engine)
    assert closing.outcome == "rejected"
    assert re.match(reason, closing.reason)
    toy.land("day-3", rows(3, turned=True))
    with toy.engine() as engine:
        assert carried(engine) == [("promoted", 2)]
    assert toy.result(toy.cycles()[-1], "train")["windows"][-2:] == ["day-2", "day-3"]


def test_a_job_that_is_killed_without_a_word_is_run_again(toy: Toy):
    toy.land("day-2", rows(2, turned=True))
    with toy.engine("strategy._target_=trouble.Dies", f"+strategy.flag={toy.root / 'died'}") as engine:
        assert carried(engine) == [("promoted", 2)]


def test_an_outage_that_outlasts_the_retries_leaves_the_window_for_the_next_start(toy: Toy):
    toy.land("day-2", rows(2, turned=True))
    with toy.engine() as engine:
        engine.reconnect = lambda: None
        toy.server().stop(timeout=0.2)
        with pytest.raises(Interrupted, match="window day-2 is left unfinished, nothing is lost: no model server answers at "):
            carried(engine)
    assert toy.outcomes()[-1] == ("day-2", None, None)
    with toy.engine() as engine:
        assert carried(engine) == [("promoted", 2)]


# the real command line


def command(toy: Toy, *args: str) -> tuple[int, str]:
    """`warmstart ARGS` as a process of its own: exit code and everything that it said."""
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(Path(__file__).parent)])}
    said = toy.root / "said.txt"  # not a pipe: the job server, which ends a little later, would keep it open
    with said.open("w") as file:
        done = subprocess.run(
            [sys.executable, "-m", "engine.app", *args], cwd=toy.root, env=environment, stdout=file, stderr=file, check=False
        )
    return done.returncode, said.read_text()


def test_update_exits_0_when_nothing_is_pending_and_3_when_a_person_should_look(toy: Toy):
    toy.land("day-2", pl.DataFrame({"speed": [1.0]}))
    code, said = command(toy, "update", "stream=toy")
    assert code == 3
    assert said.startswith("day-2        quarantined")
    assert command(toy, "update") == (0, "nothing is pending\n")


def test_update_exits_75_when_something_does_not_answer(toy: Toy):
    toy.land("day-2", rows(2))
    elsewhere = ["serving=external", "serving.addresses=[127.0.0.1:9]", "serving.repository=.warmstart/models"]
    code, said = command(toy, "update", *elsewhere)
    assert code == 75
    assert "no model server answers at 127.0.0.1:9" in said
    assert "Traceback" not in said
