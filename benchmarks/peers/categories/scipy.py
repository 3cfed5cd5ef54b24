"""scipy.stats: `chi2_contingency` of two rows of counts, and of dates, as days, `ks_2samp`.

As in https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.chi2_contingency.html; scipy counts nothing itself, so
`numpy.unique` does, over fixed-width text, which it takes in half the time of objects. The reference's counts are ready. Yates'
correction, the default for a table of two by two, is off.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from benchmarks.peers.answering import Call, answer
from benchmarks.peers.categories.columns import COLUMNS, raw


def statistics(reference: Any, current: Any) -> dict[str, Call]:
    """scipy's statistics; a missing value is a word of its own."""
    before, after = raw(reference), raw(current)
    calls: dict[str, Call] = {}
    for column in COLUMNS:
        x, y = before[column.name], after[column.name]
        if column.kind == "date":
            days = x.astype(np.int64), y.astype(np.int64)
            calls[f"{column.name}: kolmogorov_smirnov"] = lambda days=days: {  # type: ignore[misc]
                "value": [stats.ks_2samp(*days, method="asymp").statistic]
            }
        else:
            texts = [side if column.kind == "boolean" else np.where(side == None, "", side).astype(str) for side in (x, y)]  # noqa: E711
            calls[f"{column.name}: chi2"] = chi2(*texts)
    return calls


def chi2(before: Any, after: Any) -> Call:
    """Counts of the current column beside those of the reference."""
    kept = dict(zip(*(each.tolist() for each in np.unique(before, return_counts=True)), strict=True))

    def run() -> dict[str, Any]:
        now = dict(zip(*(each.tolist() for each in np.unique(after, return_counts=True)), strict=True))
        table = [[side.get(value, 0) for value in {**kept, **now}] for side in (kept, now)]
        return {"value": [stats.chi2_contingency(table, correction=False).statistic]}

    return run


if __name__ == "__main__":
    answer(statistics)
