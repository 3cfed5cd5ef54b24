"""frouros: its ChiSquareTest, `fit` on the reference, `compare` with the current column.

As in the examples of https://frouros.readthedocs.io/en/latest/api_reference/detectors/data_drift/batch.html. It keeps the
reference's values and counts both sides anew; None is a value. What `compare` is given beyond the column goes to
scipy.stats.chi2_contingency: Yates' correction is off.
"""

from __future__ import annotations

from typing import Any

from frouros.detectors.data_drift import ChiSquareTest

from benchmarks.peers.answering import Call, answer
from benchmarks.peers.categories.columns import CATEGORIES, raw


def statistics(reference: Any, current: Any) -> dict[str, Call]:
    """frouros' statistic."""
    before, after = raw(reference), raw(current)
    return {f"{name}: chi2": of(before[name], after[name]) for name in CATEGORIES}


def of(before: Any, after: Any) -> Call:
    """Of one column."""
    detector = ChiSquareTest()
    detector.fit(X=before)
    return lambda: {"value": [detector.compare(X=after, correction=False)[0].statistic]}


if __name__ == "__main__":
    answer(statistics)
