"""evidently: a Report of one ValueDrift of a categorical column, and beside it the bare function behind the report.

As in `benchmarks.peers.evidently`, with `DataDefinition(categorical_columns=...)`. Its chi-squared takes the reference's shares
for exact and gives a p-value. Its total variation distance is a test of 1,000 permutations over Python lists, seven
seconds for 10,000 rows, and is left out.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType
from evidently.metrics import ValueDrift

from benchmarks.peers.answering import Call, answer
from benchmarks.peers.categories.columns import CATEGORIES, raw

METHODS = {"psi": "psi", "js": "jensenshannon", "hellinger": "hellinger", "chi2": "chisquare"}


def statistics(reference: Any, current: Any) -> dict[str, Call]:
    """evidently's numbers by our names."""
    frames = [pd.DataFrame({name: raw(table)[name] for name in CATEGORIES}) for table in (reference, current)]
    calls: dict[str, Call] = {}
    for name in CATEGORIES:
        definition = DataDefinition(categorical_columns=[name])
        before, after = (Dataset.from_pandas(frame[[name]], data_definition=definition) for frame in frames)
        for ours, method in METHODS.items():
            calls[f"{name}: {ours}"] = report(before, after, name, method)
            calls[f"{name}: bare {ours}"] = bare(frames[0][name], frames[1][name], method)
    return calls


def report(before: Dataset, after: Dataset, name: str, method: str) -> Call:
    """The number in a report."""

    def run() -> dict[str, Any]:
        found = Report([ValueDrift(column=name, method=method)]).run(after, before)
        return {"value": [metric["value"] for metric in found.dict()["metrics"]]}

    return run


def bare(before: Any, after: Any, method: str) -> Call:
    """The number alone."""
    test = get_stattest(before, after, ColumnType.Categorical, method)
    return lambda: {"value": [test(before, after, ColumnType.Categorical, None).drift_score]}


if __name__ == "__main__":
    answer(statistics)
