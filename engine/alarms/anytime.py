"""The monitor: over an endless stream of windows, the chance that it ever alarms falsely, in any column, is at most alpha.

Tests made anew for every window cannot promise that: at 5% each, something alarms every few windows for ever. Here every column
has bets running against "nothing changed". If nothing changed, no bet can be expected to win, and the chance that it ever
multiplies its stake by 1/alpha is at most alpha, however long it runs (Ville's inequality).

1. *One pool.* The rows of the reference and of all windows since are counted in one pool. If nothing changed, a window is a
   random draw from the pool that it has just joined, whatever the distribution: its counts are multivariate hypergeometric,
   exactly, in finite samples. No limit theorem, and the reference is never mistaken for the truth.
2. *Scores.* `kernels.hypergeometric` turns a window's counts into independent standard normal scores; from them come the parts
   below, each again N(0, 1). Given the pool that holds a window, later windows say nothing more about how it was drawn: looked
   at backwards, each score is independent of all later ones, so they all are, although one finite reference is behind every one
   of them. This is the argument of conformal test martingales, here for counts.
3. *Bets.* A score z multiplies the stake by exp(bet·z - bet²/2), which is 1 on average. The stake is spread over three sizes of
   bet and over the window with which the change begins, in shares that sum to 1: a change after a thousand windows is found
   nearly as soon as one at the start. It is one number of state per size.
4. *Columns.* Each part of each column has its share of alpha. Their sum bounds the chance of any false alarm, however the
   columns depend on each other, and a column that did not change is safe from those that did.

What this rests on. Rows are exchangeable while nothing changes: a weekly rhythm, rows in clusters, windows with a mood of their
own are change to the monitor, and it says so; `engine.alarms.quiet` is for such streams. Bins do not depend on the rows:
quantiles of the reference do a little, and the benchmark `alarms` counts the false alarms with such edges. And with rows enough
the monitor finds changes too small to matter: hold an effect size against its alarms.

What beginning again means. The bound is for one reference, from `begin` to the next `begin`. A new reference whose rows had no
part in an alarm has a whole alpha of its own: over r references the expected number that ever alarm falsely is at most r·alpha.
A column that alarmed is not watched until it begins again. `restart` with rows that came after the alarm gives it its whole
share anew, and it looks for the next change from there. With the *same* reference the first alarm was bounded and the later
ones are not: a reference that misled once may mislead again.

Sources: Ville, "Étude critique de la notion de collectif", 1939; Vovk, Nouretdinov and Gammerman, "Testing exchangeability
on-line", 2003; Vovk, "Testing randomness online", 2021; Shafer, "Testing by betting", 2021.
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
    """A column changed. `chance`: that an unchanged stream ever, in any column and window, gives as much reason to think so."""

    column: str
    window: str
    part: Part
    chance: float

    def __str__(self) -> str:
        odds = f"{1 / self.chance:,.0f}" if self.chance > 1e-9 else "over a billion"
        return f"{self.column}: {WORDS[self.part]} (of unchanged streams, one in {odds} ever looks so in any column)"


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
            counts = _bucketed(values)
            held = np.flatnonzero(counts)
            categories[name] = Watched(tuple(counts[held].tolist()), tuple(held.tolist()), _nothing(CATEGORY))
        return Watch(numbers | categories)

    def restart(self, watch: Watch, fresh: Counted, columns: Sequence[str]) -> Watch:
        """Let these columns begin again on the rows of `fresh`; the module says what is promised then. KeyError names others."""
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
        numbers = {key: c for key, c in going.items() if c.buckets is None and sum(window.numbers.get(key, ())) > 0}
        categories = {
            key: c for key, c in going.items() if c.buckets is not None and any(window.categories.get(key, {}).values())
        }
        random = np.random.default_rng((self.seed, watch.windows))
        columns, alarms = dict(watch.columns), []
        for kind, watched, step in ((NUMBER, numbers, _numbers), (CATEGORY, categories, _categories)):
            if not watched:
                continue
            pools, scores = step(watched, window, random)
            wealth = _bet(np.array([c.wealth for c in watched.values()]), scores, [c.windows for c in watched.values()])
            worth = _worth(wealth, [c.windows + 1 for c in watched.values()])
            best = worth.argmax(axis=1)
            for (key, old), (pool, buckets), bets, row, i in zip(
                watched.items(), pools, wealth.tolist(), worth, best, strict=True
            ):
                chance = _chance(row[i], len(kind) * len(columns))
                varies = max(pool) < sum(pool)  # with one value only, its scores are chance alone
                alarm = Alarm(key, name, kind[i], chance) if varies and chance <= self.alpha else None
                columns[key] = Watched(pool, buckets, tuple(bets), old.windows + 1, alarm)
                alarms += [alarm] if alarm else []
        return Watch(columns, watch.windows + 1), tuple(sorted(alarms, key=lambda alarm: alarm.chance))

    def chances(self, watch: Watch) -> dict[str, float]:
        """Column → the chance that any column of an unchanged stream ever looked as this one does now, or did when it alarmed."""
        found = {}
        for name, column in watch.columns.items():
            worth = _worth(np.array([column.wealth]), [column.windows]).max()
            found[name] = column.alarm.chance if column.alarm else _chance(worth, len(column.parts) * len(watch.columns))
        return found


Pool = tuple[tuple[int, ...], tuple[int, ...] | None]  # what `Watched` keeps of a column: counts, and the buckets they are of


def _numbers(columns: Mapping[str, Watched], window: Counted, random: np.random.Generator) -> tuple[list[Pool], F64]:
    """The pools with the window in them, and the scores of the parts."""
    widths = [len(column.pool) for column in columns.values()]
    pool, drawn = np.zeros((2, len(columns), max(widths)), dtype=np.int64)
    for j, (name, column) in enumerate(columns.items()):
        counts = window.numbers[name]
        if len(counts) != len(column.pool):
            raise ValueError(
                f"column {name!r} has {len(counts)} bins and its reference {len(column.pool)}: count both over the same edges"
            )
        pool[j, : len(counts)], drawn[j, : len(counts)] = column.pool, counts
    pool += drawn
    scores = number_scores(pool, drawn, _chances(random, len(columns), max(widths) - 1 + len(NUMBER)))
    return [(tuple(row[:width]), None) for row, width in zip(pool.tolist(), widths, strict=True)], scores


def _categories(columns: Mapping[str, Watched], window: Counted, random: np.random.Generator) -> tuple[list[Pool], F64]:
    """The same of categories."""
    pool, drawn = np.zeros((2, len(columns), VALUES + 1), dtype=np.int64)
    pools: list[Pool] = []
    for j, (name, column) in enumerate(columns.items()):
        fresh = _bucketed(window.categories[name])
        everything = fresh.copy()
        everything[np.array(column.buckets, dtype=np.int64)] += np.array(column.pool, dtype=np.int64)
        held = np.flatnonzero(everything)
        pools.append((tuple(everything[held].tolist()), tuple(held.tolist())))
        # The order comes from the pool with the window in it, so it does not know which rows are the window's.
        order = held[np.argsort(-everything[held], kind="stable")]
        for counts, into in ((everything[order], pool[j]), (fresh[order], drawn[j])):
            into[: min(order.size, VALUES)] = counts[:VALUES]
            into[VALUES] = counts[VALUES:].sum()
    return pools, category_scores(pool, drawn, _chances(random, len(columns), VALUES + len(CATEGORY)))


def number_scores(pool: I64, window: I64, chance: F64) -> F64:
    """[d, k] counts of missing values and ordered bins to a score per part of `NUMBER`, [d, 7], each N(0, 1) if nothing changed.

    The pool includes the window. `chance` [d, k - 1 + 7] are uniform; where the pool leaves a part nothing to say, chance speaks.

    Up and down are Wilcoxon's rank test, wider and narrower Mood's: contrasts of the bins' scores with the ranks of the pool and
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
    """[d, k] counts of values to a score per part of `CATEGORY`, [d, 2], otherwise as `number_scores`.

    The one value that surprises most, and Pearson's chi-squared over all.
    """
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
    tail = np.minimum(2 * ndtr(-np.abs(np.nan_to_num(scores)).max(axis=1)), 1 - 1e-16)
    return _as_score(np.where(live > 0, -np.expm1(live * np.log1p(-tail)), np.nan))


def _as_score(p_values: F64) -> F64:
    from scipy.special import ndtri

    return -ndtri(np.clip(p_values, LEAST, 1 - 1e-16))  # type: ignore[no-any-return]


def _or_chance(parts: F64, chance: F64) -> F64:
    from scipy.special import ndtri

    return np.where(np.isnan(parts), ndtri(chance), parts)


def _bet(wealth: F64, scores: F64, windows: Sequence[int]) -> F64:
    """What the bets [d, parts · sizes] are worth after the scores [d, parts], in logarithms, with the stake that joins now."""
    joins = np.array([math.log(_waiting(seen) - _waiting(seen + 1)) for seen in windows])
    factors = (scores[:, :, None] * BETS - BETS**2 / 2).reshape(wealth.shape)
    # Rounded down, which no bet can profit from, so that the state is short.
    return np.floor((np.logaddexp(wealth, joins[:, None]) + factors) * 1e4) / 1e4  # type: ignore[no-any-return]


def _worth(wealth: F64, windows: Sequence[int]) -> F64:
    """What the stake on each part has become, in logarithms, [d, parts]: the bets, and what is not at stake yet."""
    bets = np.logaddexp.reduce(wealth.reshape(len(wealth), -1, BETS.size), axis=2) - math.log(BETS.size)
    return np.logaddexp(np.array([math.log(_waiting(seen)) for seen in windows])[:, None], bets)  # type: ignore[no-any-return]


def _chance(worth: float, shares: int) -> float:
    """Ville's inequality for one of so many stakes."""
    return max(math.exp(min(math.log(shares) - worth, 0.0)), LEAST)


def _waiting(windows: int) -> float:
    """The share of the stake that bets on changes after this many windows: it falls so slowly that late changes cost little."""
    return 1 / math.log(math.e + windows)


def _nothing(parts: tuple[Part, ...]) -> tuple[float, ...]:
    return (-math.inf,) * (len(parts) * BETS.size)


def _chances(random: np.random.Generator, columns: int, each: int) -> F64:
    return np.maximum(random.random((columns, each)), 2.0**-54)


def _bucketed(values: Mapping[str, int]) -> I64:
    """Rows per bucket, [BUCKETS]."""
    buckets = [zlib.crc32(value.encode()) % BUCKETS for value in values]
    counts = np.zeros(BUCKETS, dtype=np.int64)
    np.add.at(counts, np.array(buckets, dtype=np.int64), np.array(list(values.values()), dtype=np.int64))
    return counts
