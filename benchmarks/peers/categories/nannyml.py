"""nannyml: a UnivariateDriftCalculator with its methods for categorical columns, one chunk.

As in `benchmarks.peers.nannyml`, with `treat_as_categorical`: `fit` on the reference, which keeps its counts, then `calculate`,
which alone is timed. Missing values are left out.
"""

from __future__ import annotations

from typing import Any

import nannyml
import pandas as pd

from benchmarks.peers.answering import Call, answer
from benchmarks.peers.categories.columns import CATEGORIES, raw

METHODS = {"chi2": "chi2", "js": "jensen_shannon", "hellinger": "hellinger", "l_infinity": "l_infinity"}


def statistics(reference: Any, current: Any) -> dict[str, Call]:
    """nannyml's numbers by our names."""
    before, after = (pd.DataFrame({name: raw(table)[name] for name in CATEGORIES}) for table in (reference, current))
    return {
        f"{name}: {ours}": of(before[[name]], after[[name]], method) for name in CATEGORIES for ours, method in METHODS.items()
    }


def of(before: pd.DataFrame, after: pd.DataFrame, method: str) -> Call:
    """One method for one column."""
    (name,) = before.columns
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=[name], treat_as_categorical=[name], categorical_methods=[method], chunk_number=1
    )
    calculator.fit(before)

    def run() -> dict[str, Any]:
        found = calculator.calculate(after).filter(period="analysis").to_df()
        return {"value": [found[(name, method, "value")].iloc[0]]}

    return run


if __name__ == "__main__":
    answer(statistics)
