"""How often alarms cry wolf, and how soon they come when they should.

Streams of windows of 20 columns of mixed kinds, some of them correlated, are compared with a finite reference whose quantiles are
the edges of the bins, as in the engine. In the null streams nothing ever changes, so every alarm is false. In the others one
column goes up by the declared effect with window 25. Real rows are drawn; the monitor is the engine's own, window by window.
Beside it what is usual: a test per column at p < .05, Benjamini-Hochberg per window, and that with a limit on PSI.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, kolmogorov

import kernels
from benchmarks import result
from engine.alarms.anytime import Counted, Monitor
from engine.profile import QUANTILES as EDGES
from kernels.statistics.benjamini_hochberg import benjamini_hochberg
from kernels.statistics.chi_squared import chi_squared
from kernels.statistics.psi import psi

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

WINDOWS, REFERENCE, ROWS = 50, 10_000, 1_000
CHANGE = 25  # the window with which the change begins, counted from 1
EFFECT = 0.1  # declared: a shift of one column of 20, in its standard deviations
OTHERS = (0.05, 0.2)
LIMIT = 0.2  # of PSI
VALUES = (3, 12, 200, 2_000)  # of the four categories; the shares of the last two fall like 1 / rank
COLUMNS = 16 + len(VALUES)


def numbers(random: np.random.Generator, rows: int) -> F64:
    """[rows, 16]: normal ones with a common factor, skew, heavy tails, missing values, counts, flags, mostly zero."""
    x = random.normal(size=(rows, 16))
    x[:, 1:5] = 0.7 * x[:, 1:5] + 0.7 * random.normal(size=(rows, 1))
    x[:, 5:7] = np.exp(x[:, 5:7])
    x[:, 7:9] /= np.sqrt(random.chisquare(3, (rows, 1)) / 3)
    x[random.random(rows) < 0.05, 9] = np.nan
    x[random.random(rows) < 0.2, 10] = np.nan
    x[:, 11:13] = random.poisson((3, 0.2), (rows, 2))
    x[:, 13:15] = random.random((rows, 2)) < (0.5, 0.02)
    x[random.random(rows) < 0.9, 15] = 0
    return x


def categories(random: np.random.Generator, rows: int) -> list[I64]:
    """Counts of the values of each category."""
    shares = [np.ones(k) if k < 100 else 1 / np.arange(1, k + 1) for k in VALUES]
    return [random.multinomial(rows, share / share.sum()) for share in shares]


@dataclass(frozen=True)
class Stream:
    """Window by window (from 0) the first alarm of each rule, or -1; `mine` is the monitor's in the column that changed."""

    monitor: int
    mine: int
    tests: int
    corrected: int
    limited: int


def live_through(effect: float | None, reference: int, rows: int, seed: int) -> Stream:
    """One stream; with an effect only the monitor and the limit on PSI of the column that changes are looked at."""
    random = np.random.default_rng((seed, reference, rows, round(1000 * (effect or 0))))
    first, values = numbers(random, reference), categories(random, reference)
    edges = np.stack([np.nanquantile(column, np.linspace(0, 1, EDGES + 2)[1:-1]) for column in first.T])
    before = kernels.profile(first, edges)
    ordered = kernels.sort_columns(first)
    monitor = Monitor()
    watch = monitor.begin(counted(before, values))
    found = dict.fromkeys(("monitor", "mine", "tests", "corrected", "limited"), -1)
    for number in range(WINDOWS):
        x, now = numbers(random, rows), categories(random, rows)
        if effect and number + 1 >= CHANGE:
            x[:, 0] += effect
        after = kernels.profile(x, edges)
        watch, alarms = monitor.watch(watch, counted(after, now), str(number))
        said = {"monitor": bool(alarms), "mine": any(alarm.column == "0" for alarm in alarms)}
        sizes = psi(before.counts_and_missing, after.counts_and_missing)
        if effect:
            said["limited"] = bool(sizes[0] > LIMIT)
        else:
            p_values = tests(ordered, kernels.sort_columns(x), values, now)
            sizes = np.append(sizes, [float(psi(a, b)) for a, b in zip(values, now, strict=True)])
            q_values = benjamini_hochberg(p_values)
            said["tests"] = bool((p_values < 0.05).any())
            said["corrected"] = bool((q_values < 0.05).any())
            said["limited"] = bool(((q_values < 0.05) & (sizes > LIMIT)).any())
        found |= {rule: number for rule, alarm in said.items() if alarm and found[rule] < 0}
    return Stream(**found)


def counted(table: kernels.ColumnCounts, values: Sequence[I64]) -> Counted:
    """A table as the monitor takes it."""
    counts = np.concatenate([table.missing[:, None], table.counts], axis=1)
    names = {f"c{j}": {str(v): n for v, n in enumerate(each.tolist()) if n} for j, each in enumerate(values)}
    return Counted({str(j): tuple(row) for j, row in enumerate(counts.tolist())}, names)


def tests(a: Sequence[F64], b: Sequence[F64], before: Sequence[I64], after: Sequence[I64]) -> F64:
    """Kolmogorov-Smirnov p-values of the numbers, chi-squared ones of the categories."""
    distances = np.array([kernels.ks_wasserstein(x, y)[0] for x, y in zip(a, b, strict=True)])
    sizes = np.array([x.size * y.size / (x.size + y.size) for x, y in zip(a, b, strict=True)])
    shares = [float(chi_squared(x, y).p_value) for x, y in zip(before, after, strict=True)]
    return np.append(kolmogorov(np.sqrt(sizes) * distances), shares)


def run(streams: int, jobs: int, effect: float | None = None, reference: int = REFERENCE, rows: int = ROWS) -> list[Stream]:
    """So many streams of a kind, each with a seed of its own."""
    one = partial(live_through, effect, reference, rows)
    if jobs == 1:
        return [one(seed) for seed in range(streams)]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(one, range(streams), chunksize=10))


def cpu_seconds() -> float:
    """Of this process and those that it started."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def share(hits: int, of: int) -> str:
    """A share with its exact 95% interval (Clopper and Pearson)."""
    low = betaincinv(hits, of - hits + 1, 0.025) if hits else 0.0
    high = betaincinv(hits + 1, of - hits, 0.975) if hits < of else 1.0
    return f"{hits / of:.2%} ({low:.2%}–{high:.2%})"


def false_alarms(streams: Sequence[Stream]) -> Iterator[list[str]]:
    """One row a rule: the streams with any alarm, and with one in the first window."""
    for rule, words in (
        ("monitor", "**the monitor, alpha 5% for ever**"),
        ("tests", "a test per column, p < .05"),
        ("corrected", "Benjamini-Hochberg per window, q < .05"),
        ("limited", f"that and PSI > {LIMIT}"),
    ):
        when = np.array([getattr(stream, rule) for stream in streams])
        yield [words, share(int((when >= 0).sum()), when.size), share(int((when == 0).sum()), when.size)]


def power(effect: float, streams: Sequence[Stream]) -> list[str]:
    """One row: alarms of the column that changed, by the end and by delay, and false ones before it changed."""
    when = np.array([stream.mine for stream in streams])
    delays = np.where(when >= CHANGE - 1, when - (CHANGE - 2), WINDOWS).astype(float)
    seen = delays < WINDOWS
    early = sum(0 <= stream.monitor < CHANGE - 1 for stream in streams)
    limited = sum(stream.limited >= 0 for stream in streams)
    quantiles = [f"{q:.0f}" if q < WINDOWS else "not seen" for q in np.quantile(delays, (0.5, 0.9), method="higher")]
    return [f"{effect:g} sd", share(int(seen.sum()), seen.size), *quantiles, share(early, seen.size), share(limited, seen.size)]


def main() -> None:
    """Run, print and write `results/alarms.md`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--streams", type=int, default=2_000)
    parser.add_argument("--changed", type=int, default=400, help="streams with the declared effect; half as many with others")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    began = time.monotonic()
    null = run(arguments.streams, arguments.jobs)
    small = run(arguments.streams // 5, arguments.jobs, reference=1_000, rows=100)
    changed = [(EFFECT, run(arguments.changed, arguments.jobs, EFFECT))]
    changed += [(effect, run(arguments.changed // 2, arguments.jobs, effect)) for effect in OTHERS]
    body = [
        f"{WINDOWS} windows of {ROWS:,} rows and {COLUMNS} columns (16 numbers: normal, correlated, skewed, heavy-tailed, with",
        "missing values, counts, flags, mostly zero; 4 categories of 3, 12, 200 and 2,000 values), compared with a reference of",
        f"{REFERENCE:,} rows, whose quantiles are the {EDGES} edges. In brackets exact 95% intervals.",
        f"{time.monotonic() - began:.0f} seconds on the clock, {cpu_seconds():.0f} of CPU.",
        "",
        f"## {len(null):,} streams in which nothing changed",
        "",
        *result.table(["rule", "streams with any alarm", "alarm in the first window"], list(false_alarms(null))),
        "",
        f"The same with a reference of 1,000 rows and windows of 100, {len(small):,} streams:",
        "",
        *result.table(["rule", "streams with any alarm", "alarm in the first window"], list(false_alarms(small))),
        "",
        f"## One column goes up with window {CHANGE}",
        "",
        f"Declared is {EFFECT:g} standard deviations in one of {COLUMNS} columns. Seen: the monitor alarms for that column by",
        f"window {WINDOWS}. A delay of 1 is an alarm in window {CHANGE} itself.",
        "",
        *result.table(
            ["shift", "seen", "median delay", "90% delay", "any alarm before", f"PSI > {LIMIT} in that column"],
            [power(effect, streams) for effect, streams in sorted(changed, key=lambda each: each[0])],
        ),
    ]
    path = result.write("alarms", "How often alarms cry wolf, and how soon they come", body)
    print(path.read_text())


if __name__ == "__main__":
    main()
