"""evidently: a Report of one ValueDrift a column, and beside it the bare function behind the report.

The report as in https://docs.evidentlyai.com/metrics/customize_data_drift ("method" of a ValueDrift) and
https://docs.evidentlyai.com/quickstart_ml (Dataset, DataDefinition, `Report.run(current, reference)`). A report also draws both
distributions of each column; the function that it calls for the number alone (`get_stattest`, as "bare ...") is the kindest way
to measure evidently. Datasets are made before the clock starts. evidently keeps nothing of a reference.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType
from evidently.metrics import ValueDrift

from benchmarks.peers.answering import Call, answer

METHODS = {
    "psi": "psi",
    "jensen_shannon": "jensenshannon",
    "kl": "kl_div",
    "hellinger": "hellinger",
    "kolmogorov_smirnov": "ks",
    "wasserstein": "wasserstein",
}


def statistics(reference: Any, current: Any) -> dict[str, Call]:
    """evidently's numbers, by our names. Its ks is a p-value, its wasserstein in standard deviations of the reference."""
    names = [f"c{j}" for j in range(reference.shape[1])]
    definition = DataDefinition(numerical_columns=names)
    frames = [pd.DataFrame({name: table[:, j] for j, name in enumerate(names)}) for table in (reference, current)]
    before, after = (Dataset.from_pandas(frame, data_definition=definition) for frame in frames)

    def report(method: str) -> Call:
        def run() -> dict[str, Any]:
            found = Report([ValueDrift(column=name, method=method) for name in names]).run(after, before)
            return {"value": [metric["value"] for metric in found.dict()["metrics"]]}

        return run

    def bare(method: str) -> Call:
        test = get_stattest(frames[0][names[0]], frames[1][names[0]], ColumnType.Numerical, method)

        def run() -> dict[str, Any]:
            pairs = [(frames[0][name], frames[1][name]) for name in names]
            return {"value": [test(x, y, ColumnType.Numerical, None).drift_score for x, y in pairs]}

        return run

    calls = {name: report(method) for name, method in METHODS.items()}
    return calls | {f"bare {name}": bare(method) for name, method in METHODS.items()}


if __name__ == "__main__":
    answer(statistics)
