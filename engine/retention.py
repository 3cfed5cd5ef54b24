"""How much of the past is kept. What a replay, a rollback, a person's decision or the next fine-tune may need always is.

Never removed, whatever the numbers say: the live version, the one before it, the first one, every one that waits for a person
or was begun to be released, and the champion of a cycle that is not settled; in MLflow also every version that is still in the
model repository; all that belongs to a cycle without an Outcome or waiting for one; the row of every cycle, and which champion it
began with, what it taught the contract, who accepted it, what it decided and how it closed; windows joined from small ones;
MLflow's runs with their metrics, and what a version is tagged with; and every copy of a fetched window that the next fine-tune
may be offered: what came since the live version and the one before it were trained, and 64 windows before that. An older one that
is asked for again is fetched again.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine import exact
from engine.ledger import Ledger
from engine.ledger.codec import decode
from engine.ledger.rows import Cycle
from engine.locks import Busy, Locks
from engine.nouns import PAST, Champion, Outcome
from engine.registry import Registry
from serving.repository import Repository

LASTING = (
    "accept",
    "learn",
    "champion",
    "champion.labelled",
    "predict",
    "label",
    "decide",
    "register",
    "close",
    "settle",
)  # steps that later cycles and `explain` ask for, all of them small
CONTENT = re.compile(r"(.+\.[0-9a-f]{12})(?:\.[^.]*)?")  # window, a dot, the first digits of its digest; then a suffix
AT_ONCE = 64  # cycles whose steps are looked at after each window: what a window adds, and a backlog little by little


@dataclass(frozen=True)
class Retention:
    """How many of the newest to keep of each, per stream.

    releases: versions in the model repository, and as many of the rejected ones beside them.
    checkpoints: registered versions whose checkpoint, graph and profile MLflow keeps; of older ones the lineage stays.
    jobs: folders of fine-tunes; what was registered is in MLflow as well.
    answers: files of what the live version said to a window; the metrics are in the ledger.
    quarantined: windows put aside, with their reports.
    labelled: files of windows joined with labels that came later; what the next fine-tune may draw from stays in any case.
    windows: copies of windows that were fetched from elsewhere; those that landed on this machine are the supplier's, not ours.
    sorted_mb: megabytes of sorted columns for exact drift (`stream.drift.exact`); one that is asked for again is sorted again.
    steps: cycles told with every step by `explain` and `report`; of older ones the Outcome, the decision and the lineage stay.
    """

    releases: int = 10
    checkpoints: int = 20
    jobs: int = 20
    answers: int = 500
    quarantined: int = 500
    labelled: int = 500
    windows: int = 200
    sorted_mb: int = 10_000
    steps: int = 1000

    def __post_init__(self) -> None:
        for name, number in vars(self).items():
            if number < 1:
                raise ValueError(f"retention.{name} is {number}; at least 1 has to be kept")


@dataclass(frozen=True)
class Place:
    """Where a stream keeps things."""

    stream: str
    ledger: Ledger
    locks: Locks
    state: Path
    repository: Repository


@dataclass(frozen=True, slots=True)
class Freed:
    """What was too much of one kind: its names, oldest first, and how many bytes they took."""

    kind: str
    names: tuple[str, ...]
    bytes: int


def tidy(
    retention: Retention, place: Place, registry: Registry | None = None, whole: bool = False, dry_run: bool = False
) -> list[Freed]:
    """Remove what is too much; with `dry_run`, only say so. Killed at any point, the next call does the rest.

    `whole` looks at every cycle's steps and every version, and waits for a release that is under way; without it, after each
    window, that is left to a later call. `registry`: where checkpoints are too many; None leaves them, as is right after a window
    that registered nothing.
    """
    # Folders are read before the ledger: whatever lies in one by then belongs to a cycle that is known below.
    kinds = ("jobs", "answers", "quarantine", "labelled", "windows")
    found = {kind: _entries(place.state / kind / place.stream) for kind in kinds}
    unsettled = place.ledger.unsettled(place.stream)
    needed = {cycle.id for cycle in unsettled} | _makers(place, _spared(place, unsettled))
    numbers = {"jobs": retention.jobs, "answers": retention.answers, "quarantine": retention.quarantined}
    freed = [_files(place, kind, found[kind], number, needed, dry_run) for kind, number in numbers.items()]
    freed.append(_labelled(place, found["labelled"], retention.labelled, unsettled, dry_run))
    freed.append(_windows(place, found["windows"], retention.windows, dry_run))
    if whole:  # what sorts keeps to the budget by itself, unless it became smaller
        columns = exact.too_much(place.state / "sorted" / place.stream, retention.sorted_mb * 1_000_000)
        freed.append(_free("sorted", {f"{path.parent.name[:12]}/{path.name}": [path] for path in columns}, dry_run=True))
        for path in columns if not dry_run else ():
            exact.remove(path)
    freed.append(_releases(place, retention.releases, 60.0 if whole else 0.0, dry_run))
    if registry:
        pruned = {int(name) for name in freed[-1].names if name.isdigit()}
        published = set(place.repository.versions(place.stream)) - pruned  # pruned already, but for a dry run
        freed.append(_checkpoints(place, registry, retention.checkpoints, published, whole, dry_run))
    names, size = place.ledger.forget(place.stream, retention.steps, LASTING, needed, None if whole else AT_ONCE, dry_run)
    freed.append(Freed("steps", names, size))
    return [each for each in freed if each.names]


def _spared(place: Place, unsettled: Iterable[Cycle]) -> set[int]:
    """The versions that stay whatever their age."""
    rows = place.ledger.releases(place.stream)
    done = [row for row in rows if row.state == "done"]
    begun = [row for row in rows if row.state == "intended"]
    versions = {cycle.version for cycle in unsettled} | {row.version for row in begun} | {row.expects for row in begun}
    versions |= {version for cycle in unsettled for version in _champions(place.ledger, cycle)}
    versions |= {done[0].version} if done else set()
    return {version for version in versions if version is not None} | _live(place)


def _live(place: Place) -> set[int]:
    """The version that answers and those that a rollback would put back."""
    done = [row for row in place.ledger.releases(place.stream) if row.state == "done"]
    if not done:
        return set()
    live = done[-1].version
    before = [row.expects for row in done if row.version == live and row.cause != "rollback"]
    return {version for version in (live, done[-1].expects, *before) if version is not None}


def _champions(ledger: Ledger, cycle: Cycle) -> set[int]:
    """The versions that a cycle began with or was judged against."""
    found = [step.result for step in ledger.steps(cycle.id) if step.name.partition(".")[0] == "champion"]
    return {champion.version for text in found if (champion := decode(Champion | None, text))}


def _makers(place: Place, versions: set[int]) -> set[str]:
    return {row.cycle for row in place.ledger.releases(place.stream) if row.cycle and row.version in versions}


def _files(place: Place, kind: str, found: dict[str, list[Path]], number: int, needed: set[str], dry_run: bool) -> Freed:
    """Remove all but the newest `number` of a folder; what belongs to none of the newest cycles counts as oldest."""
    if len(found) <= number:
        return Freed(kind, (), 0)
    cycles = place.ledger.names(place.stream, number + AT_ONCE)
    age = {_name(kind, *names): position for position, names in enumerate(cycles)}
    spared = {_name(kind, c.id, c.window.id, c.window.digest) for c in map(place.ledger.cycle, needed) if c}
    oldest = sorted(found, key=lambda name: (age.get(name, -1), name))
    surplus = [name for name in oldest[: len(found) - number] if name not in spared]
    return _free(kind, {name: found[name] for name in surplus}, dry_run)


def _labelled(place: Place, found: dict[str, list[Path]], number: int, unsettled: Sequence[Cycle], dry_run: bool) -> Freed:
    """The same of labelled windows, in the order in which their labels came.

    A fine-tune draws from `PAST` windows before its champion's last one and from all since; the champion may be the live version
    or, after a rollback, the one before it.
    """
    done = [row for row in place.ledger.releases(place.stream) if row.state == "done"]
    if len(found) <= number or not done:
        return Freed("labelled", (), 0)
    labelled = place.ledger.labelled(place.stream)
    order = sorted(labelled.values(), key=lambda one: one.when)
    champions = _makers(place, {version for version in (done[-1].version, done[-1].expects) if version is not None})
    times = [labelled[cycle].when if cycle in labelled else 0.0 for cycle in champions]
    times += [labelled[cycle.id].when for cycle in unsettled if cycle.id in labelled]
    first = sum(one.when < min(times, default=0.0) for one in order)
    kept = order[max(0, min(first - PAST, len(order) - number)) :]
    spared = {f"{one.window.id}.{one.window.digest[:12]}" for one in kept}
    at_work = {cycle.window.id for cycle in unsettled}  # whose file may be there and not in the ledger yet
    surplus = [name for name in sorted(found.keys() - spared) if name.rpartition(".")[0] not in at_work]
    return _free("labelled", {name: found[name] for name in surplus}, dry_run)


def _windows(place: Place, found: dict[str, list[Path]], number: int, dry_run: bool) -> Freed:
    """Remove all but the newest `number` copies of fetched windows, and of those none that a fine-tune may be offered."""
    if len(found) <= number:
        return Freed("windows", (), 0)
    cycles = place.ledger.cycles(place.stream)
    makers = _makers(place, _live(place))
    trained = next((k for k, cycle in enumerate(cycles) if cycle.id in makers), 0)
    good = [k for k, cycle in enumerate(cycles[:trained]) if cycle.outcome != Outcome.QUARANTINED]
    first = good[-PAST:][0] if good else 0
    old = [_content(cycle) for cycle in cycles[:first] if cycle.closed is not None]
    spared = {_content(cycle) for cycle in (*cycles[first:], *place.ledger.unsettled(place.stream))}
    surplus = [name for name in dict.fromkeys(old) if name in found and name not in spared][: len(found) - number]
    return _free("windows", {name: found[name] for name in surplus}, dry_run)


def _free(kind: str, surplus: dict[str, list[Path]], dry_run: bool) -> Freed:
    size = 0
    for path in (path for paths in surplus.values() for path in paths):
        size += _bytes(path)
        if not dry_run:
            _delete(path)
    return Freed(kind, tuple(surplus), size)


def _entries(folder: Path) -> dict[str, list[Path]]:
    """What lies in a folder by the name that its files share, but for what is being written."""
    found: dict[str, list[Path]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if not path.name.startswith("."):
            content = CONTENT.fullmatch(path.name)
            found.setdefault(content[1] if content else path.name, []).append(path)
    return found


def _content(cycle: Cycle) -> str:
    return _name("windows", cycle.id, cycle.window.id, cycle.window.digest)


def _name(kind: str, cycle: str, window: str, digest: str) -> str:
    return cycle.replace(":", ".") if kind == "jobs" else f"{window}.{digest[:12]}"


def _releases(place: Place, number: int, wait: float, dry_run: bool) -> Freed:
    try:
        with place.locks.release(place.stream, wait):
            spare = _spared(place, place.ledger.unsettled(place.stream))
            folders = place.repository.surplus(place.stream, number, spare)
            size = sum(map(_bytes, folders))
            if not dry_run:
                place.repository.prune(place.stream, number, spare)
    except Busy:
        return Freed("releases", (), 0)
    return Freed("releases", tuple(folder.name for folder in folders), size)


def _checkpoints(place: Place, registry: Registry, number: int, published: set[int], whole: bool, dry_run: bool) -> Freed:
    """Remove the files of all but the newest `number` versions; `published` ones stay, as each of them can be put back."""
    stored = registry.stored(None if whole else number + AT_ONCE)
    names, size = [], 0
    for version in stored[:-number]:
        # A lock for each: nobody who wants a version back waits for a bucket to be emptied.
        try:
            with place.locks.release(place.stream, 60.0 if whole else 0.0):
                if version in published | _spared(place, place.ledger.unsettled(place.stream)):
                    continue
                size += registry.size(version)
                if not dry_run:
                    registry.remove_files(version)
        except Busy:
            break
        names.append(str(version))
    return Freed("checkpoints", tuple(names), size)


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)  # another process may remove it in the same moment
    else:
        path.unlink(missing_ok=True)
