"""Passes over data, on the CPU or on the GPU: wherever the array is. Knows arrays, not windows.

Statistics over what these return are in `kernels.statistics`, one file each.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from kernels.arrays import Array, namespace, on_device
from kernels.column_counts import ColumnCounts, of_booleans
from kernels.count_distances import CountDistances
from kernels.rbf_sums import RbfSums
from kernels.sorted_gaps import SortedGaps

__all__ = [
    "ColumnCounts",
    "CountDistances",
    "RbfSums",
    "SortedGaps",
    "category_counts",
    "distances",
    "ks_wasserstein",
    "of_booleans",
    "profile",
    "rbf_sums",
    "sort_columns",
    "sorted_gaps",
]


def profile(x: Array, edges: Array) -> ColumnCounts:
    """Counts over fixed edges, missing and infinite values, moments and range of every column, in one pass.

    x      [n, d] float32 or float64, rows by columns; NaN is missing, infinities are counted but have no part in the moments
    edges  [d, E], ascending in each row, of the same type and on the same device as x

    Returns arrays where x is. The moments are Chan's, in float64: no offset costs them digits, and the same x gives the same bits
    on any number of cores; m2 overflows where the values' squares do. ValueError or TypeError says which argument is wrong and
    what to pass.

    >>> import numpy as np
    >>> table = profile(np.array([[0.5], [1.0], [7.0], [np.nan], [np.inf]]), np.array([[1.0, 5.0]]))
    >>> table.counts.tolist(), table.missing.tolist(), table.infinite.tolist()
    ([[1, 1, 2]], [1], [1])
    >>> table.mean.round(2).tolist(), table.maximum.tolist()
    ([2.83], [7.0])
    """
    if x.ndim != 2 or edges.ndim != 2 or len(edges) != x.shape[1]:
        raise ValueError(f"x is {x.shape} and edges {edges.shape}: pass x as [rows, columns] and one row of edges per column")
    if x.dtype.name not in ("float32", "float64") or edges.dtype != x.dtype:
        raise TypeError(f"x is {x.dtype} and edges {edges.dtype}: cast both to float32 or both to float64")
    if not bool((edges[:, 1:] >= edges[:, :-1]).all()) or bool((edges != edges).any()):
        raise ValueError(
            "edges must ascend in every row and hold no NaN: sort each row, and take quantiles without missing values"
        )
    return _backend(x, edges).profile(x, edges)  # type: ignore[no-any-return]


def category_counts(codes: Array, size: int) -> Array:
    """How often each code from 0 to size - 1 occurs: [size] int64, where `codes` is.

    codes [n] of a signed integer type. A negative code is an unknown or missing category and counted nowhere: there are
    `len(codes) - counts.sum()` of them. ValueError if a code is `size` or more: the vocabulary is older than the codes.

    >>> import numpy as np
    >>> category_counts(np.array([0, 2, 2, -1]), 4).tolist()
    [1, 0, 2, 0]
    """
    if codes.ndim != 1 or codes.dtype.kind != "i":
        raise TypeError(f"codes are {codes.dtype} of shape {codes.shape}: pass one dimension of signed integers")
    counts: Array = _backend(codes).category_counts(codes, size)
    if beyond := int(counts[size]):
        raise ValueError(f"{beyond} codes are {size} or more: pass the size of the vocabulary that made them")
    return counts[:size]


def distances(reference: Array, current: Array, smoothing: float = 0.5) -> CountDistances:
    """PSI, Jensen-Shannon, Kullback-Leibler, Hellinger and total variation of all columns, in one pass over their counts.

    Integer counts [d, k] on both sides, whose columns may have fewer bins and zeros behind them. Half a row, `smoothing`, is
    added to each filled bin for PSI and Kullback-Leibler. The same to rounding as the five functions of `kernels.statistics`.

    >>> import numpy as np
    >>> found = distances(np.array([[100, 200, 100]]), np.array([[50, 200, 150]]))
    >>> found.psi.round(4).tolist(), found.total_variation.tolist()
    ([0.136], [0.125])
    """
    if reference.ndim != 2 or reference.shape != current.shape:
        raise ValueError(f"counts are {reference.shape} and {current.shape}: pass two of one shape, [columns, bins]")
    if reference.dtype.kind not in "iu" or current.dtype.kind not in "iu":
        raise TypeError(f"counts are {reference.dtype} and {current.dtype}: pass integers")
    if len({namespace(counts) for counts in (reference, current)}) > 1:
        raise TypeError("one array is on the GPU and another is not: move them to the same place")
    if on_device(reference):
        from kernels import gpu_distances

        return gpu_distances.distances(reference, current, smoothing)
    from kernels import cpu_distances

    return cpu_distances.distances(reference, current, smoothing)


def ks_wasserstein(sorted_a: Array, sorted_b: Array) -> tuple[float, float]:
    """The two-sample Kolmogorov-Smirnov statistic and the Wasserstein-1 distance, exact, ties included.

    Both arrays float, one-dimensional, ascending and free of NaN, as `sort_columns` leaves them; their sizes may differ.
    The first is between 0 and 1, the second in the data's unit. Both are NaN if either array is empty; the distance is infinite
    where the two hold different shares of an infinity.

    >>> import numpy as np
    >>> ks_wasserstein(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    (0.5, 1.0)
    """
    if len(sorted_a) == 0 or len(sorted_b) == 0:
        return float("nan"), float("nan")
    if _all_on_device(sorted_a, sorted_b):
        from kernels import gpu_sorted

        return gpu_sorted.ks_wasserstein(sorted_a, sorted_b)
    from kernels import cpu_ks_wasserstein

    return cpu_ks_wasserstein.ks_wasserstein(sorted_a, sorted_b)


def sorted_gaps(reference: Sequence[Array], current: Sequence[Array]) -> SortedGaps:
    """What the exact statistics need of d columns, from one merge of each column's two sorted samples.

    Each side holds d arrays, as `sort_columns` leaves them: float32 or float64, one-dimensional, ascending and free of NaN, of
    any lengths. The arrays that come back are where these are; the same arguments give the same bits on any number of cores.

    >>> import numpy as np
    >>> gaps = sorted_gaps([np.array([0.0, 1.0])], [np.array([1.0, 2.0, 4.0])])
    >>> gaps.widest.round(4).tolist(), gaps.area.round(4).tolist()
    ([0.6667], [1.8333])
    """
    if len(reference) != len(current):
        raise ValueError(
            f"{len(reference)} columns of reference and {len(current)} of current: pass the same columns in one order"
        )
    return _sorted_backend(*reference, *current).sorted_gaps(reference, current)  # type: ignore[no-any-return]


def sort_columns(x: Array) -> list[Array]:
    """Each column of x [n, d] in ascending order without its NaN: d arrays of at most n, where x is.

    >>> import numpy as np
    >>> [column.tolist() for column in sort_columns(np.array([[2.0, np.nan], [1.0, 3.0]]))]
    [[1.0, 2.0], [3.0]]
    """
    return _backend(x).sort_columns(x)  # type: ignore[no-any-return]


def rbf_sums(rows: Array, weights: Array, bandwidth: float) -> RbfSums:
    """w' K w and 1' K w for each column w of weights, K being the Gaussian kernel matrix of the rows without its diagonal.

    rows     [n, d] float32 or float64, all finite
    weights  [n, P] int8, one column a question: +1 and -1 for two groups, 0 for a row left out
    K[i, j] = exp(-|row_i - row_j|² / (2 bandwidth²)) where i and j differ, 0 where they do not

    K is never stored: the time is that of n² / 2 · (d + P) multiplications, the memory that of a copy of the rows. Entries are
    float32, good to about 1e-7 of the squared distance from the middle over the squared bandwidth; sums are float64.

    >>> import math
    >>> import numpy as np
    >>> sums = rbf_sums(np.array([[0.0], [1.0], [3.0]]), np.array([[1], [1], [-1]], np.int8), bandwidth=0.5**0.5)
    >>> sums.quadratic.round(5).tolist(), round(2 * (math.exp(-1) - math.exp(-9) - math.exp(-4)), 5)
    ([0.69888], 0.69888)
    """
    if rows.ndim != 2 or weights.ndim != 2 or len(rows) != len(weights):
        raise ValueError(f"rows are {rows.shape} and weights {weights.shape}: pass both as [rows, ...], with one weight a row")
    if rows.dtype.name not in ("float32", "float64") or weights.dtype.name != "int8":
        raise TypeError(f"rows are {rows.dtype} and weights {weights.dtype}: cast them to float32 or float64, and to int8")
    if not bandwidth > 0:
        raise ValueError(f"the bandwidth is {bandwidth}: pass a positive one, as `kernels.statistics.mmd.bandwidth` finds it")
    if namespace(rows) is not namespace(weights):
        raise TypeError("one array is on the GPU and another is not: move them to the same place")
    if on_device(rows):
        from kernels import gpu_mmd

        return gpu_mmd.rbf_sums(rows, weights, bandwidth)
    from kernels import cpu_mmd

    return cpu_mmd.rbf_sums(rows, weights, bandwidth)


def _backend(*arrays: Array) -> ModuleType:
    """The module for where the arrays are. Imported here, so that importing `kernels` costs neither numba nor CuPy."""
    if _all_on_device(*arrays):
        from kernels import gpu

        return gpu
    from kernels import cpu

    return cpu


def _sorted_backend(*arrays: Array) -> ModuleType:
    if _all_on_device(*arrays):
        from kernels import gpu_sorted

        return gpu_sorted
    from kernels import cpu_sorted

    return cpu_sorted


def _all_on_device(*arrays: Array) -> bool:
    """Whether the arrays are CuPy's; no arrays are nowhere, and so on the CPU."""
    places = {on_device(array) for array in arrays}
    if len(places) > 1:
        raise TypeError("one array is on the GPU and another is not: move them to the same place")
    return True in places
