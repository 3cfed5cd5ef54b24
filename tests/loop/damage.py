"""Random damage: what suppliers, disks and editors do to windows and to YAML files, from a seed.

What only makes another world of the right values (a column in another order, or with its sign turned) is no damage that a file
could show: to the engine that is drift, and to adapt to it is its work.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

Table = Callable[[random.Random, pl.DataFrame], pl.DataFrame]
Bytes = Callable[[random.Random, bytes], bytes]

TEXTS = ["", " ", "None", "NaN", "null", "é", "日本", "🛫", "a\x00b", "\n", "'; drop table step;", "${x}", "..", "a" * 70_000]
NUMBERS = [float("nan"), float("inf"), float("-inf"), 1e300, -1e300, 1e-300, 2.0**62 + 1, -0.0, 3.5e38]
NAMES = ["day {}", "day-{}'", 'day"{}', "day#{}", "day%20{}", "day*{}", "day[{}]", "day?{}", "day{{{}}}", "día-{}", "日{}"]


def _pick(chance: random.Random, frame: pl.DataFrame) -> str:
    return chance.choice(frame.columns)


def _some(chance: random.Random, frame: pl.DataFrame, name: str, value: object, share: float) -> pl.DataFrame:
    mask = pl.Series(np.random.default_rng(chance.getrandbits(32)).random(frame.height) < share)
    if isinstance(value, str) and frame.schema[name] != pl.String:
        frame = frame.cast({name: pl.String})
    return frame.with_columns(pl.when(mask).then(pl.lit(value)).otherwise(pl.col(name)).alias(name))


def _drop(chance: random.Random, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop(_pick(chance, frame))


def _rename(chance: random.Random, frame: pl.DataFrame) -> pl.DataFrame:
    name = _pick(chance, frame)
    return frame.rename({name: chance.choice([name.upper(), f" {name}", f"{name}_1", "", "índice"])})


def _retype(chance: random.Random, frame: pl.DataFrame) -> pl.DataFrame:
    name = _pick(chance, frame)
    column = pl.col(name)
    text = column.cast(pl.String)
    makers = [
        text,
        text.cast(pl.Categorical),
        text.cast(pl.Binary),
        text.hash().cast(pl.Int64, strict=False),
        text.hash(),
        text.str.len_chars() > 5,
        pl.concat_list(text),
        pl.struct(column),
        pl.lit(datetime(1600, 1, 1)),
        pl.lit(datetime(9999, 12, 31)),
        text.hash().mod(1000).cast(pl.Decimal(20, 3)),
        (text.hash().mod(7) + 200).cast(pl.UInt8),  # 0 to 6 would be speeds as good as any: another world, and no damage
        pl.lit(None),
    ]
    return frame.with_columns(chance.choice(makers).alias(name))


def _hole(chance: random.Random, frame: pl.DataFrame) -> pl.DataFrame:
    return _some(chance, frame, _pick(chance, frame), None, chance.choice([0.001, 0.1, 0.9, 1.0]))


def _number(chance: random.Random, frame: pl.DataFrame) -> pl.DataFrame:
    numbers = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    if not numbers:
        return frame
    return _some(chance, frame, chance.choice(numbers), chance.choice(NUMBERS), chance.choice([0.001, 0.05, 1.0]))


def _text(chance: random.Random, frame: pl.DataFrame) -> pl.DataFrame:
    return _some(chance, frame, _pick(chance, frame), chance.choice(TEXTS), chance.choice([0.001, 0.1, 1.0]))


def _scale(chance: random.Random, frame: pl.DataFrame) -> pl.DataFrame:
    numbers = [name for name, dtype in frame.schema.items() if dtype.is_numeric()]
    if not numbers:
        return frame
    name = chance.choice(numbers)
    return frame.with_columns(pl.col(name) * chance.choice([0.0, 1e-6, 1000.0, 1e9]))


def _constant(chance: random.Random, frame: pl.DataFrame) -> pl.DataFrame:
    name = _pick(chance, frame)
    return frame.with_columns(pl.col(name).first().alias(name)) if frame.height else frame


def _codes(chance: random.Random, frame: pl.DataFrame) -> pl.DataFrame:
    name = _pick(chance, frame)
    return frame.with_columns(pl.Series(name, [f"new-{i}" for i in range(frame.height)]))


def _extra(chance: random.Random, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.lit(1.0).alias(f"extra {i}") for i in range(chance.choice([1, 300])))


def _fewer(chance: random.Random, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.head(chance.choice([0, 1, 2, 50, 99]))


def _repeat(chance: random.Random, frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame] * chance.randint(2, 6))


def _order(chance: random.Random, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sample(fraction=1.0, shuffle=True, seed=chance.getrandbits(32)).select(sorted(frame.columns))


TABLES: list[Table] = [
    _drop, _rename, _retype, _retype, _hole, _number, _text, _scale, _constant, _codes, _extra, _fewer, _repeat, _order
]  # fmt: skip


def _flip(chance: random.Random, whole: bytes) -> bytes:
    data = bytearray(whole)
    for _ in range(chance.choice([1, 8, 200])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def _zero(chance: random.Random, whole: bytes) -> bytes:
    begin = chance.randrange(len(whole))
    end = min(len(whole), begin + chance.choice([4, 512, 8192]))
    return whole[:begin] + bytes(end - begin) + whole[end:]


def _footer(chance: random.Random, whole: bytes) -> bytes:
    """The footer is where a reader believes what it is told."""
    data = bytearray(whole)
    for _ in range(chance.choice([1, 4])):
        data[len(data) - 1 - chance.randrange(min(1500, len(data)))] = chance.randrange(256)
    return bytes(data)


BYTES: list[Bytes] = [
    _flip,
    _flip,
    _zero,
    _footer,
    _footer,
    lambda chance, whole: whole[: chance.randrange(len(whole))],
    lambda chance, whole: whole + bytes(chance.randrange(1, 100)),
    lambda chance, whole: whole[len(whole) // 2 :] + whole[: len(whole) // 2],
    lambda chance, whole: b"",
    lambda chance, whole: b"speed,load,kind\n1,2,a\n",
    lambda chance, whole: gzip.compress(whole),
    lambda chance, whole: b"PAR1" + whole[4:200] + b"PAR1",
]


def window(seed: int, frame: pl.DataFrame, folder: Path, number: int) -> str:
    """Let a damaged window land in `folder`; returns what was done to it, in words."""
    chance = random.Random(seed)
    done: list[str] = []
    for change in chance.sample(TABLES, chance.choice([1, 1, 2, 3])) if chance.random() < 0.7 else ():
        try:
            frame = change(chance, frame)
        except pl.exceptions.PolarsError:
            continue  # one damage leaves no room for another
        done.append(change.__name__.strip("_"))
    name = chance.choice(NAMES) if chance.random() < 0.1 else "day-{}"
    path = folder / f"{name.format(number)}.parquet"
    part = folder / f".{number}"
    try:
        frame.write_parquet(part)
    except (pl.exceptions.PolarsError, pl.exceptions.ComputeError):
        frame.head(3).select(pl.all().cast(pl.String, strict=False)).write_parquet(part)
    if chance.random() < 0.05:
        table = pq.read_table(part)
        doubled = pa.Table.from_arrays([*table.columns, table.column(0)], [*table.column_names, table.column_names[0]])
        pq.write_table(doubled, part)
        done.append("a name twice")
    if not done or chance.random() < 0.2:
        change_bytes = chance.choice(BYTES)
        part.write_bytes(change_bytes(chance, part.read_bytes()))
        done.append(change_bytes.__name__.strip("_<>"))
    part.rename(path)
    return f"{path.name}: {', '.join(done)}"


# YAML

SCALARS = ["", "null", "-1", "0", "0.5", "1e309", ".nan", "abc", "true", "2024-01-01", "number", "windows", "0x10", "1_000", "é"]
VALUES = [*SCALARS, "[]", "{}", "${x}", "${oc.env:X}", "???", "'", "[1, 2", "*a", "!!python/object:os.system", "\t", "{a: b}"]


def yaml(seed: int, text: str) -> str:
    """A YAML file that somebody edited at three in the morning."""
    chance = random.Random(seed)
    lines = text.strip("\n").split("\n")
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        at = chance.randrange(len(lines))
        line = lines[at]
        match chance.randrange(10):
            case 0 if len(lines) > 1:
                del lines[at]
            case 1:
                lines.insert(at, line)
            case 2:
                lines[at] = chance.choice(["  ", "\t", " "]) + line
            case 3:
                lines[at] = line[chance.choice([1, 2]) :]
            case 4 | 5 if ":" in line:
                lines[at] = line.partition(":")[0] + ": " + chance.choice(VALUES)
            case 6 if len(line.strip()) > 2:
                place = chance.randrange(len(line) - 1)
                lines[at] = line[:place] + line[place + 1] + line[place] + line[place + 2 :]
            case 7:
                place = chance.randrange(len(line) + 1)
                lines[at] = line[:place] + chance.choice(list(":-#{}[]&*!|>'\"%@`,é\x00")) + line[place:]
            case 8:
                lines = lines[: at + 1]
            case _:
                other = chance.randrange(len(lines))
                lines[at], lines[other] = lines[other], line
    return "\n".join(lines) + "\n"
