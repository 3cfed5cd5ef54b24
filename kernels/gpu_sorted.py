"""`kernels.sorted_gaps` on the GPU: one launch for all columns, and a few small ones that append its parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from kernels.arrays import Array, host, namespace, on_device
from kernels.gpu import GROUP, Compiler, _blocks, compile_for_device
from kernels.gpu_memory import in_parts
from kernels.sorted_gaps import SUMS, SortedGaps, from_sums

# A block, and the rows of each of its threads; fixed, so that the sums' last bits are the same on every card. A thread needs some
# 145 registers: three such blocks fit on a multiprocessor, and only one of twice the size.
THREADS, ITEMS = 128, 16
PART = len(SUMS) + 5  # doubles of the struct Part


def options(dtype: np.dtype[Any]) -> tuple[str, ...]:
    """The macros of sorted_gaps.cu."""
    return (f"-DREAL={'float' if dtype.itemsize == 4 else 'double'}", f"-DTHREADS={THREADS}", f"-DITEMS={ITEMS}")


def sorted_gaps(reference: Sequence[Array], current: Sequence[Array], compiler: Compiler = compile_for_device) -> SortedGaps:
    """See `kernels.sorted_gaps`. Columns of which one is float64 and another is not are copied first; where memory lacks for all
    of them, some columns at a time.
    """
    xp = namespace(reference[0])

    def part(columns: slice) -> SortedGaps:
        return _sorted_gaps(reference[columns], current[columns], compiler)

    parts = in_parts(part, len(reference), 1, "columns", xp)
    if len(parts) == 1:
        return parts[0]
    return SortedGaps(**{f.name: xp.concatenate([getattr(part, f.name) for part in parts]) for f in fields(SortedGaps)})


def _sorted_gaps(reference: Sequence[Array], current: Sequence[Array], compiler: Compiler) -> SortedGaps:
    xp = namespace(reference[0])
    rows = ([len(column) for column in side] for side in (reference, current))
    return from_sums(_sums(reference, current, compiler), *(xp.asarray(np.array(side, np.int64)) for side in rows))


def _sums(reference: Sequence[Array], current: Sequence[Array], compiler: Compiler) -> Array:
    """[d, SUMS] float64."""
    xp = namespace(reference[0])
    kind = np.result_type(*(column.dtype for column in (*reference, *current)))
    sides = [[xp.ascontiguousarray(column, kind) for column in side] for side in (reference, current)]
    rows = np.array([[len(column) for column in side] for side in sides], np.int64)
    addresses = np.array([[_address(column) for column in side] for side in sides], np.int64)
    table = xp.asarray(np.concatenate([addresses, rows]).T.copy())
    d, longest = len(reference), int((rows[0] + rows[1]).max())

    module = compiler("sorted_gaps.cu", options(kind))
    parts = xp.empty((max(_blocks(longest, THREADS * ITEMS), 1), d, PART), xp.float64)
    module.get_function("sorted_gaps")((len(parts), d), (THREADS,), (table, np.int32(d), parts))
    while len(parts) > 1:
        fewer = xp.empty((_blocks(len(parts), GROUP), d, PART), xp.float64)
        shape = np.int64(len(parts)), np.int32(d), np.int32(GROUP)
        module.get_function("append_parts")((len(fewer), _blocks(d, THREADS)), (THREADS,), (parts, *shape, fewer))
        parts = fewer
    return parts[0, :, : len(SUMS)]  # type: ignore[no-any-return]


def ks_wasserstein(sorted_a: Array, sorted_b: Array, compiler: Compiler = compile_for_device) -> tuple[float, float]:
    """See `kernels.ks_wasserstein`. One launch serves any number of columns: call `sorted_gaps` for several."""
    pairs = len(sorted_a) * len(sorted_b)
    above, below, area = host(_sums([sorted_a], [sorted_b], compiler)[0])[:3].tolist()
    return (max(above, below) / pairs, area) if pairs else (math.nan, math.nan)


def _address(column: Array) -> int:
    return column.data.ptr if on_device(column) else column.ctypes.data  # type: ignore[attr-defined]
