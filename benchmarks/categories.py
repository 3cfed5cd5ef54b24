"""Drift of words, booleans, dates and missing values: ours beside scipy, evidently, nannyml, alibi-detect and frouros.

As `benchmarks.drift` does for numbers: a peer and ours answer in turn, from the same raw column to the statistic, the reference
ready wherever the peer can keep something of it. Every value of a peer is checked against ours over counts that NumPy made, and
every value of ours, too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import result
from benchmarks.peers import agreement
from benchmarks.peers.agreement import Agreement
from benchmarks.peers.beside import FEWEST, HEADINGS, RUNS, Compared, Comparison, Taken, in_turn, row
from benchmarks.peers.categories.columns import CATEGORIES, COLUMNS, write
from benchmarks.peers.process import CACHE, Peer, version
from kernels.statistics.chi_squared import chi_squared
from kernels.statistics.hellinger import hellinger
from kernels.statistics.jensen_shannon import jensen_shannon
from kernels.statistics.l_infinity import l_infinity
from kernels.statistics.psi import psi

ROWS = 1_000_000
ROOM = "benchmarks.peers.categories"
Statistic = Callable[[Any, Any], Any]

OURS: dict[str, Statistic] = {
    "chi2": lambda before, after: chi_squared(before, after, least_expected=0).statistic,
    "psi": agreement.plain_psi,
    "js": jensen_shannon,
    "hellinger": hellinger,
    "l_infinity": l_infinity,
}


def gap(before: Any, after: Any) -> Any:
    """Kolmogorov-Smirnov of ordered values from the counts of each."""
    p, q = (np.cumsum(side, axis=1) / side.sum(axis=1, keepdims=True) for side in (before, after))
    return np.abs(p - q).max(axis=1)


# As our calls have them: PSI smoothed, rare values pooled for chi-squared.
OWN: dict[str, Statistic] = OURS | {
    "chi2": lambda before, after: chi_squared(before, after).statistic,
    "psi": psi,
    "kolmogorov_smirnov": gap,
}


@dataclass(frozen=True)
class Asked:
    """A peer's call for one column, ours, and what the peer's value has to be over its counts; `missing` is one of its values.

    `form` is what ours begins with (`benchmarks.peers.categories.ours`); `target` how many times faster it must be.
    """

    peer: str
    column: str
    theirs: str
    ours: str
    expected: Statistic | None
    tolerance: float | None = 1e-9
    missing: bool = False
    form: str = "arrays"
    target: float | None = None

    @property
    def comparison(self) -> Comparison:
        """As `benchmarks.peers.beside` has it."""
        ours = f"{self.form} {self.column}: {self.ours}"
        return Comparison(self.peer, f"{self.column}: {self.theirs}", ours, None, None, self.target)


def asked() -> list[Asked]:
    """Every comparison."""
    found = []
    for name in CATEGORIES:
        gone = "missing" in name
        yates = name == "booleans"
        found += [
            Asked("scipy", name, "chi2", "chi2", OURS["chi2"], missing=True),
            Asked("frouros", name, "chi2", "chi2", OURS["chi2"], missing=True),
            Asked("alibi_detect", name, "chi2", "chi2", None if yates else OURS["chi2"], 1e-6, missing=True),
        ]
        for form, target in (("polars", 3.0), ("arrays", None)):
            found += [
                Asked("nannyml", name, each, each, None if yates and each == "chi2" else OURS[each], form=form, target=target)
                for each in ("chi2", "js", "hellinger", "l_infinity")
            ]
        for way in ("",) if gone else ("", "bare "):  # alone, evidently's functions count missing rows and no missing value
            found += [
                Asked("evidently", name, f"{way}psi", "psi", OURS["psi"]),
                Asked("evidently", name, f"{way}js", "js", agreement.jensen_shannon_nats),
                Asked("evidently", name, f"{way}hellinger", "hellinger", OURS["hellinger"], 1e-6),
                Asked("evidently", name, f"{way}chi2", "chi2", None),
            ]
    return [*found, Asked("scipy", "dates", "kolmogorov_smirnov", "kolmogorov_smirnov", gap)]


EVERY = tuple(asked())
PEERS = tuple(dict.fromkeys(one.peer for one in EVERY))


def counts(table: NDArray[np.int32], column: str, missing: bool) -> NDArray[np.int64]:
    """[1, k] how often each code occurs, a missing value first or not at all."""
    j = [each.name for each in COLUMNS].index(column)
    found = np.bincount(table[:, j] + 1, minlength=COLUMNS[j].size + 1)
    return found[None, 0 if missing else 1 :]


def agreed(one: Asked, value: float, tables: Sequence[NDArray[np.int32]]) -> Agreement | None:
    """How far a value is from what it has to be, relative to values above 1."""
    if one.expected is None:
        return None
    wanted = float(one.expected(*(counts(table, one.column, one.missing) for table in tables))[0])
    return Agreement(abs(value - wanted) / max(abs(wanted), 1), one.tolerance)


def compare(every: Sequence[Asked], rows: int) -> tuple[list[Compared], list[Agreement], dict[str, Taken]]:
    """Ask each peer and ours in turn: what they took, whether our own values are right, and what ours take from polars."""
    found, own = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, rows)
        tables = [np.load(folder / f"{side}.npy") for side in ("reference", "current")]
        with Peer("ours", folder, len(COLUMNS), room=ROOM) as ours:
            for peer_name in dict.fromkeys(one.peer for one in every):
                with Peer(peer_name, folder, len(COLUMNS), room=ROOM) as peer:
                    for one in (one for one in every if one.peer == peer_name):
                        comparison = one.comparison
                        theirs, mine = in_turn((peer, comparison.theirs), (ours, comparison.ours))
                        said = agreed(one, theirs.values["value"][0], tables)
                        found.append(Compared(comparison, 1, theirs, mine, said))
                        right = Asked("ours", one.column, one.ours, one.ours, OWN[one.ours], missing=True)
                        own.append(agreed(right, mine.values["value"][0], tables))
                        print(*row(found[-1]), sep="  ", flush=True)
            alone = [f"polars {column.name}: all" for column in COLUMNS]
            polars = {call: in_turn((ours, call))[0] for call in alone}
    return found, [one for one in own if one is not None], polars


# the report

HOW = """\
Each call goes from the raw column to one statistic, and ours to the interval and the chance of it as well: it counts the
column into a Profile and measures that. `polars`: each tool has the table as it reads Parquet, nannyml a pandas one with text
as objects, ours a polars one. `arrays`: ours, too, gets the objects, bool or datetime64 that the peer gets, and turns them
into a polars Series, which is two thirds of its time for text. scipy is given text of fixed width and alibi-detect integers,
which spares them that. evidently's `bare` is the function behind its report, alone. A missing value is one more value for
ours, scipy, frouros and alibi-detect; evidently and nannyml leave such rows out, and what their values are compared with does
so, too. Of other definition: evidently's chi-squared takes the reference for exact, alibi-detect's and nannyml's have Yates'
correction for booleans. evidently's total variation, a test of 1,000 permutations over Python lists, was not waited for: 7
core-seconds for 10,000 rows. Of dates no peer has a statistic but scipy, as days."""


def claims(compared: Sequence[Compared], own: Sequence[Agreement]) -> list[str]:
    """What must hold, in words with its numbers."""
    checked = [one.agreement for one in compared if one.agreement is not None]
    apart = [one for one in compared if one.agreement is not None and not one.agreement.holds]
    named = ", ".join(f"{one.comparison.peer} {one.comparison.theirs}" for one in apart)
    judged = [one for one in compared if one.comparison.target is not None]
    missed = [f"{one.comparison.theirs} {one.ratio:.1f}×" for one in judged if one.ratio < (one.comparison.target or 0)]
    said = [
        *[(not missed, f"{len(judged)} targets beside nannyml, missed: {', '.join(missed) or 'none'}") for _ in judged[:1]],
        (not apart, f"values agree in {len(checked) - len(apart)} comparisons of {len(checked)}{': not ' * bool(apart)}{named}"),
        (all(one.holds for one in own), f"ours from the raw column is ours over NumPy's counts in {len(own)} comparisons"),
    ]
    return [f"- {'held' if held else 'NOT HELD'}: {words}" for held, words in said]


def main(words: Sequence[str] | None = None) -> None:
    """Run, print and write `results/categories.md`, and every number and value as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS, help=f"of each table ({ROWS:,})")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--json", type=Path, default=CACHE / "categories.json")
    arguments = parser.parse_args(words)
    compared, own, polars = compare([one for one in EVERY if one.peer in arguments.peers], arguments.rows)
    alone = [
        [call, f"{1e3 * taken.seconds:.2f}", f"{1e3 * taken.cpu_seconds:.2f}", f"{taken.peak / 1e6:.0f}", str(len(taken.values))]
        for call, taken in polars.items()
    ]
    body = [
        f"Columns of {arguments.rows:,} rows, {FEWEST} to {RUNS} runs of peer and ours in turn; medians with the",
        "smallest and the largest run; MB are beyond the data.",
        f"Peers: {', '.join(version(name) for name in arguments.peers)}.",
        "",
        *claims(compared, own),
        "",
        "## Beside the peers",
        "",
        HOW,
        "",
        *result.table(HEADINGS, [row(one) for one in compared]),
        "",
        "## Ours alone, from a polars Series, all statistics of the column",
        "",
        *result.table(["column", "ms", "core-ms", "MB", "statistics"], alone),
    ]
    path = result.write("categories", "Drift of words, booleans and dates", body)
    arguments.json.parent.mkdir(exist_ok=True)
    measured = {"comparisons": [one.as_json for one in compared], "polars": {call: vars(taken) for call, taken in polars.items()}}
    arguments.json.write_text(json.dumps(measured, indent=1))
    print(path.read_text())


if __name__ == "__main__":
    main()
