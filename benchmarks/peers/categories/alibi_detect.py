"""alibi-detect: its ChiSquareDrift, one column a detector.

As in https://docs.seldon.ai/alibi-detect/cd/methods/chisquaredrift: categories are integers, so the words' codes are made before
the clock starts, which spares it the reading of text. `drift_type="feature"` leaves out nothing but the correction for many
columns. It keeps the reference's values and counts both sides anew, value by value. A table of two by two has Yates' correction.
"""

from __future__ import annotations

from typing import Any

from alibi_detect.cd import ChiSquareDrift

from benchmarks.peers.answering import Call, answer
from benchmarks.peers.categories.columns import CATEGORIES, COLUMNS


def statistics(reference: Any, current: Any) -> dict[str, Call]:
    """alibi-detect's distances, float32; -1 is a value."""
    places = {column.name: j for j, column in enumerate(COLUMNS) if column.name in CATEGORIES}
    return {f"{name}: chi2": of(reference[:, j : j + 1].copy(), current[:, j : j + 1].copy()) for name, j in places.items()}


def of(before: Any, after: Any) -> Call:
    """Of one column."""
    detector = ChiSquareDrift(before)
    return lambda: {"value": detector.predict(after, drift_type="feature", return_distance=True)["data"]["distance"]}


if __name__ == "__main__":
    answer(statistics)
