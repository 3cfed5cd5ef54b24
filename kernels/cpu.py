"""The interface on the CPU: numba for the passes over data, NumPy for the rest.

Nothing is compiled at import; the machine code of a first call is cached on disk. The compiled functions release the
interpreter's lock and plain threads run them: numba's own thread pools are neither safe to enter from two threads nor to fork.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import reduce
from typing import Any, TypeVar, cast

import numba
import numpy as np

from kernels.arrays import Array
from kernels.column_counts import ColumnCounts

CHUNK = (
    1 << 16
)  # rows profiled by one thread at a time; fixed, so that the moments' last bits do not depend on the number of cores
TILE = 512  # rows taken at a time: their cache lines survive until the next column wants them, and float32 counts them exactly
FEW_EDGES = 256  # up to here, comparing with every edge in vector lanes beats looking a value's bin up
SMALL_SORT = 1 << 17  # values below which threads cost more than they save

Function = TypeVar("Function", bound=Callable[..., Any])
Item = TypeVar("Item")
Result = TypeVar("Result")


def _compiled(fastmath: bool | set[str] = False) -> Callable[[Function], Function]:
    return cast("Callable[[Function], Function]", numba.njit(cache=True, nogil=True, fastmath=fastmath))


# Sums may be reordered into vector lanes. NaN and infinity stay what they are: without the flags "nnan" and "ninf" a comparison
# with NaN is false, which is what keeps NaN out of every bin.
_LANES_MAY_REORDER = {"reassoc", "nsz"}


@_compiled(_LANES_MAY_REORDER)
def _at_least(values: Array, a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any, Any, Any]:
    """How many values are at or above each of four edges; counted in the values' own type, whose lanes are as wide as theirs."""
    one, none = values.dtype.type(1), values.dtype.type(0)
    na, nb, nc, nd = none, none, none, none
    for i in range(values.size):
        v = values[i]
        na += one if v >= a else none
        nb += one if v >= b else none
        nc += one if v >= c else none
        nd += one if v >= d else none
    return na, nb, nc, nd


@_compiled(_LANES_MAY_REORDER)
def _sums(values: Array, shift: float) -> tuple[Any, Any, Any, Any, Any, Any]:
    """Missing, finite, sum and sum of squares of the finite values less `shift`, their minimum and maximum."""
    one, none = values.dtype.type(1), values.dtype.type(0)
    infinity = values.dtype.type(np.inf)
    missing, finite = none, none
    low, high = infinity, -infinity
    total, squares = 0.0, 0.0
    for i in range(values.size):
        v = values[i]
        missing += one if v != v else none
        finite += one if abs(v) < infinity else none
        low = min(low, v) if abs(v) < infinity else low
        high = max(high, v) if abs(v) < infinity else high
    for i in range(values.size):
        v = values[i]
        distance = np.float64(v) - shift if abs(v) < infinity else 0.0
        total += distance
        squares += distance * distance
    return missing, finite, total, squares, low, high


@_compiled()
def _cell(value: Any, start: Any, scale: Any, cells: int) -> int:
    """The guide table's cell of a value: a function that never falls as the value rises, rounding included."""
    place = (value - start) * scale
    if not place > 0:
        return 0
    return int(place) if place < cells - 1 else cells - 1


@_compiled()
def _guide(edges: Array, cells: int) -> tuple[Array, Array, Array]:
    """Per column, how many edges lie in cells before each cell, and the start and scale of the cells."""
    d, number = edges.shape
    before = np.zeros((d, cells + 1), np.int32)
    start = np.zeros(d, edges.dtype)
    scale = np.zeros(d, edges.dtype)
    for j in range(d):
        first, last = 0, number - 1
        while first < last and not abs(edges[j, first]) < np.inf:
            first += 1
        while last > first and not abs(edges[j, last]) < np.inf:
            last -= 1
        span = edges[j, last] - edges[j, first]
        if 0 < span < np.inf and cells / span < np.inf:
            start[j] = edges[j, first]
            scale[j] = cells / span
        for k in range(number):
            before[j, _cell(edges[j, k], start[j], scale[j], cells) + 1] += 1
        for c in range(cells):
            before[j, c + 1] += before[j, c]
    return before, start, scale


@_compiled()
def _count_by_guide(values: Array, edges: Array, before: Array, start: Any, scale: Any, counts: Array) -> None:
    """Count each value's bin: the guide says which few edges share its cell, a binary search goes over those."""
    for i in range(values.size):
        v = values[i]
        if v != v:
            continue
        cell = _cell(v, start, scale, before.size - 1)
        low, high = before[cell], before[cell + 1]
        while low < high:
            middle = (low + high) >> 1
            if edges[middle] <= v:
                low = middle + 1
            else:
                high = middle
        counts[low] += 1


@_compiled()
def _profile_chunk(
    x: Array, edges: Array, before: Array, start: Array, scale: Array, counts: Array, whole: Array, real: Array
) -> None:
    """Add the rows of x to counts [d, E+1], whole [2, d] (missing, finite) and real [4, d] (mean, m2, minimum, maximum)."""
    n, d = x.shape
    number = counts.shape[1] - 1
    cells = before.shape[1] - 1
    column = np.empty(TILE, x.dtype)
    at_least = np.zeros((d, edges.shape[1]), np.int64)
    for row in range(0, n, TILE):
        rows = min(TILE, n - row)
        for j in range(d):
            for i in range(rows):
                column[i] = x[row + i, j]
            values = column[:rows]
            # Squares are taken about the mean so far (at first, about a value of the column), so that the subtraction below
            # cancels at most a factor of TILE, whatever the column's offset: Chan's merge, with the tile's mean left implicit.
            shift = real[0, j]
            if whole[1, j] == 0:
                shift = 0.0
                for i in range(rows):
                    if abs(values[i]) < np.inf:
                        shift = np.float64(values[i])
                        break
            missing, finite, total, squares, low, high = _sums(values, shift)
            whole[0, j] += np.int64(missing)
            if finite > 0:
                whole[1, j] += np.int64(finite)
                real[0, j] = shift + total / whole[1, j]
                real[1, j] += max(squares - total * total / whole[1, j], 0.0)
                real[2, j] = min(real[2, j], np.float64(low))
                real[3, j] = max(real[3, j], np.float64(high))
            if cells > 0:
                _count_by_guide(values, edges[j], before[j], start[j], scale[j], counts[j])
            else:
                for k in range(0, number, 4):
                    a, b, e, f = _at_least(values, edges[j, k], edges[j, k + 1], edges[j, k + 2], edges[j, k + 3])
                    at_least[j, k] += np.int64(a)
                    at_least[j, k + 1] += np.int64(b)
                    at_least[j, k + 2] += np.int64(e)
                    at_least[j, k + 3] += np.int64(f)
    if cells == 0:
        for j in range(d):
            above = n - whole[0, j]
            for k in range(number):
                counts[j, k] += above - at_least[j, k]
                above = at_least[j, k]
            counts[j, number] += above


def profile(x: Array, edges: Array) -> ColumnCounts:
    """See `kernels.profile`."""
    d, number = edges.shape
    if number <= FEW_EDGES:
        guide = np.zeros((d, 1), np.int32), np.zeros(d, x.dtype), np.zeros(d, x.dtype)
        padded = np.full((d, -(-number // 4) * 4), np.inf, x.dtype)
        padded[:, :number] = edges
    else:
        padded = np.ascontiguousarray(edges)
        guide = _guide(padded, 4 * number)

    def chunk(row: int) -> ColumnCounts:
        rows = x[row : row + CHUNK]
        counts, whole = np.zeros((d, number + 1), np.int64), np.zeros((2, d), np.int64)
        real = np.array([[0.0], [0.0], [np.inf], [-np.inf]]).repeat(d, axis=1)
        _profile_chunk(rows, padded, *guide, counts, whole, real)
        missing, finite = whole
        real[np.ix_([0, 2, 3], finite == 0)] = np.nan
        mean, m2, minimum, maximum = real
        return ColumnCounts(counts, missing, len(rows) - missing - finite, mean, m2, minimum, maximum, len(rows))

    with _threads(many=len(x) > CHUNK) as run:
        return reduce(ColumnCounts.merge, run(chunk, range(0, max(len(x), 1), CHUNK)))


@_compiled()
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


def sort_columns(x: Array) -> list[Array]:
    """See `kernels.sort_columns`."""

    def column(j: int) -> Array:
        ordered = np.sort(x[:, j])
        return ordered[: np.searchsorted(ordered, np.nan)]

    with _threads(many=x.size > SMALL_SORT) as run:
        return list(run(column, range(x.shape[1])))


@contextmanager
def _threads(many: bool) -> Iterator[Callable[[Callable[[Item], Result], Iterable[Item]], Iterable[Result]]]:
    """An ordered map: over as many threads as numba would use when there is `many` a thing to do, else the built-in one."""
    workers = numba.get_num_threads()
    if not many or workers == 1:
        yield map
        return
    with ThreadPoolExecutor(workers) as pool:
        yield pool.map
