"""The loop with its ledger and MLflow on PostgreSQL, as many machines use it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres import Cluster
from toy import Toy, rows

from engine import app, verbs
from engine.ledger import Ledger
from engine.ledger.database import FencedOut, LedgerUnreachable
from engine.locks import Busy, Locks
from engine.nouns import Window

ONE = Window("toy", "day-1", "/data/day-1.parquet", "a" * 64, 800)


@pytest.fixture
def far(empty: Toy, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger of a project whose databases are elsewhere."""
    url = cluster.database()
    monkeypatch.setenv("WARMSTART_LEDGER", url)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", cluster.database())
    ledger = Ledger(url)
    yield ledger
    ledger.close()


@pytest.fixture
def two(cluster: Cluster) -> Iterator[tuple[Ledger, Ledger]]:
    """One ledger as two machines see it."""
    url = cluster.database()
    ledgers = Ledger(url), Ledger(url)
    yield ledgers
    for ledger in ledgers:
        ledger.close()


def terminate(ledger: Ledger, others: str) -> None:
    """Cut off the sessions of others, as a broken network or an administrator does."""
    with ledger.engine.connect() as session:
        found = session.execute(sa.text(f"select pg_terminate_backend(pid, 5000) from pg_locks where {others}")).scalars().all()
    assert found == [True]


# The sessions that MLflow keeps are its own: it never gives back the engines that it caches for a process.
@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
def test_a_first_champion_a_promotion_and_a_rollback(empty: Toy, far: Ledger, monkeypatch: pytest.MonkeyPatch):
    empty.land("day-1", rows(1))
    assert empty("update", "platform=postgres") == 0
    empty.land("day-2", rows(2, turned=True))
    with empty.engine("platform=postgres") as engine:
        assert [(c.outcome, c.version) for c in engine.carry_pending()] == [("promoted", 2)]
        assert empty.answer().version == 2
        with pytest.raises(Busy, match="stream 'toy' is in use by `warmstart update`, process ") as busy:
            empty("run", "platform=postgres")
        assert app._known(busy.value) == verbs.BUSY
        assert empty("rollback", "platform=postgres") == 0
        assert empty.answer().version == 1
    outcomes = [(c.window.id, c.outcome, c.version) for c in far.cycles("toy")]
    assert outcomes == [("day-1", "promoted", 1), ("day-2", "promoted", 2)]
    assert [(r.version, r.cause, r.state) for r in far.releases("toy")] == [
        (1, "promotion", "done"),
        (2, "promotion", "done"),
        (1, "rollback", "done"),
    ]


def test_a_holder_that_lost_its_session_is_fenced_out_once_another_took_over(two: tuple[Ledger, Ledger], tmp_path: Path):
    mine, theirs = two
    with Locks(mine, tmp_path).cycle("toy", "run"):
        cycle = mine.open(ONE)
        mine.record(cycle, "validate", (), 0.0)
        with pytest.raises(Busy), Locks(theirs, tmp_path).cycle("toy", "update"):
            pass
        terminate(theirs, "locktype = 'advisory'")
        with Locks(theirs, tmp_path).cycle("toy", "update"), pytest.raises(FencedOut) as fenced:
            mine.record(cycle, "drift", 1, 0.0)
    assert theirs.step(cycle.id, "drift") is None
    assert app._known(fenced.value) == verbs.BUSY


def test_the_lock_of_a_machine_that_died_is_free_at_once(two: tuple[Ledger, Ledger], tmp_path: Path):
    mine, theirs = two
    lost = Locks(mine, tmp_path).cycle("toy", "run")
    lost.__enter__()
    mine.engine.dispose()
    terminate(theirs, "locktype = 'advisory'")
    with Locks(theirs, tmp_path).cycle("toy", "run"):
        pass
    lost.__exit__(None, None, None)


def test_a_release_waits_for_another_and_says_so_when_it_takes_too_long(two: tuple[Ledger, Ledger], tmp_path: Path):
    mine, theirs = two
    begin = time.monotonic()
    with (
        Locks(mine, tmp_path).release("toy"),
        pytest.raises(Busy, match="another process is changing the live version of stream 'toy'"),
        Locks(theirs, tmp_path).release("toy", wait=0.3),
    ):
        pass
    assert time.monotonic() - begin >= 0.3
    with Locks(theirs, tmp_path).release("toy"), Locks(mine, tmp_path).release("other"):
        pass


def test_a_database_that_is_away_is_an_outage_not_a_bug(empty: Toy, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WARMSTART_LEDGER", "postgresql+psycopg://nobody@127.0.0.1:9/nothing")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg://nobody@127.0.0.1:9/nothing")
    with pytest.raises(LedgerUnreachable, match="the ledger's database does not answer: connection failed: ") as away:
        empty("update", "platform=postgres")
    assert app._known(away.value) == verbs.OUTAGE
