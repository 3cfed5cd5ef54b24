"""The interface on the GPU: CuPy, and the `.cu` files beside this one, compiled on first use and cached on disk by CuPy.

`compiler` is a parameter so that the tests can run this very code, launches included, over a module that executes on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, reduce
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kernels.arrays import Array, namespace
from kernels.column_counts import ColumnCounts
from kernels.gpu_memory import in_parts

THREADS = 256  # a block
WARP = 32  # columns of a block: a row of them is one coalesced read
BLOCK_ROWS = 2048  # rows of a block; fixed, so that the moments' last bits are the same on every card
GROUP = 64  # parts that one thread merges
SHARED_BYTES = 48 << 10  # static shared memory of a block on every architecture
MOMENTS = 5  # doubles of the struct Moments: finite, mean, m2, minimum, maximum
CATEGORY_CAPACITY = 8192  # counters in shared memory, 32 KiB
SORTED_ALONE = 1 << 17  # rows from which each column is a sort of its own, by radix; CuPy sorts a table by comparing
CATEGORY_BLOCKS = 1024  # enough to fill any card; the loop in the kernel strides over the rest


class Module(Protocol):
    """What `cupy.RawModule` offers: a kernel by its name, called with a grid, a block and its arguments."""

    def get_function(self, name: str) -> Callable[[tuple[int, ...], tuple[int, ...], tuple[Any, ...]], None]:
        """The kernel `name`."""


Compiler = Callable[[str, tuple[str, ...]], Module]


def source(file: str) -> str:
    """The text of a `.cu` file of this package."""
    return (Path(__file__).parent / file).read_text()


@cache
def compile_for_device(file: str, options: tuple[str, ...]) -> Module:
    """A `.cu` file of this package as a CuPy module, its macros given as options."""
    import cupy

    return cupy.RawModule(code=source(file), options=("-std=c++17", *options))  # type: ignore[no-any-return]


def lanes_that_fit(dtype: np.dtype[Any], edges: int) -> int:
    """Columns of a block: a warp of them, halved until their edges and counters fit on chip beside the moments; 0 if none do."""
    lanes = WARP
    while lanes and lanes * (edges * dtype.itemsize + (edges + 3) * 4) + THREADS * MOMENTS * 8 > SHARED_BYTES:
        lanes //= 2
    return lanes


def profile_options(dtype: np.dtype[Any], edges: int) -> tuple[str, ...]:
    """The macros of profile.cu."""
    real, lanes = {"float32": "float", "float64": "double"}[dtype.name], lanes_that_fit(dtype, edges)
    return (f"-DREAL={real}", f"-DEDGES={edges}", f"-DLANES={lanes}", f"-DTEAMS={THREADS // lanes}", f"-DBLOCK_ROWS={BLOCK_ROWS}")


def category_options(dtype: np.dtype[Any]) -> tuple[str, ...]:
    """The macros of category_counts.cu."""
    return (f"-DCODE={'int' if dtype.itemsize == 4 else 'long long'}", f"-DCAPACITY={CATEGORY_CAPACITY}")


def profile(x: Array, edges: Array, compiler: Compiler = compile_for_device) -> ColumnCounts:
    """See `kernels.profile`. A table that is not row-major is copied first; where memory lacks for that, some rows at a time."""

    def part(rows: slice) -> ColumnCounts:
        return _profile(x[rows], edges, compiler)

    return reduce(ColumnCounts.merge, in_parts(part, len(x), BLOCK_ROWS, "rows", namespace(x)))


def _profile(x: Array, edges: Array, compiler: Compiler) -> ColumnCounts:
    xp = namespace(x)
    (n, d), number = x.shape, edges.shape[1]
    if number == 0:  # the kernel holds at least one edge, and no value is at or above NaN
        edges = xp.full((d, 1), xp.nan, x.dtype)
    lanes = lanes_that_fit(x.dtype, edges.shape[1])
    if not lanes:  # thousands of edges: the library's search, and the kernel for all but the counts
        return replace(_profile(x, edges[:, :1], compiler), counts=_counts(x, edges))
    module = compiler("profile.cu", profile_options(x.dtype, edges.shape[1]))

    counts = xp.zeros((d, edges.shape[1] + 3), xp.int64)
    parts = xp.empty((max(_blocks(n, BLOCK_ROWS), 1), d, MOMENTS), xp.float64)
    table = xp.ascontiguousarray(x), xp.ascontiguousarray(edges), np.int64(n), np.int32(d)
    module.get_function("profile")((len(parts), max(_blocks(d, lanes), 1)), (lanes, THREADS // lanes), (*table, counts, parts))
    while len(parts) > 1:
        merged = xp.empty((_blocks(len(parts), GROUP), d, MOMENTS), xp.float64)
        shape = np.int64(len(parts)), np.int32(d), np.int32(GROUP)
        module.get_function("merge_parts")((len(merged), max(_blocks(d, THREADS), 1)), (THREADS,), (parts, *shape, merged))
        parts = merged

    finite, mean, m2, minimum, maximum = parts[0].T
    known = finite > 0
    return ColumnCounts(
        counts=counts[:, : number + 1],
        missing=counts[:, -2],
        infinite=counts[:, -1],
        mean=xp.where(known, mean, xp.nan),
        m2=m2,
        minimum=xp.where(known, minimum, xp.nan),
        maximum=xp.where(known, maximum, xp.nan),
        rows=n,
    )


def _counts(x: Array, edges: Array) -> Array:
    """[d, E+1] int64, column by column."""
    xp = namespace(x)
    counts = xp.empty((len(edges), edges.shape[1] + 1), xp.int64)
    for j, own in enumerate(edges):
        values = x[:, j]
        counts[j] = xp.bincount(xp.searchsorted(own, values[values == values], side="right"), minlength=len(own) + 1)
    return counts  # type: ignore[no-any-return]


def category_counts(codes: Array, size: int, compiler: Compiler = compile_for_device) -> Array:
    """See `kernels.category_counts`; the last count is of the codes that are `size` or more."""
    xp = namespace(codes)
    if codes.dtype.itemsize < 4:
        codes = codes.astype(xp.int32)
    module = compiler("category_counts.cu", category_options(codes.dtype))
    counts = xp.zeros(size + 1, xp.int64)
    blocks = min(max(_blocks(len(codes), THREADS), 1), CATEGORY_BLOCKS)
    arguments = (xp.ascontiguousarray(codes), np.int64(len(codes)), np.int32(size), counts)
    module.get_function("category_counts")((blocks,), (THREADS,), arguments)
    return counts  # type: ignore[no-any-return]


def sort_columns(x: Array) -> list[Array]:
    """See `kernels.sort_columns`. Where memory lacks for all of them, some columns at a time."""

    def part(columns: slice) -> list[Array]:
        return _sort_columns(x[:, columns])

    return list(chain.from_iterable(in_parts(part, x.shape[1], 1, "columns", namespace(x))))


def _sort_columns(x: Array) -> list[Array]:
    xp = namespace(x)
    present = xp.count_nonzero(x == x, axis=0).tolist()
    rows = xp.array(x.T, order="C")
    if len(x) < SORTED_ALONE:
        rows.sort(axis=1)
    else:
        for row in rows:
            row.sort()
    return [row[:number] for row, number in zip(rows, present, strict=True)]


def _blocks(things: int, each: int) -> int:
    return -(-things // each)
