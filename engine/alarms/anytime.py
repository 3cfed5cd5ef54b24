"""The monitor: over an endless stream of windows, the chance that it ever alarms falsely, in any column, is at most alpha.

Tests that are made anew for every window cannot keep such a promise: at 5% each, something alarms every few windows for ever.
Here every column has a bet running against "nothing changed". If nothing changed no bet can be expected to win, and the chance
that a bet ever multiplies its stake by 1/alpha is at most alpha, however long it runs (Ville's inequality).

1. *One pool.* The rows of the reference and of all windows since are counted in one pool. If nothing changed, a window is a random
   draw from the pool that it has just joined, whatever the distribution: its counts are multivariate hypergeometric, exactly and in
   finite samples. No limit theorem, and the reference is never mistaken for the truth.
2. *Scores.* `kernels.hypergeometric` turns each window's counts into independent standard normal scores; from them come the parts
   below, each again N(0, 1). Looked at backwards, what a window says is independent of all later ones, which depend on it through
   the pool alone; so the scores of one part are independent over the windows, although all are measured against one reference. This
   is the argument of conformal test martingales, here for counts.
3. *Bets.* A score z multiplies the stake by exp(bet·z - bet²/2), which is 1 on average. A bet is spread over three sizes and over
   the window at which the change began, with weights that sum to 1, so a change after a thousand windows is found nearly as soon as
   one at the start; it is one number of state per size.
4. *Columns.* A part's stake is its share of alpha: alpha over columns over parts. The sum of the shares bounds the chance of any
   false alarm whatever the dependence between columns. And a column that did not change is protected from those that did.

What this rests on: that rows are exchangeable while nothing changes. A weekly rhythm, rows in clusters, or windows that each have a
mood of their own are change to the monitor, and it will say so; `engine.alarms.quiet` is for streams like that. Bins have to be
chosen without looking at the rows. Quantiles of the reference have looked, at most by the one row that lies on each edge; the benchmark
`alarms` counts false alarms with such edges. A monitor is sensitive: with rows enough it finds changes too small to matter, so hold an
effect size against its alarms.

The guarantee is for one reference, from `begin` to the next `begin`. Begun again on rows that had no part in an alarm, as a new champion's
training rows are when a schedule chose them, it holds anew: over r references the expected number that alarm falsely is at most r·alpha.
A column that alarmed is not watched further until it begins again. If `restart` gives it the *same* reference, its alarms from
then on have no bound: a reference that misled once may mislead again. Give it rows that came after the alarm and it has a whole share of alpha
again, and looks for the next change from there.

Sources: Ville, "Étude critique de la notion de collectif", 1939; Vovk, Nouretdinov and Gammerman, "Testing exchangeability on-line",
2003; Vovk, "Testing randomness online", 2021; Shafer, "Testing by betting", 2021.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from engine.profile import Profile

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

Part = Literal["up", "down", "wider", "narrower", "more missing", "fewer missing", "value", "shape"]

NUMBER: tuple[Part, ...] = ("up", "down", "wider", "narrower", "more missing", "fewer missing", "shape")
CATEGORY: tuple[Part, ...] = ("value", "shape")
WORDS: dict[Part, str] = {
    "up": "its values went up",
    "down": "its values went down",
    "wider": "its values spread out",
    "narrower": "its values drew together",
    "more missing": "more values are missing",
    "fewer missing": "fewer values are missing",
    "value": "one value's share changed",
    "shape": "its distribution changed",
}

BETS = np.array([0.5, 1.5, 4.0])  # scores that a window is expected to show: a drift, a change, a break
BUCKETS = 4096  # that a column's values fall into; which one must not depend on the rows, so not on how common a value is
VALUES = 31  # the most common buckets are told apart, the others are one
LEAST = 1e-300  # of a chance: smaller ones are no numbers


@dataclass(frozen=True, slots=True)
class Counted:
    """How many rows of a table fall where. A number's counts are its missing values, then its bins in order of their edges."""

    numbers: Mapping[str, tuple[int, ...]]
    categories: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Alarm:
    """A column changed. `chance`: that any column of an unchanged stream ever, in all its windows, gave as much reason to alarm."""

    column: str
    window: str
    part: Part
    chance: float

    def __str__(self) -> str:
        odds = min(1 / self.chance, 1e12)
        most = "more than " if self.chance < 1e-12 else ""
        return f"{self.column}: {WORDS[self.part]}; in an unchanged stream that is one chance in {most}{odds:,.0f}, ever and in any column"


@dataclass(frozen=True, slots=True)
class Watched:
    """One column under watch.

    pool     counts of the reference and every window since: of the bins, or of the buckets whose numbers `buckets` holds
    wealth   logarithm of what every bet is worth, part by part, without the share that is not at stake yet
    windows  windows seen
    alarm    what ended the watch, or None
    """

    pool: tuple[int, ...]
    buckets: tuple[int, ...] | None
    wealth: tuple[float, ...]
    windows: int = 0
    alarm: Alarm | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is bet on."""
        return NUMBER if self.buckets is None else CATEGORY


@dataclass(frozen=True, slots=True)
class Watch:
    """All that the monitor knows after some windows. It survives JSON; about 400 bytes a number, 100 and 8 a value a category."""

    columns: dict[str, Watched] = field(default_factory=dict)
    windows: int = 0

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The alarms that stand."""
        return tuple(column.alarm for column in self.columns.values() if column.alarm)


def counted(profile: Profile) -> Counted:
    """What the monitor takes from a Profile."""
    counts = np.concatenate([profile.counts.missing[:, None], profile.counts.counts], axis=1)
    return Counted({name: tuple(row) for name, row in zip(profile.numbers, counts.tolist(), strict=True)}, profile.categories)


@dataclass(frozen=True)
class Monitor:
    """Watches for a change with a chance of at most `alpha` that it ever alarms falsely. `seed` splits ties between counts.

    >>> reference = Counted({"speed": (0, 100, 100, 100, 100)}, {})
    >>> monitor = Monitor()
    >>> watch, alarms = monitor.watch(monitor.begin(reference), Counted({"speed": (0, 26, 24, 24, 26)}, {}), "monday")
    >>> alarms
    ()
    >>> watch, alarms = monitor.watch(watch, Counted({"speed": (0, 0, 10, 20, 70)}, {}), "tuesday")
    >>> alarms[0].column, alarms[0].window, alarms[0].part
    ('speed', 'tuesday', 'up')
    """

    alpha: float = 0.05
    seed: int = 0

    def begin(self, reference: Counted) -> Watch:
        """Watch every column of the reference from here on."""
        numbers = {name: Watched(tuple(counts), None, _nothing(NUMBER)) for name, counts in reference.numbers.items()}
        categories = {}
        for name, values in reference.categories.items():
            pool = _bucketed(values)
            categories[name] = Watched(tuple(pool.values()), tuple(pool), _nothing(CATEGORY))
        return Watch(numbers | categories)

    def restart(self, watch: Watch, fresh: Counted, columns: Sequence[str]) -> Watch:
        """Let these columns begin again on the rows of `fresh`; the module says what is promised then. KeyError without such a column."""
        begun = self.begin(fresh).columns
        for name in columns:
            if name not in begun or name not in watch.columns:
                raise KeyError(f"column {name!r} is not among those watched: name some of {', '.join(sorted(watch.columns))}")
        return replace(watch, columns=watch.columns | {name: begun[name] for name in columns})

    def watch(self, watch: Watch, window: Counted, name: str) -> tuple[Watch, tuple[Alarm, ...]]:
        """Take one more window. Returns what is known then, and the alarms that it raises, the least likely first.

        Columns that the window lacks, or that have alarmed, stay as they were; so do all when it has no rows. ValueError names a
        column whose bins are not those of the reference.
        """
        going = {key: column for key, column in watch.columns.items() if column.alarm is None}
        numbers = {key: c for key, c in going.items() if c.buckets is None and sum(window.numbers.get(key, ()))}
        categories = {key: c for key, c in going.items() if c.buckets is not None and sum(window.categories.get(key, {}).values())}
        random = np.random.default_rng((self.seed, watch.windows))
        seen = self._numbers(numbers, window, random) | self._categories(categories, window, random)
        columns, alarms = dict(watch.columns), []
        for key, (column, constant) in seen.items():
            part, chance = self._worst(column, len(columns))
            # A column with one value only says nothing; its scores are chance alone.
            alarm = Alarm(key, name, part, chance) if chance <= self.alpha and not constant else None
            columns[key] = replace(column, alarm=alarm)
            alarms += [alarm] if alarm else []
        return Watch(columns, watch.windows + 1), tuple(sorted(alarms, key=lambda alarm: alarm.chance))

    def chances(self, watch: Watch) -> dict[str, float]:
        """Column → the chance that any column of an unchanged stream ever looked as this one does now, or did when it alarmed."""
        return {
            name: column.alarm.chance if column.alarm else self._worst(column, len(watch.columns))[1]
            for name, column in watch.columns.items()
        }

    @staticmethod
    def _worst(column: Watched, columns: int) -> tuple[Part, float]:
        """The part that gained most, and the chance that Ville's inequality gives for it among all parts and columns."""
        parts = column.parts
        bets = np.array(column.wealth).reshape(len(parts), BETS.size)
        worth = np.logaddexp(math.log(_waiting(column.windows)), np.logaddexp.reduce(bets, axis=1) - math.log(BETS.size))
        best = int(worth.argmax())
        return parts[best], max(min(math.exp(min(math.log(len(parts) * columns) - float(worth[best]), 0.0)), 1.0), LEAST)

    def _numbers(
        self, columns: Mapping[str, Watched], window: Counted, random: np.random.Generator
    ) -> dict[str, tuple[Watched, bool]]:
        """The columns after the window, and whether all of their values are one."""
        if not columns:
            return {}
        width = max(len(column.pool) for column in columns.values())
        before, drawn = np.zeros((2, len(columns), width), dtype=np.int64)
        for j, (name, column) in enumerate(columns.items()):
            counts = window.numbers[name]
            if len(counts) != len(column.pool):
                raise ValueError(
                    f"column {name!r} is counted over {len(counts)} bins, its reference over {len(column.pool)}: begin the monitor again"
                )
            before[j, : len(counts)], drawn[j, : len(counts)] = column.pool, counts
        pool = before + drawn
        scores = number_scores(pool, drawn, _chances(random, len(columns), width - 1 + len(NUMBER)))
        wealth = _bet(np.array([column.wealth for column in columns.values()]), scores, [c.windows for c in columns.values()])
        constant = (pool > 0).sum(axis=1) < 2
        return {
            name: (
                Watched(tuple(pool[j, : len(column.pool)].tolist()), None, tuple(wealth[j].tolist()), column.windows + 1),
                bool(constant[j]),
            )
            for j, (name, column) in enumerate(columns.items())
        }

    def _categories(
        self, columns: Mapping[str, Watched], window: Counted, random: np.random.Generator
    ) -> dict[str, tuple[Watched, bool]]:
        if not columns:
            return {}
        pool, drawn = np.zeros((2, len(columns), VALUES + 1), dtype=np.int64)
        pools = []
        for j, (name, column) in enumerate(columns.items()):
            assert column.buckets is not None
            fresh = _bucketed(window.categories[name])
            all_ = dict(zip(column.buckets, column.pool, strict=True))
            all_ |= {bucket: all_.get(bucket, 0) + count for bucket, count in fresh.items()}
            pools.append(all_)
            # The order comes from the pool with the window in it, so it does not know which rows are the window's.
            order = sorted(all_, key=lambda bucket: (-all_[bucket], bucket))
            for i, bucket in enumerate(order):
                pool[j, min(i, VALUES)] += all_[bucket]
                drawn[j, min(i, VALUES)] += fresh.get(bucket, 0)
        scores = category_scores(pool, drawn, _chances(random, len(columns), VALUES + len(CATEGORY)))
        wealth = _bet(np.array([column.wealth for column in columns.values()]), scores, [c.windows for c in columns.values()])
        return {
            name: (
                Watched(tuple(pools[j].values()), tuple(pools[j]), tuple(wealth[j].tolist()), column.windows + 1),
                len(pools[j]) < 2,
            )
            for j, (name, column) in enumerate(columns.items())
        }


def number_scores(pool: I64, window: I64, chance: F64) -> F64:
    """[d, k] counts of missing values and ordered bins to a score per part of `NUMBER`, [d, 7], each N(0, 1) if nothing changed.

    The pool includes the window. `chance` [d, k - 1 + 7] are uniform; where the pool leaves a part nothing to say, chance speaks.

    Up and down are Wilcoxon's rank test, wider and narrower Mood's: the contrast of the bins' scores with the ranks of the pool, and
    with their squares. Shape is Pearson's chi-squared over all bins.
    """
    from kernels.hypergeometric import normal_scores

    nodes = pool.shape[1] - 1
    scores = normal_scores(pool, window, chance[:, :nodes])
    present = pool.astype(np.float64)
    present[:, 0] = 0
    ranks = (np.cumsum(present, axis=1) - present / 2) / np.maximum(present.sum(axis=1, keepdims=True), 1) - 0.5
    level, spread = _contrast(present, ranks, scores), _contrast(present, ranks**2, scores)
    parts = np.stack([level, -level, spread, -spread, scores[:, 0], -scores[:, 0], _shape(scores)], axis=1)
    return _or_chance(parts, chance[:, nodes:])


def category_scores(pool: I64, window: I64, chance: F64) -> F64:
    """[d, k] counts of values to a score per part of `CATEGORY`, [d, 2], as `number_scores`: the one value that surprises most, and
    Pearson's chi-squared over all."""
    from kernels.hypergeometric import normal_scores

    nodes = pool.shape[1] - 1
    scores = normal_scores(pool, window, chance[:, :nodes])
    return _or_chance(np.stack([_most(scores), _shape(scores)], axis=1), chance[:, nodes:])


def _contrast(pool: F64, values: F64, scores: F64) -> F64:
    """The test of the alternative that a row's odds to be the window's rise with its bin's value: [d], N(0, 1) or NaN.

    Bin i against those after it says sqrt(its weight) · (its value less their mean) of it; the sum of squares of these is the
    pool's variance of the values, as in an analysis of variance.
    """
    later = pool[:, ::-1].cumsum(axis=1)[:, ::-1] - pool
    sums = pool * values
    mean_later = (sums[:, ::-1].cumsum(axis=1)[:, ::-1] - sums) / np.maximum(later, 1)
    weights = (np.sqrt(pool * later / np.maximum(pool + later, 1)) * (values - mean_later))[:, :-1]
    size = np.sqrt((weights**2).sum(axis=1))
    enough = size > 1e-9 * np.sqrt(pool.sum(axis=1))
    total = (weights * np.nan_to_num(scores)).sum(axis=1)
    return np.where(enough, total / np.where(enough, size, 1), np.nan)


def _shape(scores: F64) -> F64:
    from scipy.special import chdtrc

    live = np.isfinite(scores).sum(axis=1)
    return _as_score(np.where(live > 0, chdtrc(np.maximum(live, 1), np.nansum(scores**2, axis=1)), np.nan))


def _most(scores: F64) -> F64:
    """The largest of independent scores, either sign (Šidák)."""
    from scipy.special import ndtr

    live = np.isfinite(scores).sum(axis=1)
    tail = 2 * ndtr(-np.abs(np.nan_to_num(scores)).max(axis=1))
    with np.errstate(divide="ignore"):  # a tail of one: nothing at all surprises
        return _as_score(np.where(live > 0, -np.expm1(live * np.log1p(-np.minimum(tail, 1.0))), np.nan))


def _as_score(p_values: F64) -> F64:
    from scipy.special import ndtri

    return -ndtri(np.clip(p_values, LEAST, 1 - 1e-16))  # type: ignore[no-any-return]


def _or_chance(parts: F64, chance: F64) -> F64:
    from scipy.special import ndtri

    return np.where(np.isnan(parts), ndtri(chance), parts)


def _bet(wealth: F64, scores: F64, windows: Sequence[int]) -> F64:
    """What the bets [d, parts · sizes] are worth after the scores [d, parts], in logarithms: the stake that joins now included."""
    joins = np.array([math.log(_waiting(seen) - _waiting(seen + 1)) for seen in windows])
    factors = (scores[:, :, None] * BETS - BETS**2 / 2).reshape(wealth.shape)
    # Rounded down, which no bet can profit from, so that the state is short.
    return np.floor((np.logaddexp(wealth, joins[:, None]) + factors) * 1e4) / 1e4  # type: ignore[no-any-return]


def _waiting(windows: int) -> float:
    """The share of the stake that bets on changes after this many windows: it falls so slowly that late changes cost little."""
    return 1 / math.log(math.e + windows)


def _nothing(parts: tuple[Part, ...]) -> tuple[float, ...]:
    return (-math.inf,) * (len(parts) * BETS.size)


def _chances(random: np.random.Generator, columns: int, each: int) -> F64:
    return np.maximum(random.random((columns, each)), 2.0**-54)


def _bucketed(values: Mapping[str, int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for value, count in values.items():
        if count:
            bucket = zlib.crc32(value.encode()) % BUCKETS
            counts[bucket] = counts.get(bucket, 0) + count
    return counts
