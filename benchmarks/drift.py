"""Statistics of drift: ours beside scipy, evidently, nannyml, alibi-detect, frouros and whylogs, same data, one run.

Each peer is a process in an environment of its own (`benchmarks.peers`), called the way its documentation shows. A peer and ours
answer in turn, on the same columns, with the reference ready wherever the peer can keep something of it. All peers work column by
column, so a few columns tell; what ours takes as tables grow is measured on ours alone. Every number a peer gives is checked
against ours: the same value, or the same from the peer's own bins.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import result
from benchmarks.peers import agreement, tables
from benchmarks.peers.agreement import falling, over, same
from benchmarks.peers.beside import FEWEST, HEADINGS, LIMIT, RUNS, Compared, Comparison, Taken, in_turn, row
from benchmarks.peers.ours import BINS, EDGES
from benchmarks.peers.process import CACHE, Peer, version
from kernels.statistics.hellinger import hellinger
from kernels.statistics.jensen_shannon import jensen_shannon

ROWS, COLUMNS = 1_000_000, 4
WIDE = 1_000_000, 100  # the table that the whole suite is measured on
SCALE = [(n, d) for d in (10, 100, 1000) for n in (10**4, 10**5, 10**6, 10**7) if n * d <= 10**8]
H100 = 3.35e12  # bytes a second, its memory's rated bandwidth
# Bytes an element has to move: the pass reads it; a radix sort by eight bits reads it once to count, then reads and writes it
# four times; the merge reads it and its counterpart in the reference, as do the sums that stand for most of it.
BYTES = {"pass": 4, "sort": 36, "ks and w1": 44, "exact": 44}

# What must hold.
PASS_NS = 3.5  # core-nanoseconds an element
EXACT_MS = 13.0  # core-milliseconds a column of a million rows, sorting included
SUITE = 30, 15.0, 1.5e9  # statistics at least, seconds and bytes beyond the data at most, on the wide table


NOTES = {
    "cpu": (
        "Nothing here ran on a GPU: what an H100 takes is on paper, bytes by its rated bandwidth. `--device cuda` measures it.",
    ),
    "cuda": ("GB/s are of the bytes that have to move; beside them, those of a copy within the device, read and written.",),
}


TWO = "ks and w1"
KS, W1 = (same("exact", part) for part in ("kolmogorov_smirnov", "wasserstein"))
FEW, MANY = f"{EDGES} edges", f"{BINS} bins"
EVIDENTLY = (
    ("psi", "psi", over(agreement.sturges_filled, agreement.plain_psi), 1e-6, 100),
    ("jensen_shannon", "jensen_shannon", over(agreement.sturges, agreement.jensen_shannon_nats), 1e-9, 100),
    ("kl", "kl", over(agreement.sturges_filled, agreement.plain_kl), 1e-6, None),
    # The root of 1 less a sum of float32 densities: where the distance is 0.01, seven digits of the sum are three of it.
    ("hellinger", "hellinger", over(agreement.sturges_of_values, hellinger), 1e-4, None),
    ("kolmogorov_smirnov", TWO, agreement.ks_p_value, 1e-6, 40),
    ("wasserstein", TWO, agreement.in_deviations, 1e-6, 40),
)
COMPARISONS = (
    Comparison("scipy", "kolmogorov_smirnov", TWO, KS, 1e-9, 20),
    Comparison("scipy", "wasserstein", TWO, W1, 1e-9, 20),
    Comparison("scipy", "both", TWO, None, None, 20),
    Comparison("scipy", "both", "exact", None, None),
    Comparison("scipy", "energy", "exact", same("exact", "energy"), 1e-9),
    Comparison("scipy", "mann_whitney", "exact", same("exact", "mann_whitney"), 1e-9),
    Comparison("scipy", "cramer_von_mises", "exact", same("exact", "cramer_von_mises"), 1e-9),
    Comparison("scipy", "anderson_darling", "exact", same("exact", "anderson_darling"), 1e-9),
    Comparison("scipy", "welch_t", "moments", falling("moments", "welch_t"), 1e-9),
    Comparison("alibi_detect", "kolmogorov_smirnov", TWO, KS, 1e-7, 20),
    Comparison("alibi_detect", "cramer_von_mises", "exact", same("exact", "cramer_von_mises"), 1e-2),  # ranks in float32
    *(Comparison("evidently", call, *rest) for call, *rest in EVIDENTLY),
    *(Comparison("evidently", f"bare {call}", ours, expected, apart) for call, ours, expected, apart, _ in EVIDENTLY),
    Comparison("nannyml", "kolmogorov_smirnov", FEW, KS, None),
    Comparison("nannyml", "kolmogorov_smirnov", MANY, KS, None, 3),
    Comparison("nannyml", "kolmogorov_smirnov", TWO, KS, None),
    Comparison("nannyml", "wasserstein", FEW, W1, None),
    Comparison("nannyml", "wasserstein", MANY, W1, None, 3),
    Comparison("nannyml", "wasserstein", TWO, W1, None),
    Comparison("nannyml", "jensen_shannon", "jensen_shannon", over(agreement.doane, jensen_shannon), 1e-9, 3),
    Comparison("nannyml", "hellinger", "hellinger", over(agreement.doane, hellinger), 1e-9, 3),
    Comparison("nannyml", "all four", "binned four", None, None, 3),
    Comparison("frouros", "psi", "psi", over(agreement.tenths_filled, agreement.plain_psi), 1e-9),
    Comparison("frouros", "jensen_shannon", "jensen_shannon", None, None),
    Comparison("frouros", "hellinger", "hellinger", over(agreement.tenths, hellinger), 1e-9),
    Comparison("frouros", "kolmogorov_smirnov", TWO, KS, 1e-9),
    Comparison("frouros", "wasserstein", TWO, W1, 1e-9),
    Comparison("whylogs", "kolmogorov_smirnov", FEW, KS, None),
    Comparison("whylogs", "hellinger", "hellinger", None, None),
)
IN_FLOAT64 = tuple(c for c in COMPARISONS if c.ours == TWO and c.target)  # what is compared on the same values as float64 too
PEERS = tuple(dict.fromkeys(comparison.peer for comparison in COMPARISONS))


@contextmanager
def table(rows: int, columns: int, kind: str = "float32") -> Iterator[Path]:
    """A folder with the two tables, for as long as it is wanted."""
    with tempfile.TemporaryDirectory() as name:
        tables.write(Path(name), rows, columns, kind)
        yield Path(name)


def compare(comparisons: Sequence[Comparison], rows: int, columns: int, kind: str, device: str) -> list[Compared]:
    """Ask each peer and ours in turn, and check what came out."""
    found = []
    with table(rows, columns, kind) as folder, Peer("ours", folder, columns, device) as ours:
        before, after = (np.load(folder / f"{name}.npy") for name in ("reference", "current"))
        known = {call: ours.ask(call)["values"] for call in ("exact", "moments")}
        for name in dict.fromkeys(comparison.peer for comparison in comparisons):
            with Peer(name, folder, columns) as peer:
                for comparison in comparisons:
                    if comparison.peer != name:
                        continue
                    theirs, mine = in_turn((peer, comparison.theirs), (ours, comparison.ours))
                    agreed = None
                    if comparison.expected is not None:
                        values = theirs.values["value"]
                        agreed = agreement.agreement(values, comparison.expected, comparison.tolerance, known, before, after)
                    found.append(Compared(comparison, columns, theirs, mine, agreed))
                    print(kind, *row(found[-1]), sep="  ", flush=True)
    return found


def alone(rows: int, columns: int, calls: Sequence[str], device: str) -> dict[str, Taken]:
    """What calls of ours take on a table of this size."""
    with table(rows, columns) as folder, Peer("ours", folder, columns, device) as ours:
        return {call: in_turn((ours, call))[0] for call in calls if call in ours.ready["calls"]}


# the report


HOW = """\
`ks and w1` is one sort, and a merge of what could change either, charged in full to each of the two; `exact` is one sort and one
merge of everything, for every exact statistic; passes over counts are charged in full too. nannyml's estimates are compared with
ours from as many bins, with ours from the 31 edges of a profile, and with the exact ones. evidently also draws each column;
`bare` is the function behind its report, alone. whylogs sketches the current table first, and only estimates. Values: the same
definition agrees within what is stated; other bins are checked by ours over the peer's own bins; an estimate is told by its
distance from the exact value."""


def growth(rows: int, columns: int, taken: dict[str, Taken], device: str) -> list[list[str]]:
    """Lines of the table of sizes, one a call."""
    elements = rows * columns
    found = []
    for call in BYTES:
        one = taken[call]
        moved = BYTES[call] * elements
        line = [
            f"{rows:,} × {columns:,} {call}",
            f"{one.seconds * 1e3:.1f}",
            f"{one.seconds / elements * 1e9:.2f}",
            f"{one.cpu_seconds / elements * 1e9:.2f}",
            f"{one.peak / 1e6:.0f}",
            f"{moved / H100 * 1e3:.3f}",
        ]
        if device == "cuda":
            copied = 2 * 4 * elements / taken["copy"].seconds
            line += [f"{moved / one.seconds / 1e9:.0f}", f"{copied / 1e9:.0f}"]
        found.append(line)
    return found


def claims(compared: Sequence[Compared], wide: dict[str, Taken], rows: int, columns: int, device: str = "cpu") -> list[str]:
    """What must hold, in words with its numbers; core time is the CPU's alone."""
    elements = rows * columns
    nanoseconds, two, exact = (wide[call].cpu_seconds / elements * 1e9 for call in ("pass", TWO, "exact"))
    suite, (number, seconds, most) = wide["suite"], SUITE
    judged = [c for c in compared if c.comparison.target is not None]
    missed = [f"{c.comparison.peer} {c.comparison.theirs} {c.ratio:.1f}×" for c in judged if c.ratio < (c.comparison.target or 0)]
    checked = [c.agreement for c in compared if c.agreement is not None and c.agreement.tolerance is not None]
    apart = [c for c in checked if not c.holds]
    at = f"on {rows:,} × {columns:,}"
    beside = [
        (not missed, f"{len(judged)} targets beside peers, missed: {', '.join(missed) or 'none'}"),
        (not apart, f"values agree in {len(checked) - len(apart)} comparisons of {len(checked)}"),
    ]
    in_core_time = [
        (
            nanoseconds <= PASS_NS,
            f"the pass over {EDGES} edges takes {nanoseconds:.2f} core-ns an element {at}, {PASS_NS} allowed",
        ),
        (
            two <= EXACT_MS,
            f"exact KS and W1 take {two:.1f} core-ms a million rows of a column {at}, {EXACT_MS:g} allowed; "
            f"all exact statistics together {exact:.1f}",
        ),
    ]
    of_the_suite = [
        (len(suite.values) >= number, f"the suite has {len(suite.values)} statistics, {number} wanted"),
        (suite.seconds <= seconds, f"the suite takes {suite.seconds:.1f} s {at}, {seconds:g} allowed"),
        (suite.peak <= most, f"the suite holds {suite.peak / 1e9:.2f} GB beyond the data {at}, {most / 1e9:g} allowed"),
    ]
    said = [*(beside if compared else []), *(in_core_time if device == "cpu" else []), *of_the_suite]
    return [f"- {'held' if held else 'NOT HELD'}: {words}" for held, words in said]


def estimates(compared: Sequence[Compared]) -> list[str]:
    """How far our own distances from bins are from the exact ones, in words with their numbers."""
    values = {c.comparison.ours: c.ours.values for c in compared}
    found = []
    for call in (FEW, MANY):
        for part in ("kolmogorov_smirnov", "wasserstein"):
            if call in values and "exact" in values:
                off = np.abs(np.subtract(values[call][part], values["exact"][part])).max()
                found.append(f"- ours from {call}: {part} off by {off:.1e} at most")
    return found


def main(words: Sequence[str] | None = None) -> None:
    """Run, print and write `results/drift.md`, and every number and value as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where ours computes; peers have only the CPU")
    parser.add_argument("--rows", type=int, default=None, help=f"of the tables that are compared on ({ROWS:,})")
    parser.add_argument("--columns", type=int, default=COLUMNS, help="of the tables that are compared on")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, and small tables for ours alone")
    parser.add_argument("--json", type=Path, default=CACHE / "drift.json")
    arguments = parser.parse_args(words)
    rows = arguments.rows or (ROWS // 10 if arguments.quick else ROWS)
    comparisons = [comparison for comparison in COMPARISONS if comparison.peer in arguments.peers]
    compared = compare(comparisons, rows, arguments.columns, "float32", arguments.device)
    doubled = compare([c for c in comparisons if c in IN_FLOAT64], rows, arguments.columns, "float64", arguments.device)
    sizes = [(rows // 10, 10), (rows, 10)] if arguments.quick else SCALE
    width = sizes[-1] if arguments.quick else WIDE
    grown = {size: alone(*size, [*BYTES, "copy", *["suite"] * (size == width)], arguments.device) for size in sizes}
    lines = [line for size, taken in grown.items() for line in growth(*size, taken, arguments.device)]
    body = [
        f"Ours computed on: {arguments.device}. Peers: {', '.join(version(name) for name in arguments.peers) or 'none'}.",
        *NOTES[arguments.device],
        "",
        *claims([*compared, *doubled], grown[width], *width, arguments.device),
        "",
        *(beside_peers(compared, doubled, rows, arguments.columns) if compared else []),
        "## Ours alone",
        "",
        *result.table(
            ["table", "ms", "ns an element", "core-ns", "MB", "H100 on paper, ms", *gpu_headings(arguments.device)], lines
        ),
    ]
    name = "drift" if arguments.device == "cpu" else "drift_on_a_gpu"
    path = result.write(name, "Statistics of drift", body, "drift")
    arguments.json.parent.mkdir(exist_ok=True)
    arguments.json.write_text(json.dumps(as_json([*compared, *doubled], grown), indent=1))
    print(path.read_text())


def beside_peers(compared: Sequence[Compared], doubled: Sequence[Compared], rows: int, columns: int) -> list[str]:
    """The two tables of peers."""
    return [
        f"Comparisons on {rows:,} rows × {columns} columns, {FEWEST} to {RUNS} runs of peer and ours in turn (one past",
        f"{LIMIT:g} s); milliseconds are of one column, medians with the smallest and the largest run; MB are beyond the data.",
        "",
        "## Beside the peers, float32",
        "",
        HOW,
        "",
        *result.table(HEADINGS, [row(one) for one in compared]),
        "",
        *estimates(compared),
        "",
        "## Exact statistics, the same values as float64",
        "",
        *result.table(HEADINGS, [row(one) for one in doubled]),
        "",
    ]


def gpu_headings(device: str) -> list[str]:
    """Columns that only a GPU fills."""
    return ["GB/s", "GB/s of a device copy"] if device == "cuda" else []


def as_json(compared: Sequence[Compared], grown: dict[tuple[int, int], dict[str, Taken]]) -> dict[str, Any]:
    """Everything measured; seconds of all columns together."""
    return {
        "comparisons": [one.as_json for one in compared],
        "ours": [
            {"rows": rows, "columns": columns, "call": call, **vars(one)}
            for (rows, columns), taken in grown.items()
            for call, one in taken.items()
        ],
    }


if __name__ == "__main__":
    main()
