"""Labels that come later: the features of a window land now, its labels in another folder, found by the key of each row.

A label file is Parquet with the key and the target; other columns are passed over. It is finished by the rule for windows
(`engine.windows.ParquetFolder`) and may come at any time, for one window or for many. What the files say in the moment in which
enough of a window's rows have a label is what counts for it: a file that is corrected before is read again, after it is too late.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from engine.contracts.contract import Contract
from engine.data import table
from engine.intact import WindowLost
from engine.nouns import Breach, Labelled, Schema, Window
from engine.places import SourceError
from engine.windows import ParquetFolder, digest_of

ROW = "warmstart.row"
"""A column of labelled files: which row of the whole window each was, in order of time; so its answer is found again."""

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


NOTHING = pl.DataFrame(schema={"key": pl.String, "label": pl.Null, "file": pl.String})


GONE = Breach(None, "the window's file cannot be read any more: deliver it again")


class LabelsPending(Exception):
    """Too few rows of a window have a label yet: its cycle stays open, and the loop comes back to it."""


@dataclass(frozen=True)
class Labels:
    """Where the labels of a stream land, and how long a window waits for them.

    folder: where label files land.
    key: the column, of windows and of label files, that names a row; whole numbers or text, unique in a window.
    coverage: share of a window's rows that must have a label before it is scored and trained on, over 0 and up to 1.
    patience: how long at most ("90m", "12h", "30d"), from when the window was taken up; then it goes on with what there is.
    settle: seconds after its last change in which a label file that cannot be read is taken for unfinished.
    """

    folder: str
    key: str
    coverage: float = 1.0
    patience: str | None = None
    settle: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.coverage <= 1:
            raise ValueError(f"coverage is {self.coverage}; it is a share of the rows, over 0 and up to 1")
        if self.patience is not None and _duration(self.patience) is None:
            raise ValueError(f"patience is {self.patience!r}; write a number and one of {', '.join(SECONDS)}, such as 30d")

    def enough(self, known: int, rows: int, waited: float) -> bool:
        """Whether a window goes on that waited so many seconds and has a label for `known` of its `rows`."""
        return known >= self.coverage * rows or (self.patience is not None and waited >= (_duration(self.patience) or 0.0))


def _duration(text: str) -> float | None:
    """Seconds.

    >>> _duration("90m"), _duration("1.5h"), _duration("soon")
    (5400.0, 5400.0, None)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([smhdw])", str(text))
    return float(found[1]) * SECONDS[found[2]] if found else None


@dataclass(frozen=True)
class Joined:
    """What label files say about the n rows of a window.

    `labels` [n] is null where nobody said anything, and where somebody said null; `known` [n] tells the two apart. `disputed` are
    the keys of rows about which two different things were said, `files` the files that said anything.
    """

    labels: pl.Series
    known: pl.Series
    disputed: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many rows have a label."""
        return int(self.known.sum() or 0)


def join(keys: pl.Series, said: pl.DataFrame) -> Joined:
    """The labels of the rows with these keys, [n] and unique. `said` holds `key`, `label` and `file`, of whatever rows.

    >>> said = pl.DataFrame({"key": ["b", "x", "b"], "label": [2.0, 9.0, 2.0], "file": ["1", "1", "2"]})
    >>> joined = join(pl.Series(["a", "b"]), said)
    >>> joined.labels.to_list(), joined.known.to_list(), joined.disputed, joined.files
    ([None, 2.0], [False, True], (), ('1', '2'))
    """
    rows = keys.alias("key").to_frame().with_row_index("row")
    mine = rows.join(said, on="key")
    each = mine.group_by("row").agg(pl.col("label").first(), pl.col("label").n_unique().alias("different"))
    found = rows.join(each, on="row", how="left").sort("row")
    disputed = found.filter(pl.col("different") > 1)["key"].to_list()
    files = mine["file"].unique().sort().to_list()
    return Joined(found["label"], found["different"].is_not_null(), tuple(disputed), tuple(files))


@dataclass(eq=False)
class _Awaited:
    """A window's keys, and what each label file says about them."""

    keys: pl.Series
    said: dict[Window, pl.DataFrame] = field(default_factory=dict)
    joined: Joined | None = None

    def join(self) -> Joined:
        if self.joined is None:
            parts = [part for part in self.said.values() if part.height]
            self.joined = join(self.keys, pl.concat(parts or [NOTHING], how="vertical_relaxed"))
        return self.joined


class LabelFolder:
    """Reads each label file once for all the windows that wait, and keeps of it only what concerns them."""

    def __init__(self, settings: Labels, schema: Schema):
        self.settings = settings
        self.schema = schema
        self._source = ParquetFolder(settings.folder, settle=settings.settle)
        self._awaited: dict[str, _Awaited] = {}
        self._unusable: dict[Window, str] = {}

    def ready(self, windows: Sequence[Window], since: Mapping[str, float]) -> set[str]:
        """The digests of those windows that need not wait any more.

        `since` tells, by digest, when a window was taken up (Unix seconds). One that cannot be read need not wait for labels: its
        contract has something to say.
        """
        awaited = {window.digest: self._await(window) for window in windows}
        self._awaited = {digest: one for digest, one in awaited.items() if one is not None}
        self._read(self._awaited.values())
        now = time.time()
        return {digest for digest, one in awaited.items() if one is None or self._enough(one, now - since.get(digest, now))}

    def label(self, window: Window, contract: Contract, waited: float, folder: Path) -> Labelled:
        """The rows of a window that have a label, as a file in `folder`. Raises LabelsPending until there are enough.

        `waited` is for how many seconds the window was waited for.
        """
        now, awaited = time.time(), self._await(window)
        if awaited is None:
            return Labelled(window, now, (GONE,))
        self._awaited[window.digest] = awaited
        self._read([awaited])
        try:
            joined = awaited.join()
        except pl.exceptions.PolarsError as error:
            return Labelled(window, now, (Breach(self.schema.target, f"what the label files say cannot be joined: {error}"),))
        if not self.settings.enough(joined.count, len(awaited.keys), waited):
            raise LabelsPending(self._missing(joined.count, len(awaited.keys)))
        if joined.disputed:
            return Labelled(window, now, (self._disputed(window, awaited, joined),), joined.files)
        schema = self.schema
        names = [column.name for column in (*schema.columns, *schema.watched)]
        names += [*schema.sliced, self.settings.key, *([schema.time] if schema.time else [])]
        try:
            rows = table.read(window, schema, list(dict.fromkeys(names)))
        except WindowLost as lost:
            return Labelled(window, now, (Breach(None, f"{lost.why}: deliver it again"),))
        rows = rows.with_row_index(ROW).with_columns(joined.labels.alias(self.schema.target)).filter(joined.known)
        if breaches := contract.check_labels(rows, self.schema):
            return Labelled(window, now, breaches, joined.files)
        path, digest = _write(rows, window, folder)
        return Labelled(replace(window, uri=str(path), digest=digest, rows=rows.height), now, (), joined.files)

    def _await(self, window: Window) -> _Awaited | None:
        if (known := self._awaited.get(window.digest)) is not None:
            return known
        try:
            keys = _as_key(table.read(window, self.schema, [self.settings.key])[self.settings.key])
        except (ValueError, pl.exceptions.PolarsError):
            return None
        return _Awaited(keys)

    def _enough(self, awaited: _Awaited, waited: float) -> bool:
        try:
            return self.settings.enough(awaited.join().count, len(awaited.keys), waited)
        except pl.exceptions.PolarsError:
            return True

    def _read(self, awaited: Collection[_Awaited]) -> None:
        """Look at the folder again: forget the files that are gone, and deal out what the new ones say."""
        files = set(self._files())
        self._unusable = {file: why for file, why in self._unusable.items() if file in files}
        lacking: dict[Window, list[_Awaited]] = {}
        for one in awaited:
            for gone in one.said.keys() - files:
                del one.said[gone]
                one.joined = None
            for new in files - one.said.keys():
                lacking.setdefault(new, []).append(one)
        keys, of = NOTHING, list[_Awaited]()
        for file, windows in lacking.items():
            if windows != of:  # mostly they are the same ones for every file
                keys, of = _keys(windows), windows
            _deal(file, self._table(file).join(keys, on="key"), windows)

    def _files(self) -> list[Window]:
        folder = Path(self.settings.folder)
        if not folder.is_dir():
            raise SourceError(f"the label folder {folder} does not exist: create it, or set `stream.labels.folder`")
        return self._source.list(self.schema.target, None)

    def _table(self, file: Window) -> pl.DataFrame:
        """`key`, `label` and `file` of a label file; of one that is of no use nothing, and the reason is noted."""
        key, target = self.settings.key, self.schema.target
        try:
            rows = pl.read_parquet(file.uri, columns=[key, target])
            keys, labels = _as_key(rows[key]), table.labels(rows[target]) if self.schema.classes else rows[target]
        except (ValueError, pl.exceptions.PolarsError, OSError) as error:
            self._unusable[file] = f"{file.uri} cannot be used ({str(error).splitlines()[0]}): deliver it again"
            return NOTHING
        named = pl.lit(file.uri).alias("file")
        return pl.DataFrame([keys.alias("key"), labels.alias("label")]).with_columns(named)

    def _missing(self, count: int, rows: int) -> str:
        share = f", {self.settings.coverage:.0%} needed" if self.settings.coverage < 1 else ""
        unusable = "".join(f"; the label file {why}" for why in sorted(self._unusable.values()))
        return f"waits for labels: {count:,} of {rows:,} rows have one{share}{unusable}"

    def _disputed(self, window: Window, awaited: _Awaited, joined: Joined) -> Breach:
        said = pl.concat(list(awaited.said.values()), how="vertical_relaxed").filter(pl.col("key").is_in(joined.disputed))
        files = said["file"].unique().sort().to_list()
        shown = ", ".join(joined.disputed[:3]) + (", …" if len(joined.disputed) > 3 else "")
        where = f"{', '.join(files[:3])}{' and others' if len(files) > 3 else ''}"
        message = (
            f"{len(joined.disputed)} of {len(awaited.keys)} rows have labels that contradict each other ({shown}) in {where}: "
            f"leave one label for each, then `warmstart retry {window.id}`"
        )
        return Breach(self.settings.key, message)


@functools.lru_cache(maxsize=4)
def _shared(settings: Labels, schema: Schema) -> LabelFolder:
    return LabelFolder(settings, schema)


def folder_of(settings: Labels, schema: Schema) -> LabelFolder:
    """The one LabelFolder of these settings in this process: the loop and every cycle look at the same."""
    return _shared(replace(settings, folder=str(Path(settings.folder).expanduser().absolute())), schema)


def _as_key(values: pl.Series) -> pl.Series:
    """Keys as text, so that 17 in one file is 17 in another whatever it is stored as. Raises ValueError for what is no key."""
    if not (values.dtype.is_integer() or values.dtype in (pl.String, pl.Categorical, pl.Enum)):
        raise ValueError(f"the key {values.name} holds {values.dtype}, expected whole numbers or text")
    return values.cast(pl.String)


def _keys(windows: Sequence[_Awaited]) -> pl.DataFrame:
    """`key` and `window`, the place of the window in the sequence."""
    return pl.concat([one.keys.alias("key").to_frame().with_columns(pl.lit(k).alias("window")) for k, one in enumerate(windows)])


def _deal(file: Window, said: pl.DataFrame, windows: Sequence[_Awaited]) -> None:
    """Give each window what a file says about its rows; `said` names the window as `_keys` does."""
    parts = said.partition_by("window", as_dict=True, include_key=False)
    for k, one in enumerate(windows):
        if (part := parts.get((k,))) is not None:
            one.joined = None
        one.said[file] = NOTHING if part is None else part


def _write(rows: pl.DataFrame, window: Window, folder: Path) -> tuple[Path, str]:
    """Write a labelled file beside its place and rename it to its digest; returns both."""
    part = folder / f".{window.id}.{window.digest[:12]}.parquet"
    rows.write_parquet(part)
    digest = digest_of(part)
    path = folder / f"{window.id}.{digest[:12]}.parquet"
    part.replace(path)
    return path, digest
