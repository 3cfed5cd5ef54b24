"""What a profile must be: the obvious NumPy, in float64, a column at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from kernels import ColumnCounts

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0]


def reference_profile(x: NDArray[Any], edges: NDArray[Any]) -> ColumnCounts:
    columns = []
    for column, own in zip(x.T, edges, strict=True):
        bins = np.searchsorted(own, column[~np.isnan(column)], side="right")
        values = column[np.isfinite(column)].astype(np.float64)
        mean, m2, least, most = np.nan, 0.0, np.nan, np.nan
        if len(values):
            mean = values[0] + np.mean(values - values[0])
            m2, least, most = np.sum((values - mean) ** 2), values.min(), values.max()
        counts = np.bincount(bins, minlength=len(own) + 1)
        columns.append((counts, np.isnan(column).sum(), np.isinf(column).sum(), mean, m2, least, most))
    return ColumnCounts(*map(np.array, zip(*columns, strict=True)), rows=len(x))


def assert_same(found: ColumnCounts, expected: ColumnCounts, x: NDArray[Any]) -> None:
    """Counts exactly; moments to 1e-12 relative, where m2 may lose digits of its column's sum of squares."""
    assert found.rows == expected.rows
    for name in ("counts", "missing", "infinite", "finite", "minimum", "maximum"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    finite = np.where(np.isfinite(x), x, 0).astype(np.float64)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12, atol=1e-13 * np.abs(finite).max(initial=0))
    lost = 1e-13 * (finite**2).sum(axis=0)
    assert np.all(np.abs(found.m2 - expected.m2) <= 1e-12 * expected.m2 + lost), (found.m2, expected.m2)


@st.composite
def tables(draw: st.DrawFn, edges: int | None = None, dtype: str | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
    """A table with missing values, infinities, ties and values that lie on edges, and the edges."""
    kind = np.dtype(dtype or draw(st.sampled_from(["float32", "float64"])))
    width = 32 if kind.itemsize == 4 else 64
    rows, columns = draw(st.integers(0, 40)), draw(st.integers(1, 4))
    number = draw(st.integers(0, 9)) if edges is None else edges
    numbers = st.floats(-(2**20), 2**20, width=width)
    own = np.sort(draw(hnp.arrays(kind, (columns, number), elements=numbers)), axis=1)
    values = st.one_of(numbers, st.sampled_from(SPECIAL), st.sampled_from([float(v) for v in own.flat] or [0.5]))
    return draw(hnp.arrays(kind, (rows, columns), elements=values)), own
