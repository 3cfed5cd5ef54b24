"""A Profile as a file: Arrow IPC with Zstandard, a row per column, and of a segment one per column too. Arrow libraries read it.

The schema's metadata hold `warmstart.profile`: a JSON object with the number of the format, the rows, and of segments which
column's they are, the values, and the rows of each. A sketch of a row:

    segment null   name "distance"   holds "number"   edges [33]   counts [34]   missing 0 ... maximum 4983.0   sample [...]
    segment null   name "origin"     holds "category"   values ["EWR", ...]   value_counts [9, ...]
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import kernels
from engine.profile import QUANTILES, Profile, SegmentBy

FORMAT = 2  # 1 was a .npz of NumPy
NAME = "profile.arrow"
KEY = b"warmstart.profile"
MOMENTS = ("missing", "infinite", "mean", "m2", "minimum", "maximum")
WHOLE, REAL = pa.int64(), pa.float64()
SCHEMA = pa.schema(
    {"segment": pa.string(), "name": pa.string(), "holds": pa.string(), "edges": pa.list_(REAL), "counts": pa.list_(WHOLE)}
    | {name: WHOLE if name in ("missing", "infinite") else REAL for name in MOMENTS}
    | {"sample": pa.list_(REAL), "values": pa.list_(pa.string()), "value_counts": pa.list_(WHOLE)}
)


class UnknownProfile(ValueError):
    """A file holds no Profile that this version can read; the message says what to do."""


def write(profile: Profile, path: Path) -> None:
    """Write a Profile, whole or not at all."""
    parts = [_columns(profile, None), *(_columns(part, value) for value, part in profile.segments.items())]
    by = profile.by
    about: dict[str, Any] = {"format": FORMAT, "rows": profile.rows}
    if by is not None:
        rows = {value: part.rows for value, part in profile.segments.items()}
        about["segments"] = {"column": by.column, "most": by.most, "values": by.values, "rows": rows}
    table = pa.Table.from_pylist([row for part in parts for row in part], SCHEMA.with_metadata({KEY: json.dumps(about)}))
    part = path.with_name(f".{path.name}")
    with part.open("wb") as file:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(file, table.schema, options=options) as writer:
            writer.write_table(table)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read(path: Path) -> Profile:
    """Read what `write` wrote, or the `profile.npz` of a version from before it. Raises UnknownProfile."""
    if not path.exists() and path.with_suffix(".npz").exists():
        return _read_npz(path.with_suffix(".npz"))
    try:
        with pa.ipc.open_file(pa.BufferReader(path.read_bytes())) as reader:
            table = reader.read_all()
        about = json.loads(table.schema.metadata[KEY])
    except (pa.ArrowInvalid, KeyError, TypeError) as error:
        raise UnknownProfile(f"{path} is no profile ({str(error).splitlines()[0]}): {_remedy()}") from error
    if about["format"] != FORMAT:
        raise UnknownProfile(f"{path} is a profile of format {about['format']}, and this version reads {FORMAT}: {_remedy()}")
    table = table.combine_chunks()
    places: dict[str | None, list[int]] = {}
    for place, segment in enumerate(table["segment"].to_pylist()):
        places.setdefault(segment, []).append(place)
    whole = _profile(table.take(places.get(None, [])), about["rows"])
    if "segments" not in about:
        return whole
    said = about["segments"]
    by = SegmentBy(said["column"], said["most"], tuple(said["values"]))
    segments = {value: _profile(table.take(places.get(value, [])), rows, whole) for value, rows in said["rows"].items()}
    return replace(whole, by=by, segments=segments)


def _remedy() -> str:
    return "use the version of warmstart that wrote it, or let the model's next version be trained, which brings its own"


def _columns(profile: Profile, segment: str | None) -> list[dict[str, Any]]:
    counts, rows = profile.counts, []
    for name, holds in profile.kinds.items():
        row: dict[str, Any] = {"segment": segment, "name": name, "holds": holds}
        if name in profile.categories:
            known = profile.categories[name]
            row |= {"values": list(known), "value_counts": list(known.values())}
        else:
            j = profile.numbers.index(name)
            row |= {
                "edges": profile.edges[j] if segment is None else None,
                "counts": counts.counts[j],
                "sample": profile.samples[j],
            }
            row |= {field: getattr(counts, field)[j].item() for field in MOMENTS}
        rows.append(row)
    return rows


def _profile(table: pa.Table, rows: int, whole: Profile | None = None) -> Profile:
    names, kinds = table["name"].to_pylist(), table["holds"].to_pylist()
    numeric = [place for place, kind in enumerate(kinds) if kind != "category"]
    texts = [place for place, kind in enumerate(kinds) if kind == "category"]

    def array(field: str, place: int) -> Any:
        return table[field][place].values.to_numpy()

    if whole is not None:
        edges = whole.edges
    else:
        edges = np.stack([array("edges", place) for place in numeric]) if numeric else np.empty((0, QUANTILES + 2))
    counts = {field: table[field].to_numpy()[numeric].astype(SCHEMA.field(field).type.to_pandas_dtype()) for field in MOMENTS}
    counts["counts"] = np.array([array("counts", place) for place in numeric], np.int64).reshape(len(numeric), edges.shape[1] + 1)
    return Profile(
        rows,
        tuple(names[place] for place in numeric),
        edges,
        kernels.ColumnCounts(**counts, rows=rows),
        tuple(array("sample", place).copy() for place in numeric),
        {
            names[place]: dict(zip(*(table[field][place].as_py() for field in ("values", "value_counts")), strict=True))
            for place in texts
        },
        dict(zip(names, kinds, strict=True)),
    )


def _read_npz(path: Path) -> Profile:
    """Format 1 had the quantiles alone as edges. Infinities alone lay outside its range; they stay inside."""
    with np.load(path) as file:
        meta = json.loads(str(file["meta"]))
        values = {name: file[f"counts.{name}"] for name in ("counts", *MOMENTS)}
        samples = tuple(file[f"sample.{j}"] for j in range(len(meta["numbers"])))
        quantiles = file["edges"]
    nothing = np.zeros((len(quantiles), 1), dtype=np.int64)
    low, high = np.nan_to_num(values["minimum"]), np.nextafter(np.nan_to_num(values["maximum"]), np.inf)
    edges = np.column_stack([low, quantiles, high])
    counts = np.column_stack([nothing, values.pop("counts"), nothing])
    kinds = dict.fromkeys(meta["numbers"], "number") | dict.fromkeys(meta["categories"], "category")
    return Profile(
        meta["rows"],
        tuple(meta["numbers"]),
        edges,
        kernels.ColumnCounts(counts=counts, rows=meta["rows"], **values),
        samples,
        meta["categories"],
        kinds,  # type: ignore[arg-type]
    )
