"""A GPU without memory left: the launch code of the GPU, executed on the CPU, with a library that refuses large arrays."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import CpuRawModule
from numpy.typing import NDArray

from kernels import SortedGaps, gpu, gpu_mmd, gpu_sorted
from kernels.gpu_memory import in_parts


class Little:
    """NumPy with memory for arrays of so many bytes and no more, and with a pool as CuPy has one."""

    def __init__(self, most: float) -> None:
        self.most, self.freed = most, 0

    def __getattr__(self, name: str) -> Any:
        made = getattr(np, name)
        return self._limited(made) if callable(made) and not isinstance(made, type) else made

    def _limited(self, make: Callable[..., Any]) -> Callable[..., Any]:
        def limited(*arguments: Any, **settings: Any) -> Any:
            found = make(*arguments, **settings)
            new = isinstance(found, np.ndarray) and not any(
                isinstance(each, np.ndarray) and np.shares_memory(each, found) for each in arguments
            )
            if new and found.nbytes > self.most:
                raise MemoryError("no memory left")  # as CuPy's OutOfMemoryError is one
            return found

        return limited

    def get_default_memory_pool(self) -> Little:
        return self

    def free_all_blocks(self) -> None:
        self.freed += 1


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Little]:
    def give(most: float) -> Little:
        memory = Little(most)
        for module in (gpu, gpu_sorted, gpu_mmd, sys.modules["kernels.rbf_sums"]):  # its name in `kernels` is a function's
            monkeypatch.setattr(module, "namespace", lambda array: memory)
        return memory

    return give


@cache
def compiled(file: str, options: tuple[str, ...]) -> CpuRawModule:
    return CpuRawModule(gpu.source(file), options)


def assert_same(found: Any, expected: Any, rtol: float = 1e-12) -> None:
    for field in fields(expected):
        ours, theirs = getattr(found, field.name), getattr(expected, field.name)
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol, err_msg=field.name)


def columns_first(rows: int, columns: int) -> NDArray[Any]:
    """A table that the profile has to copy."""
    table = np.random.default_rng(0).normal(100, 3, (columns, rows)).T
    table[::7, 0], table[::11, 1] = np.nan, np.inf
    return table


def test_a_profile_is_made_of_some_rows_at_a_time(little: Callable[[float], Little]) -> None:
    x, edges = columns_first(20_001, 3), np.sort(np.random.default_rng(1).normal(100, 3, (3, 31)))
    whole = gpu.profile(x, edges, compiled)
    memory = little(x.nbytes / 3)
    with pytest.warns(RuntimeWarning, match="rows, 6,144 of 20,001 at a time") as said:
        found = gpu.profile(x, edges, compiled)
    assert len(said) == 1
    assert memory.freed == 2
    np.testing.assert_array_equal(found.counts, whole.counts)
    assert_same(found, whole)


def test_columns_are_sorted_some_at_a_time(little: Callable[[float], Little]) -> None:
    x = columns_first(1_000, 10)
    whole = gpu.sort_columns(x)
    little(x.nbytes / 3)
    with pytest.warns(RuntimeWarning, match="columns, 3 of 10 at a time"):
        found = gpu.sort_columns(x)
    assert len(found) == 10
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_sorted_columns_are_merged_some_at_a_time(little: Callable[[float], Little]) -> None:
    random = np.random.default_rng(0)
    x, y = ([np.sort(random.normal(0, 1, rows)) for _ in range(6)] for rows in (5_000, 3_000))
    whole = gpu_sorted.sorted_gaps(x, y, compiled)
    little(4 * 3 * gpu_sorted.PART * 8)
    with pytest.warns(RuntimeWarning, match="columns, 3 of 6 at a time"):
        found = gpu_sorted.sorted_gaps(x, y, compiled)
    for field in fields(SortedGaps):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(whole, field.name))


@pytest.mark.parametrize(("share", "blocks"), [(1.1, 4), (0.6, 8)])
def test_kernel_sums_are_added_up_from_pairs_of_blocks(little: Callable[[float], Little], share: float, blocks: int) -> None:
    random = np.random.default_rng(0)
    rows, weights = random.normal(5, 1, (1_030, 80)).astype(np.float32), random.integers(-1, 2, (1_030, 5)).astype(np.int8)
    whole = gpu_mmd.rbf_sums(rows, weights, 9.0, compiled)
    memory = little(share * rows.nbytes)
    with pytest.warns(RuntimeWarning, match=f"rows, two of {blocks} blocks at a time") as said:
        found = gpu_mmd.rbf_sums(rows, weights, 9.0, compiled)
    assert len(said) == 1
    assert memory.freed == {4: 1, 8: 2}[blocks]
    for field in fields(whole):  # entries are float32's
        np.testing.assert_allclose(getattr(found, field.name), getattr(whole, field.name), rtol=0, atol=3e-6 * whole.total)


def test_what_fits_is_done_at_once_without_a_word(little: Callable[[float], Little]) -> None:
    memory = little(10**9)
    x = columns_first(5_000, 2)
    gpu.profile(x, np.zeros((2, 1)), compiled)
    assert len(gpu.sort_columns(x)) == 2
    assert memory.freed == 0


def test_where_the_least_does_not_fit_it_says_what_to_do(little: Callable[[float], Little]) -> None:
    little(100)
    x = columns_first(5_000, 2)
    with pytest.raises(MemoryError, match=r"no memory left for 2,048 rows: free arrays .* or pass the data from host memory"):
        gpu.profile(x, np.zeros((2, 1)), compiled)
    with pytest.raises(MemoryError, match="no memory left for 1 columns"):
        gpu.sort_columns(x)
    with pytest.raises(MemoryError, match="two blocks of 79 of 5,000 rows"):
        gpu_mmd.rbf_sums(x, np.ones((5_000, 1), np.int8), 1.0, compiled)


def test_nothing_of_a_failed_attempt_is_held_when_the_next_begins() -> None:
    held: list[Any] = []

    class Large:
        def __del__(self) -> None:
            held.remove(id(self))

    def work(part: slice) -> int:
        large = Large()
        held.append(id(large))
        assert len(held) == 1
        if part.stop - part.start > 3:
            raise MemoryError
        return part.stop - part.start

    with pytest.warns(RuntimeWarning, match="things, 2 of 7 at a time"):
        assert in_parts(work, 7, 1, "things", np) == [2, 2, 2, 1]


@pytest.mark.parametrize("things", [0, 1])
def test_nothing_and_one_thing_are_one_part(things: int) -> None:
    assert in_parts(lambda part: (part.start, part.stop), things, 2048, "rows", np) == [(0, things)]
