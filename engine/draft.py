"""A stream's configuration, drafted from a look at its windows: what `warmstart init` writes.

A draft is a guess in the open: every line says why it is there, and what was left out is named with the reason. The rules:

| what is found | what is made of it |
|---|---|
| numbers, booleans | `number`, `boolean`; null may come later even where there is none yet |
| text with few different values | `category` |
| text of which nearly every row has its own, or long text | left out: an id, or free text |
| whole numbers that are all different and rise, or are called an id | left out: they count the rows |
| one value alone, nothing but nulls, or hardly anything else in some window | left out |
| dates and times | the only one without nulls orders the rows, of several the only one that grows from window to window |
| other dates and times | left out (write hours or ages as numbers) |
| a column that some windows lack or store otherwise | left out |
| a target of two values, of few whole numbers or texts, of other numbers | binary, multiclass, regression |
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import polars as pl

from engine.configuration import ConfigurationError, resolve_outside, streams, unknown
from engine.contracts.contract import Contract
from engine.data.table import labels
from engine.nouns import Task, Window
from engine.places import is_url
from engine.state import copies_of
from engine.windows import ParquetFolder

LOOKED_AT = 8  # windows whose columns are read, unless they have
ENOUGH = 200_000  # rows together before that
MOST_CLASSES = 100
FEW_INTEGERS = 20
MOSTLY_MISSING = 0.9
FREE_TEXT = 40  # characters on average
SMALL = 1000  # rows in a window; below, gentler limits are written
LINES = 25  # of a draft, at most
ONE_EACH = 8  # columns that get a line and a comment of their own

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NOT_PLAIN = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"}
ID_LIKE = re.compile(r"(^|[_ ])(id|index|key|row|no|nr|uuid)$", re.IGNORECASE)


@dataclass(frozen=True)
class Draft:
    """A configuration that was not written yet: the file it belongs in, its text, what to tell about it in one line, and what
    a person has to decide."""

    path: Path
    text: str
    summary: str
    notes: tuple[str, ...] = ()

    def write(self) -> None:
        """Write the file, which must not be there yet."""
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("x", encoding="utf-8") as file:
            file.write(self.text)


@dataclass(frozen=True)
class _Target:
    name: str
    task: Task
    classes: tuple[str, ...]
    why: str
    missing: int = 0
    doubt: str = ""


def draft(
    folder: str, target: str, time: str | None = None, name: str | None = None, labels: str | None = None, key: str | None = None
) -> Draft:
    """Look at the windows in `folder` and draft `stream/NAME.yaml`. Raises ConfigurationError when something is in the way.

    `labels` is the folder of labels that come later, `key` the column by which a row's label is found there.
    """
    name = name or re.sub(r"\W+", "_", Path(folder).absolute().name).strip("_") or "mine"
    path = Path("stream") / f"{name}.yaml"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ConfigurationError(f"{name!r} cannot name a stream: use letters, digits, - and _ (`--name`)")
    if path.exists() or name in streams():
        there = path if path.exists() else f"a shipped stream {name!r}"
        raise ConfigurationError(f"{there} is there already and is left as it is; choose another name with `--name`")
    windows = _windows(folder, name)
    if not windows:
        raise ConfigurationError(f"there is no Parquet file with rows in {folder}; write each window there as one file")
    if (labels is None) != (key is None):
        raise ConfigurationError("`--labels FOLDER` and `--key COLUMN` belong together: where labels land, and what names a row")
    frames = _read(windows)
    labelled = _labelled(labels, target, key) if labels and key else windows
    columns = frames[0].columns
    for column, option in ((None if labels else target, "--target"), (time, "--time"), (key, "--key")):
        if column is not None and column not in columns:
            raise ConfigurationError(f"{option}: {unknown('column', column, columns[:30])}")
    wanted = _target(labelled, target)
    ordered, undecided = _time(frames, time)
    features, left = _features(frames, {target, ordered, key})
    if not features:
        raise ConfigurationError(
            f"no column of {folder} can be learnt from: {'; '.join(f'{n}: {why}' for n, why in left.items())}"
        )
    notes = tuple(filter(None, (wanted.doubt, undecided)))
    text = _text(name, folder, windows, sum(f.height for f in frames), wanted, ordered, features, left, (labels, key), notes)
    shown = f"{wanted.task} of {target} from {len(features)} columns, {len(windows)} windows of about {_typical(windows):,} rows"
    if wanted.missing:
        shown += f"; {wanted.missing:,} rows have no target and are left out"
    return Draft(path, text, shown, notes)


def _labelled(folder: str, target: str, key: str) -> list[Window]:
    """The label files there are: the task follows from them."""
    files = [file for file in ParquetFolder(folder, settle=0).list("labels", None) if file.rows]
    if not files:
        raise ConfigurationError(f"--labels: there is no Parquet file with rows in {folder}; the task follows from some labels")
    columns = pl.read_parquet_schema(files[0].uri)
    for column, option in ((target, "--target"), (key, "--key")):
        if column not in columns:
            raise ConfigurationError(f"{option}, in {files[0].uri}: {unknown('column', column, list(columns)[:30])}")
    return files


def _windows(folder: str, name: str) -> list[Window]:
    """The windows with rows; those that lie elsewhere are fetched to where `run` looks for them."""
    copies = copies_of(resolve_outside(()), name) if is_url(folder) else Path()
    source = ParquetFolder(folder, settle=0, copies=str(copies))
    windows = [window for window in source.list(name, None) if window.rows]
    for window in windows:
        source.fetch(window)
    return windows


def _read(windows: list[Window]) -> list[pl.DataFrame]:
    frames: list[pl.DataFrame] = []
    for window in windows[:LOOKED_AT]:
        try:
            frames.append(pl.read_parquet(window.uri))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ConfigurationError(f"{window.uri} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
        if sum(frame.height for frame in frames) >= ENOUGH:
            break
    return frames


def _typical(windows: list[Window]) -> int:
    return int(median(window.rows for window in windows))


def _target(windows: list[Window], name: str) -> _Target:
    """The task, from the target in every window there is: a class that comes late must be known from the beginning."""
    parts = []
    for window in windows:
        try:
            parts.append(pl.read_parquet(window.uri, columns=[name]))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ConfigurationError(
                f"--target: {name} cannot be read from {window.uri}: {str(error).splitlines()[0]}"
            ) from error
    try:
        values = pl.concat(parts, how="vertical_relaxed")[name]
    except pl.exceptions.PolarsError as error:
        raise ConfigurationError(f"--target: {name} is not stored as the same type in every window: {error}") from error
    known = values.drop_nulls()
    if known.dtype.is_float():
        known = known.filter(known.is_finite())
    missing = len(values) - len(known)
    note = f"; missing in {missing} of {len(values)} rows, which are left out" if missing else ""
    most = Contract().max_missing_target
    too_many = [window.id for window, part in zip(windows, parts, strict=True) if _missing(part[name]) > most]
    doubt = ""
    if too_many:
        doubt = (
            f"{name} is missing in over {most:.0%} of the rows in {len(too_many)} of {len(windows)} windows, "
            f"{too_many[0]} first: these will be quarantined; deliver them again, or "
            "allow more with `stream.contract.max_missing_target`"
        )
    distinct = known.n_unique()
    if distinct < 2:
        raise ConfigurationError(
            f"--target: {name} has {'one value alone' if distinct else 'no value'}: nothing can be learnt from it"
        )
    if known.dtype.is_numeric() and distinct > 2 and (not known.dtype.is_integer() or distinct > FEW_INTEGERS):
        why = f"{name} is a number, {_number(known.min())} to {_number(known.max())}"
        return _Target(name, "regression", (), why + note, missing, doubt)
    if not (known.dtype.is_numeric() or known.dtype in (pl.Boolean, pl.String, pl.Categorical, pl.Enum)):
        raise ConfigurationError(f"--target: {name} holds {known.dtype}; a target is a number, a boolean or text")
    if distinct > MOST_CLASSES:
        raise ConfigurationError(
            f"--target: {name} has {distinct:,} different texts; at most {MOST_CLASSES} classes are possible"
        )
    ordered = known.unique().sort() if known.dtype.is_numeric() else labels(known).unique().sort()
    classes = tuple(labels(ordered).to_list())
    if len(classes) == 2:
        return _Target(name, "binary", classes, f"two values; answers are the probability of {classes[1]}{note}", missing, doubt)
    return _Target(
        name, "multiclass", classes, f"{len(classes)} values; answers are a probability for each{note}", missing, doubt
    )


def _time(frames: list[pl.DataFrame], asked: str | None) -> tuple[str | None, str]:
    """The column that orders the rows, and what to say when none of several could be chosen."""
    temporal = [name for name, dtype in frames[0].schema.items() if isinstance(dtype, pl.Datetime) or dtype == pl.Date]
    if asked is not None:
        dtype = frames[0].schema[asked]
        if not (dtype.is_temporal() or dtype.is_numeric()):
            raise ConfigurationError(f"--time: {asked} holds {dtype}; rows are ordered by a date, a time or a number")
        if nulls := sum(frame[asked].null_count() for frame in frames if asked in frame.columns):
            raise ConfigurationError(f"--time: {asked} is null in {nulls} rows; every row needs its time")
        return asked, ""
    whole = [n for n in temporal if all(f.schema.get(n) == frames[0].schema[n] and not f[n].null_count() for f in frames)]
    grows = [n for n in whole if _grows([frame[n] for frame in frames])]
    if len(whole) > 1 and len(grows) != 1:
        return None, f"{len(whole)} columns could be the time: {', '.join(whole)}; choose with `--time`, or `time:` in the YAML"
    return next(iter(grows or whole), None), ""


def _grows(windows: Sequence[pl.Series]) -> bool:
    """Whether every window begins where the one before has ended, or later."""
    ends, starts = [values.max() for values in windows[:-1]], [values.min() for values in windows[1:]]
    return bool(starts) and bool((pl.Series(ends) <= pl.Series(starts)).all())


def _features(frames: list[pl.DataFrame], taken: set[str | None]) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """Column → kind and comment, and column → why it was left out."""
    features: dict[str, tuple[str, str]] = {}
    left: dict[str, str] = {}
    for name in dict.fromkeys(column for frame in frames for column in frame.columns):
        if name in taken:
            continue
        parts = [frame.select(name) for frame in frames if name in frame.columns]
        if len(parts) < len(frames):
            left[name] = "not in every window"
            continue
        try:
            values = pl.concat(parts, how="vertical_relaxed")[name]
        except pl.exceptions.PolarsError:
            left[name] = "not the same type in every window"
            continue
        kind, words = _kind(values)
        emptiest = max(_missing(part[name]) for part in parts)
        if kind and emptiest > MOSTLY_MISSING:
            kind, words = None, f"missing in {emptiest:.0%} of a window"
        if kind:
            features[name] = kind, words
        else:
            left[name] = words
    return features, left


def _kind(values: pl.Series) -> tuple[str | None, str]:
    """The kind of a column and a comment on it, or None and why it is left out."""
    dtype = values.dtype
    known = values.drop_nulls()
    if dtype.is_float():
        known = known.drop_nans()
    if known.is_empty():
        return None, "nothing but nulls"
    if dtype.is_temporal():
        return None, "a date or time"
    if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Categorical, pl.Enum)):
        return None, f"holds {dtype}"
    distinct = known.n_unique()
    if distinct == 1:
        return None, f"always {_shown(known)}"
    missing = len(values) - len(known)
    gaps = f", missing in {missing / len(values):.0%}" if missing >= 0.005 * len(values) else ""
    if dtype == pl.Boolean:
        return "boolean", f"true in {known.sum() / len(known):.0%}{gaps}"
    if dtype.is_numeric():
        different = distinct == len(known)
        if dtype.is_integer() and different and (ID_LIKE.search(values.name) or bool((known.diff().drop_nulls() > 0).all())):
            return None, "counts the rows"
        return "number", f"{_number(known.min())} to {_number(known.max())}{gaps}"
    text = known.cast(pl.String)
    if distinct > 50 and text.str.len_chars().sum() > FREE_TEXT * len(text):
        return None, "free text"
    if distinct > 50 and distinct > 0.5 * len(text):
        return None, "nearly every row has its own value"
    common = text.value_counts(sort=True)[values.name].head(3).to_list()
    shown = ", ".join(str(word)[:15] for word in common)
    return "category", f"{distinct} values: {shown}{', …' if distinct > 3 else ''}{gaps}"


def _missing(values: pl.Series) -> float:
    missing = values.null_count() + (int(values.is_nan().sum() or 0) if values.dtype.is_float() else 0)
    return missing / max(len(values), 1)


def _number(value: object) -> str:
    return f"{float(value):.6g}"  # type: ignore[arg-type]


def _text(
    name: str,
    folder: str,
    windows: list[Window],
    rows: int,
    target: _Target,
    time: str | None,
    features: dict[str, tuple[str, str]],
    left: dict[str, str],
    labels: tuple[str | None, str | None] = (None, None),
    notes: Sequence[str] = (),
) -> str:
    typical = _typical(windows)
    lines = [
        ("stream:", ""),
        (f"  name: {_word(name)}", "also the model's name in Triton and in MLflow"),
        (
            f"  source: {{_target_: engine.windows.ParquetFolder, folder: {_value(folder)}}}",
            "each Parquet file or partition is one window",
        ),
        (f"  target: {_value(target.name)}", ""),
        (f"  task: {target.task}", target.why),
    ]
    if target.classes:
        order = "in the order of the answers" if len(target.classes) > 2 else "the second is the positive one"
        lines.append((f"  classes: [{', '.join(map(_value, target.classes))}]", order))
    folder_of_labels, key = labels
    if folder_of_labels and key:
        where = f"{{folder: {_value(folder_of_labels)}, key: {_value(key)}}}"
        lines.append((f"  labels: {where}", f"come later, each row's found by its {_printable(key)}"))
    if time:
        lines.append((f"  time: {_value(time)}", "orders the rows"))
    lines.append(("  columns:", "what the model sees, each a number, boolean or category"))
    if len(features) <= ONE_EACH:
        lines += [(f"    {_word(n)}: {kind}", words) for n, (kind, words) in features.items()]
    else:
        lines[-1] = ("  columns: {", lines[-1][1])
        packed = len(lines)
        lines.append(("  }", ""))
    if typical < SMALL:
        fewest, judged = max(10, typical // 4), int(typical * 0.3)
        lines.append(
            (
                f"  contract: {{min_rows: {fewest}}}",
                f"a window has about {typical} rows; one with fewer waits for the next",
            )
        )
        lines.append(("  slices: {judge: 0.3}", "the last 30% of the fresh rows judge a challenger"))
        lines.append((f"gate: {{min_rows: {max(5, judged // 2)}}}", "so many of those at least"))
    if is_url(folder):
        lines.append(("platform: {poll: 10}", "seconds between looks at what may cost money to look at"))
    noted = [f"# {row}" for note in notes for row in textwrap.wrap(_printable(note), 115, break_on_hyphens=False)]
    omitted = [f"# Left out: {row}" if k == 0 else f"#   {row}" for k, row in enumerate(_omitted(left))]
    if len(features) > ONE_EACH:
        lines[packed:packed] = [(row, "") for row in _packed(features, LINES - len(lines) - len(noted) - len(omitted) - 2)]
    column = min(60, 2 + max(len(setting) for setting, words in lines if words and len(setting) < 60))
    body = [f"{setting + '  ':<{column}}# {_printable(words)}" if words else setting for setting, words in lines]
    looked = f"# Drafted by `warmstart init` from {rows:,} rows in {len(windows)} windows; yours to edit."
    written = ["# @package _global_", looked, *noted, *omitted, *body]
    return "\n".join(written) + "\n"


def _packed(features: dict[str, tuple[str, str]], room: int) -> list[str]:
    """The columns in a line after the other: at most `room` of them, so with very many columns the lines are long."""
    words = [f"{_word(name)}: {kind}," for name, (kind, _) in features.items()]
    width = 110
    while True:
        rows = ["   "]
        for word in words:
            if len(rows[-1]) + len(word) >= width:
                rows.append("   ")
            rows[-1] += f" {word}"
        if len(rows) <= max(room, 1):
            return [*rows[:-1], rows[-1].rstrip(",")]
        width += 10


def _omitted(left: dict[str, str]) -> list[str]:
    words = ", ".join(f"{_printable(name)[:40]} ({_printable(why)})" for name, why in left.items())
    return textwrap.wrap(words, 115, max_lines=3, placeholder=" and more", break_on_hyphens=False)


def _word(text: str) -> str:
    """Text as YAML, quoted where it could be read as something else."""
    plain = PLAIN.fullmatch(text) and text.lower() not in NOT_PLAIN
    return text if plain else json.dumps(text, ensure_ascii=not text.isprintable())


def _value(text: str) -> str:
    """The same where OmegaConf would look for an interpolation."""
    return _word(text.replace("${", "\\${"))


def _printable(text: str) -> str:
    """Text on one line that a YAML comment may hold."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def _shown(values: pl.Series) -> str:
    return str(values[0])[:20]
