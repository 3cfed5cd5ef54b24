"""The monitor keeps its promise exactly, finds what it should, and its state survives the ledger."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import profiling
from engine.alarms.anytime import (
    BETS,
    CATEGORY,
    NUMBER,
    Alarm,
    Counted,
    Monitor,
    Part,
    Watch,
    category_scores,
    counted,
    number_scores,
)
from engine.ledger.codec import decode, encode
from engine.nouns import Column, Schema
from kernels.hypergeometric import normal_scores

I64 = npt.NDArray[np.int64]
EDGES = np.linspace(-2, 2, 31)


def bins(values: npt.NDArray[np.float64]) -> tuple[int, ...]:
    """Missing values, then 32 bins over fixed edges."""
    present = values[~np.isnan(values)]
    counts = np.bincount(np.searchsorted(EDGES, present, side="right"), minlength=EDGES.size + 1)
    return (values.size - present.size, *counts.tolist())


def numbers(random: np.random.Generator, rows: int, columns: int = 3, shift: float = 0.0, spread: float = 1.0) -> Counted:
    """Standard normal columns, the first one shifted and spread."""
    x = random.normal(size=(rows, columns))
    x[:, 0] = spread * x[:, 0] + shift
    return Counted({f"n{j}": bins(column) for j, column in enumerate(x.T)}, {})


def values(random: np.random.Generator, rows: int, shares: list[float]) -> Counted:
    counts = random.multinomial(rows, np.array(shares) / sum(shares))
    return Counted({}, {"city": {f"v{j}": int(n) for j, n in enumerate(counts)}})


def first(watch: Watch, windows: list[Counted], monitor: Monitor) -> tuple[int, Alarm] | None:
    for number, window in enumerate(windows):
        watch, alarms = monitor.watch(watch, window, str(number))
        if alarms:
            return number, alarms[0]
    return None


def test_scores_are_the_normal_quantiles_of_exact_hypergeometric_chances() -> None:
    from scipy.special import ndtr
    from scipy.stats import hypergeom

    random = np.random.default_rng(0)
    for _ in range(300):
        total = int(random.integers(2, 5000))
        marked, drawn = int(random.integers(1, total)), int(random.integers(0, total + 1))
        seen = int(random.integers(max(0, drawn - (total - marked)), min(marked, drawn) + 1))
        split = random.random()
        pool, sample = np.array([[marked, total - marked]]), np.array([[seen, drawn - seen]])
        score = float(normal_scores(pool, sample, np.array([[split]]))[0, 0])
        law = hypergeom(total, marked, drawn)
        tails = law.cdf(seen - 1) + split * law.pmf(seen), law.sf(seen) + (1 - split) * law.pmf(seen)
        assert float(ndtr(-abs(score))) == pytest.approx(min(tails), rel=1e-9, abs=1e-250)
        assert score <= 0 if tails[0] < tails[1] else score >= 0


def test_a_window_of_a_million_rows_a_thousand_deviations_off_has_a_finite_score() -> None:
    pool = np.full((1, 4), 10_000_000)
    score = normal_scores(pool, np.array([[1_000_000, 0, 0, 0]]), np.full((1, 3), 0.5))
    assert 1000 < score[0, 0] < 5000
    assert np.isfinite(score).all()


def laws(sizes: tuple[int, ...], ones: int) -> list[list[tuple[float, float]]]:
    """Over all equally likely orders of the rows: of each window the interval that its p-value is uniform on."""
    found = []
    rows = sum(sizes)
    for places in itertools.combinations(range(rows), ones):
        row = np.zeros(rows, dtype=np.int64)
        row[list(places)] = 1
        parts = np.split(row, np.cumsum(sizes)[:-1])
        pool = np.bincount(parts[0], minlength=2)
        intervals = []
        for part in parts[1:]:
            window = np.bincount(part, minlength=2)
            pool = pool + window
            intervals.append(interval(pool, window))
        found.append(intervals)
    return found


def interval(pool: I64, window: I64) -> tuple[float, float]:
    from scipy.special import ndtr

    ends = [normal_scores(pool[None], window[None], np.array([[end]]))[0, 0] for end in (1e-12, 1 - 1e-12)]
    return (0.0, 1.0) if math.isnan(ends[0]) else (float(ndtr(ends[0])), float(ndtr(ends[1])))


def below(ends: tuple[float, float], p: float) -> float:
    """The chance that a number uniform between the ends is at most p."""
    low, high = ends
    return min(max((p - low) / (high - low), 0.0), 1.0)


def test_the_p_values_of_all_windows_are_uniform_and_independent_although_they_share_a_reference() -> None:
    for sizes, ones in (((3, 2, 2), 3), ((2, 3, 1, 2), 2), ((4, 1, 3), 5), ((1, 4, 3), 7)):
        orders = laws(sizes, ones)
        for corner in itertools.product((0.05, 0.3, 0.5, 0.9), repeat=len(sizes) - 1):
            jointly = np.mean([math.prod(below(e, p) for e, p in zip(ends, corner, strict=True)) for ends in orders])
            assert jointly == pytest.approx(math.prod(corner), abs=1e-9), (sizes, ones, corner)


def test_every_part_is_standard_normal_and_uncorrelated_over_the_windows_when_nothing_changes() -> None:
    random = np.random.default_rng(1)
    streams, k = 4000, 8
    shares = np.array([0.05, 0.3, 0.2, 0.15, 0.0, 0.1, 0.15, 0.05])
    pool = random.multinomial(60, shares, streams)
    seen = []
    for rows in (30, 7, 50):
        window = random.multinomial(rows, shares, streams)
        pool = pool + window
        splits = (random.random((streams, k - 1 + len(parts))) for parts in (NUMBER, CATEGORY))
        of_parts = [score(pool, window, split) for score, split in zip((number_scores, category_scores), splits, strict=True)]
        seen.append(np.hstack(of_parts))
    scores = np.stack(seen)
    assert scores.shape == (3, streams, len(NUMBER) + len(CATEGORY))
    assert np.abs(scores.mean(axis=1)).max() < 4 / math.sqrt(streams)
    assert np.abs(scores.std(axis=1) - 1).max() < 4 / math.sqrt(2 * streams)
    for a, b in itertools.combinations(range(3), 2):
        for part in range(scores.shape[2]):
            assert abs(np.corrcoef(scores[a, :, part], scores[b, :, part])[0, 1]) < 4.5 / math.sqrt(streams)


def test_no_bet_wins_on_average() -> None:
    # The mean of exp(bet·z - bet²/2) over N(0, 1), by Gauss-Hermite quadrature.
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    for bet in BETS:
        assert float(weights @ np.exp(bet * points - bet**2 / 2)) / math.sqrt(2 * math.pi) == pytest.approx(1, rel=1e-9)


def test_of_two_hundred_unchanged_streams_at_most_a_twentieth_alarm() -> None:
    random = np.random.default_rng(2)
    monitor = Monitor()
    alarmed = 0
    for _ in range(200):
        watch = monitor.begin(numbers(random, 500))
        alarmed += first(watch, [numbers(random, 100) for _ in range(40)], monitor) is not None
    assert alarmed <= 10


def test_a_shift_of_a_tenth_of_a_deviation_is_named_and_dated() -> None:
    random = np.random.default_rng(3)
    monitor = Monitor()
    windows = [numbers(random, 1000) for _ in range(24)] + [numbers(random, 1000, shift=0.1) for _ in range(20)]
    found = first(monitor.begin(numbers(random, 10_000)), windows, monitor)
    assert found is not None
    number, alarm = found
    assert 24 <= number <= 30
    assert (alarm.column, alarm.part) == ("n0", "up")
    assert alarm.chance <= 0.05
    assert str(alarm).startswith("n0: its values went up (of unchanged streams, one in ")


@pytest.mark.parametrize(("spread", "part"), [(1.3, "wider"), (0.75, "narrower")])
def test_a_change_of_spread_is_called_one(spread: float, part: Part) -> None:
    random = np.random.default_rng(4)
    monitor = Monitor()
    found = first(monitor.begin(numbers(random, 5000)), [numbers(random, 500, spread=spread) for _ in range(10)], monitor)
    assert found is not None
    assert found[1].part == part


def test_values_that_go_missing_are_called_so() -> None:
    random = np.random.default_rng(5)
    monitor = Monitor()
    x = random.normal(size=800)
    x[::10] = np.nan
    _, alarms = monitor.watch(monitor.begin(numbers(random, 5000, 1)), Counted({"n0": bins(x)}, {}), "w")
    assert [(alarm.column, alarm.part) for alarm in alarms] == [("n0", "more missing")]


def test_a_value_never_seen_alarms_and_a_long_tail_of_them_does_not() -> None:
    random = np.random.default_rng(6)
    monitor = Monitor()
    watch = monitor.begin(values(random, 5000, [5, 3, 2]))
    assert first(watch, [values(random, 500, [5, 3, 2, 0.2]) for _ in range(3)], monitor) is not None
    # Names: half of each window was never seen before, and nothing has changed.
    tail = [1 / (j + 10) for j in range(20_000)]
    assert first(monitor.begin(values(random, 5000, tail)), [values(random, 500, tail) for _ in range(30)], monitor) is None


def test_a_constant_column_never_alarms_and_does_when_it_varies() -> None:
    monitor = Monitor(alpha=1.0)  # even when anything would do
    watch = monitor.begin(Counted({"n": (0, 100, 0)}, {"c": {"a": 100}}))
    for number in range(20):
        watch, alarms = monitor.watch(watch, Counted({"n": (0, 10, 0)}, {"c": {"a": 10}}), str(number))
        assert alarms == ()
    watch = replace(watch, columns={name: replace(column, alarm=None) for name, column in watch.columns.items()})
    _, alarms = Monitor().watch(watch, Counted({"n": (0, 0, 10)}, {"c": {"b": 10}}), "changed")
    assert {alarm.column for alarm in alarms} == {"n", "c"}


def test_a_column_that_alarmed_rests_until_it_begins_again() -> None:
    random = np.random.default_rng(7)
    monitor = Monitor()
    reference = numbers(random, 2000)
    watch, alarms = monitor.watch(monitor.begin(reference), numbers(random, 500, shift=1), "one")
    assert [alarm.column for alarm in alarms] == ["n0"]
    watch, alarms = monitor.watch(watch, numbers(random, 500, shift=1), "two")
    assert alarms == ()
    assert [(alarm.column, alarm.window) for alarm in watch.alarms] == [("n0", "one")]
    # With the rows since as its reference the new level is the usual one.
    watch = monitor.restart(watch, numbers(random, 500, shift=1), ["n0"])
    assert watch.alarms == ()
    assert watch.columns["n0"].windows == 0
    assert watch.columns["n1"].windows == 2
    assert first(watch, [numbers(random, 500, shift=1) for _ in range(10)], monitor) is None
    # With the old reference it alarms as long as the change lasts.
    watch = monitor.restart(watch, reference, ["n0"])
    assert first(watch, [numbers(random, 500, shift=1)], monitor) is not None
    with pytest.raises(KeyError, match="'other' is not among those watched"):
        monitor.restart(watch, reference, ["other"])


def test_absent_columns_and_empty_windows_change_nothing() -> None:
    random = np.random.default_rng(8)
    monitor = Monitor()
    watch = monitor.begin(numbers(random, 500))
    empty = Counted(dict.fromkeys(("n0", "n1", "n2"), (0,) * 33), {})
    for window in (empty, Counted({}, {})):
        after, alarms = monitor.watch(watch, window, "w")
        assert alarms == ()
        assert after.columns == watch.columns
    with pytest.raises(ValueError, match="column 'n0' has 3 bins and its reference 33"):
        monitor.watch(watch, Counted({"n0": (0, 1, 1)}, {}), "w")


def test_the_same_windows_give_the_same_evidence() -> None:
    random = np.random.default_rng(9)
    monitor = Monitor()
    reference, window = numbers(random, 500), numbers(random, 100)
    again = [monitor.watch(monitor.begin(reference), window, "w") for _ in range(2)]
    assert again[0] == again[1]


def test_a_merged_window_counts_whatever_the_order_of_its_parts() -> None:
    schema = Schema((Column("x", "number"), Column("c", "category")), target="y")
    random = np.random.default_rng(10)
    frame = pl.DataFrame({"x": random.normal(size=900), "c": random.choice(["a", "b"], 900), "y": random.normal(size=900)})
    reference = profiling.build(frame[:300], schema)
    one, two = (profiling.build(part, schema, reference.edges) for part in (frame[300:500], frame[500:]))
    monitor = Monitor()
    begun = monitor.begin(counted(reference))
    ways = [monitor.watch(begun, counted(merged), "w") for merged in (one.merge(two), two.merge(one))]
    assert ways[0] == ways[1]
    assert set(ways[0][0].columns) == {"x", "y", "c"}


def test_chances_fall_as_evidence_gathers() -> None:
    random = np.random.default_rng(11)
    monitor = Monitor(alpha=1e-9)
    watch = monitor.begin(numbers(random, 10_000))
    assert set(monitor.chances(watch).values()) == {1.0}
    seen = []
    for number in range(6):
        watch, _ = monitor.watch(watch, numbers(random, 1000, shift=0.15), str(number))
        seen.append(monitor.chances(watch)["n0"])
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 1e-6
    assert monitor.chances(watch)["n1"] > 0.05


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 40), min_size=4, max_size=4), min_size=1, max_size=4),
    st.lists(st.dictionaries(st.text(max_size=3), st.integers(0, 30), max_size=5), min_size=1, max_size=4),
)
def test_the_state_survives_the_ledger(counts: list[list[int]], named: list[dict[str, int]]) -> None:
    monitor = Monitor()
    watch = monitor.begin(Counted({"n": tuple(counts[0])}, {"c": named[0]}))
    for number, (row, value) in enumerate(itertools.zip_longest(counts, named)):
        watch = decode(Watch, encode(watch))
        window = Counted({"n": tuple(row)} if row else {}, {"c": value} if value else {})
        after, alarms = monitor.watch(watch, window, str(number))
        assert decode(Watch, encode(after)) == after
        assert all(decode(Alarm, encode(alarm)) == alarm for alarm in alarms)
        watch = after
