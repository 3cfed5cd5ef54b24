"""The interface on the CPU: numba for the passes over data, NumPy for the rest.

A pass over a table goes through tiles of rows, and through each tile a column at a time. Loops over a column are written for
vector lanes: they have no branches; they count in integers as wide as the values, since one subtraction adds a comparison's lanes
to those, and float counters took half as long again; and they find the extremes among integers, since LLVM has no lanes for the
lesser of two floats where one may be NaN. 1M x 100 float32 over 31 edges: 2.3 core-ns an element, 1.0 of them for the edges and
0.9 for fetching and transposing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import reduce
from typing import Any, TypeVar

import numba
import numpy as np

from kernels.arrays import Array
from kernels.column_counts import ColumnCounts
from kernels.compiled import IN_LANES, compiled
from kernels.cpu_bins import Guide, count, guide_to, without_guide

CHUNK = (
    1 << 16
)  # rows profiled by one thread at a time; fixed, so that the moments' last bits do not depend on the number of cores
TILE = 512  # rows taken at a time: their cache lines survive until the next columns want them; fixed for the same reason
TOGETHER = 4  # columns copied at a time, so that cache lines are fetched less often: 3% off for 100 columns, a third for 1,024
FEW_EDGES = 144  # bytes: up to 36 of float32 and 18 of float64, comparing with each edge in lanes beats looking a bin up
LINE = 64  # bytes of a cache line: columns that lie in one are sorted by one thread, which so reads it once
ROWS_AT_ONCE = 64  # so many lines stay in the first-level cache until all of their values are read
SMALL_SORT = 1 << 17  # values below which threads cost more than they save

Item = TypeVar("Item")
Result = TypeVar("Result")


@compiled()
def _transpose(rows: Array, columns: Array) -> None:
    """Copy rows [n, TOGETHER or fewer] to the start of as many columns."""
    n, d = rows.shape
    if d == TOGETHER:
        for i in range(n):
            for j in range(TOGETHER):  # a constant, so that this loop is unrolled
                columns[j, i] = rows[i, j]
    else:
        for j in range(d):
            for i in range(n):
                columns[j, i] = rows[i, j]


@compiled()
def _count_at_least(values: Array, edges: Array, counts: Array) -> None:
    """Add to counts how many values are at or above each edge."""
    integer = counts.dtype.type
    one, none = integer(1), integer(0)
    for k in range(edges.size):
        edge, count = edges[k], none
        for i in range(values.size):
            count = integer(count + (one if values[i] >= edge else none))
        counts[k] += count


@compiled()
def _tally(values: Array, bits: Array) -> tuple[Any, Any, Any, Any]:
    """Missing, finite, and the least and the greatest finite value as keys, see `_values_of`; bits are the values' own."""
    integer = bits.dtype.type
    last = integer(np.iinfo(bits.dtype).max)
    infinity = values.dtype.type(np.inf)
    one, none, first = integer(1), integer(0), integer(~last)
    missing, finite, least, greatest = none, none, last, first
    for i in range(values.size):
        v, key = values[i], bits[i]
        key = integer(key ^ last) if key < 0 else key
        missing = integer(missing + (one if v != v else none))
        finite = integer(finite + (one if abs(v) < infinity else none))
        least = min(least, key if abs(v) < infinity else last)
        greatest = max(greatest, key if abs(v) < infinity else first)
    return missing, finite, least, greatest


def _values_of(keys: Array, dtype: Any) -> Array:
    """The floats of these keys: integers in the floats' order, -0 before +0.

    A float's key is its bits read as an integer, all of them but the sign flipped where that is set; which undoes itself.
    """
    return np.where(keys < 0, keys ^ np.iinfo(keys.dtype).max, keys).view(dtype)


@compiled(IN_LANES)
def _sums(values: Array, shift: float) -> tuple[float, float]:
    """Sum and sum of squares of the finite values less `shift`."""
    infinity = values.dtype.type(np.inf)
    total, squares = 0.0, 0.0
    for i in range(values.size):
        v = values[i]
        distance = np.float64(v) - shift if abs(v) < infinity else 0.0
        total += distance
        squares += distance * distance
    return total, squares


@compiled()
def _profile_chunk(x: Array, guide: Guide, by_guide: bool, counts: Array, whole: Array, real: Array, keys: Array) -> None:
    """Add the rows of x to counts [d, E+1], whole [2, d] (missing, finite) and real [2, d] (mean, m2); widen keys [2, d]."""
    n, d = x.shape
    below, edges, start, scale, reach = guide
    number = edges.shape[1]
    columns = np.empty((TOGETHER, TILE), x.dtype)
    bits = columns.view(keys.dtype)
    bins, ahead = np.empty(TILE, np.uint32), np.empty(TILE, x.dtype)
    at_least = np.zeros((d, number), keys.dtype)
    for row in range(0, n, TILE):
        rows = min(TILE, n - row)
        for j in range(d):
            slot = j % TOGETHER
            if slot == 0:
                _transpose(x[row : row + rows, j : j + TOGETHER], columns)
            values = columns[slot, :rows]
            missing, finite, least, greatest = _tally(values, bits[slot, :rows])
            whole[0, j] += missing
            if finite > 0:
                # Squares are taken about the mean so far (at first, about a value of the column), so that the subtraction below
                # cancels at most a factor of TILE, whatever the column's offset: Chan's merge, the tile's mean left implicit.
                shift = real[0, j]
                if whole[1, j] == 0:
                    for i in range(rows):
                        if abs(values[i]) < np.inf:
                            shift = np.float64(values[i])
                            break
                total, squares = _sums(values, shift)
                whole[1, j] += finite
                real[0, j] = shift + total / whole[1, j]
                real[1, j] += max(squares - total * total / whole[1, j], 0.0)
                keys[0, j] = min(keys[0, j], least)
                keys[1, j] = max(keys[1, j], greatest)
            if by_guide:
                count(values, below[j], edges[j], start[j], scale[j], reach[j], bins, ahead, counts[j])
            else:
                _count_at_least(values, edges[j], at_least[j])
    for j in range(d):
        if by_guide:
            counts[j, 0] -= whole[0, j]
        else:
            above = n - whole[0, j]
            for k in range(number):
                counts[j, k] += above - at_least[j, k]
                above = at_least[j, k]
            counts[j, number] += above


def profile(x: Array, edges: Array) -> ColumnCounts:
    """See `kernels.profile`."""
    d, number = edges.shape
    by_guide = edges.itemsize * number > FEW_EDGES
    guide = guide_to(edges) if by_guide else without_guide(edges)
    integer = np.dtype(f"i{x.itemsize}")
    last = np.iinfo(integer).max

    def chunk(row: int) -> ColumnCounts:
        rows = x[row : row + CHUNK]
        counts, whole = np.zeros((d, number + 1), np.int64), np.zeros((2, d), np.int64)
        real, keys = np.zeros((2, d)), np.array([[last], [~last]], integer).repeat(d, axis=1)
        _profile_chunk(rows, guide, by_guide, counts, whole, real, keys)
        missing, finite = whole
        known = np.where(finite > 0, [real[0], *_values_of(keys, x.dtype)], np.nan)
        mean, minimum, maximum = known
        return ColumnCounts(counts, missing, len(rows) - missing - finite, mean, real[1], minimum, maximum, len(rows))

    with _threads(many=len(x) > CHUNK) as run:
        return reduce(ColumnCounts.merge, run(chunk, range(0, max(len(x), 1), CHUNK)))


@compiled()
def _count_codes(codes: Array, counts: Array) -> None:
    beyond = counts.size - 1
    for i in range(codes.size):
        code = codes[i]
        if code >= 0:
            counts[min(code, beyond)] += 1


def category_counts(codes: Array, size: int) -> Array:
    """See `kernels.category_counts`; the last count is of the codes that are `size` or more."""
    counts = np.zeros(size + 1, np.int64)
    _count_codes(codes, counts)
    return counts


@compiled()
def _to_columns(x: Array, columns: Array) -> None:
    """Write x [n, d] to columns [d, n], a few rows at a time: of a cache line all values are read while it is there."""
    n, d = x.shape
    for row in range(0, n, ROWS_AT_ONCE):
        for j in range(d):
            for i in range(row, min(row + ROWS_AT_ONCE, n)):
                columns[j, i] = x[i, j]


def sort_columns(x: Array) -> list[Array]:
    """See `kernels.sort_columns`."""
    n, d = x.shape
    together = max(1, min(LINE // x.itemsize, -(-d // numba.get_num_threads())))

    def some(first: int) -> list[Array]:
        columns = np.empty((min(together, d - first), n), x.dtype)
        _to_columns(x[:, first : first + together], columns)
        columns.sort(axis=1)
        return [column[: np.searchsorted(column, np.nan)] for column in columns]

    with _threads(many=x.size > SMALL_SORT) as run:
        return [column for columns in run(some, range(0, d, together)) for column in columns]


@contextmanager
def _threads(many: bool) -> Iterator[Callable[[Callable[[Item], Result], Iterable[Item]], Iterable[Result]]]:
    """An ordered map: over as many threads as numba would use when there is `many` a thing to do, else the built-in one."""
    workers = numba.get_num_threads()
    if not many or workers == 1:
        yield map
        return
    with ThreadPoolExecutor(workers) as pool:
        yield pool.map
