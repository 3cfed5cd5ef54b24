"""What the sorted pass must find: the obvious NumPy over the distinct values, in float64, a column at a time."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from kernels import SortedGaps
from kernels.sorted_gaps import from_sums

Columns = list[NDArray[Any]]


def reference_gaps(reference: Columns, current: Columns) -> SortedGaps:
    sums = np.array([_sums(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(reference, current, strict=True)])
    return from_sums(sums.reshape(-1, 30), *(np.array([len(x) for x in side], np.int64) for side in (reference, current)))


def _sums(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[float]:
    n, m = len(x), len(y)
    if n == 0 or m == 0:
        return [0.0] * 30
    values = np.unique(np.concatenate([x, y]))
    before_a, before_b = (np.searchsorted(side, values, side="left").astype(float) for side in (x, y))
    upto_a, upto_b = (np.searchsorted(side, values, side="right").astype(float) for side in (x, y))
    a, b, f, g = upto_a - before_a, upto_b - before_b, upto_a / n, upto_b / m
    gap = upto_a * m - upto_b * n
    w = np.append(np.diff(values), 0.0)

    def over_widths(factor: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.multiply(factor, w, where=factor != 0, out=np.zeros_like(w))

    share = gap / (n * m)
    e = ((before_a + upto_a) * m - (before_b + upto_b) * n) / (2 * n * m)
    s = before_a + upto_a + before_b + upto_b
    spread = s * (2 * (n + m) - s) - (n + m) * (a + b)
    with np.errstate(invalid="ignore"):
        steps = [over_widths(np.sign(gap)), over_widths(share), (1 - 2 * g) * w]
        p, q, r = (np.concatenate([[0.0], np.cumsum(step)[:-1]]) for step in steps)
        moments = [np.sum(own * part) for own in (a, b) for part in (p, p * p, q, q * q, r, r * r, q * r)]
    return [
        max(gap.max(), 0.0),
        max(-gap.min(), 0.0),
        *(over_widths(c).sum() for c in (abs(share), share**2, f * (1 - g) + g * (1 - f), f * (1 - f), g * (1 - g))),
        over_widths(np.sqrt(f * (1 - f) / n + g * (1 - g) / m)).sum(),
        *(np.sum((a + b) * e * e), np.sum((a + b) * e * e / np.where(spread > 0, spread, 1.0))),
        *(np.sum(a**3), np.sum(b**3), np.sum(a * b * (a + b))),
        *(np.sum(a * (before_b + upto_b)), np.sum(a * (before_b + upto_b) ** 2), np.sum(b * (before_a + upto_a) ** 2)),
        *moments,
    ]


def assert_same(found: SortedGaps, expected: SortedGaps) -> None:
    """To 1e-12 relative; variances, which are differences of larger sums, to 1e-9 of the largest and 1e-15 of those sums."""
    lengths = np.fmax(expected.area, expected.mean_distance)
    lengths = lengths[np.isfinite(lengths)]
    for field in fields(SortedGaps):
        ours, theirs = getattr(found, field.name), getattr(expected, field.name)
        exact = field.name.endswith(("rows", "cubes", "wins")) or field.name in ("above", "below")
        loose = 0.0
        if field.name.endswith(("variance", "covariance")):
            size = 1.0 if field.name == "wins_variance" else lengths.max(initial=0.0) ** 2
            loose = 1e-9 * np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0) + 1e-15 * size
        np.testing.assert_allclose(ours, theirs, rtol=0 if exact else 1e-12, atol=loose, err_msg=field.name)


def samples(kind: str, least: int = 1, most: int = 40) -> st.SearchStrategy[NDArray[Any]]:
    """A sorted sample: spread, tied, constant, of one row, with infinities, or with a huge offset."""
    width = 32 if kind == "float32" else 64
    values = st.one_of(
        st.floats(-(2**20), 2**20, width=width),
        st.integers(-3, 3).map(float),
        st.sampled_from([np.inf, -np.inf, 0.0, -0.0, 1e9, 1e9 + 64, 2.0**-100]),
    )
    sizes = st.integers(least, most)
    return st.one_of(
        hnp.arrays(kind, sizes, elements=values),
        hnp.arrays(kind, sizes, elements=st.floats(-8, 8, width=width)),
        hnp.arrays(kind, sizes, elements=st.integers(0, 2).map(float)),
    ).map(np.sort)
