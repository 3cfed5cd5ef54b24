"""What one pass over a table leaves behind: a value that merges."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from kernels.arrays import Array, namespace, on_device


@dataclass(frozen=True, slots=True, eq=False)
class ColumnCounts:
    """Counts and moments of the d columns of a table, over fixed edges.

    counts   [d, E+1] int64: bin k holds the values with exactly k edges at or below them (`np.searchsorted(side="right")`);
             -inf and +inf fall in the outer bins, NaN in none
    missing  [d] int64: NaN
    infinite [d] int64: -inf and +inf
    mean     [d] float64, over the finite values, in the column's unit; NaN where there are none
    m2       [d] float64: the sum of squared distances from the mean, in the unit squared; 0 where there are no finite values
    minimum, maximum [d] float64, over the finite values; NaN where there are none
    rows     rows seen

    The edges are the caller's to keep: two ColumnCounts may be merged or compared only if theirs were the same.
    """

    counts: Array
    missing: Array
    infinite: Array
    mean: Array
    m2: Array
    minimum: Array
    maximum: Array
    rows: int

    @property
    def finite(self) -> Array:
        """[d] int64: values that are neither NaN nor infinite; what the moments are over."""
        return self.rows - self.missing - self.infinite

    @property
    def variance(self) -> Array:
        """[d] float64: population variance, m2 / finite, in the unit squared; NaN where there are no finite values."""
        xp = namespace(self.m2)
        return xp.where(self.finite > 0, self.m2 / xp.maximum(self.finite, 1), xp.nan)  # type: ignore[no-any-return]

    @property
    def counts_and_missing(self) -> Array:
        """[d, E+2] int64: the bins with NaN as the last one, so that a change in missingness is a change in distribution."""
        return namespace(self.counts).concatenate([self.counts, self.missing[:, None]], axis=1)  # type: ignore[no-any-return]

    def merge(self, other: ColumnCounts) -> ColumnCounts:
        """What one pass over both tables would have left: counts exactly, moments to rounding.

        Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
        ValueError if the two were not counted over the same number of columns and edges.
        """
        if self.counts.shape != other.counts.shape:
            raise ValueError(
                f"cannot merge counts of shape {self.counts.shape} with {other.counts.shape}: profile both over the same edges"
            )
        xp = namespace(self.counts)
        ours, theirs = self.finite, other.finite
        both = xp.maximum(ours + theirs, 1)
        # A side without finite values has no mean: taking the other's makes its distance, and so its weight, zero.
        start = xp.where(ours > 0, self.mean, other.mean)
        step = xp.where((ours > 0) & (theirs > 0), other.mean - start, 0.0)
        return ColumnCounts(
            counts=self.counts + other.counts,
            missing=self.missing + other.missing,
            infinite=self.infinite + other.infinite,
            mean=start + step * (theirs / both),
            m2=self.m2 + other.m2 + step * step * (ours * (theirs / both)),
            minimum=xp.fmin(self.minimum, other.minimum),
            maximum=xp.fmax(self.maximum, other.maximum),
            rows=self.rows + other.rows,
        )

    def to_numpy(self) -> ColumnCounts:
        """The same value in host memory; itself if it is there already."""
        if not on_device(self.counts):
            return self
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return ColumnCounts(**{name: value.get() if on_device(value) else value for name, value in values.items()})


def of_booleans(true: Array, false: Array, missing: Array, edges: Array) -> ColumnCounts:
    """What a pass over d boolean columns, as 0 and 1, would leave: host arrays [d] of how many are true, false and missing.

    edges [d, E] as in `kernels.profile`. The moments follow from the counts. All columns have the same number of rows.

    >>> import numpy as np
    >>> made = of_booleans(np.array([3]), np.array([1]), np.array([2]), np.array([[0.0, 0.5]]))
    >>> made.rows, made.counts.tolist(), made.mean.tolist(), made.m2.tolist(), made.minimum.tolist()
    (6, [[0, 1, 3]], [0.75], [0.75], [0.0])
    """
    columns = np.arange(len(edges))
    counts = np.zeros((len(edges), edges.shape[1] + 1), np.int64)
    for value, rows in ((0.0, false), (1.0, true)):
        counts[columns, (edges <= value).sum(axis=1)] += rows
    known = true + false
    least, greatest = np.where(false > 0, 0.0, 1.0), np.where(true > 0, 1.0, 0.0)
    mean = np.where(known > 0, true / np.maximum(known, 1), np.nan)
    return ColumnCounts(
        counts=counts,
        missing=missing,
        infinite=np.zeros(len(edges), np.int64),
        mean=mean,
        m2=true * (false / np.maximum(known, 1)),
        minimum=np.where(known > 0, least, np.nan),
        maximum=np.where(known > 0, greatest, np.nan),
        rows=int(known[0] + missing[0]) if len(edges) else 0,
    )
