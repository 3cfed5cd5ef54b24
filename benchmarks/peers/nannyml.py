"""nannyml: a UnivariateDriftCalculator with all its methods for continuous columns, one chunk.

As in https://nannyml.readthedocs.io/en/stable/tutorials/detecting_data_drift/univariate_drift_detection.html: `fit` on the
reference, then `calculate`, which alone is timed. One chunk, so that the current table is compared whole, as by everybody else.
Above 10,000 reference rows its KS and Wasserstein are estimates from 10,000 bins of equal width ("calculation_method: auto").
"""

from __future__ import annotations

from typing import Any

import nannyml
import pandas as pd

from benchmarks.peers.answering import Call, answer

METHODS = ("kolmogorov_smirnov", "wasserstein", "jensen_shannon", "hellinger")


def statistics(reference: Any, current: Any) -> dict[str, Call]:
    """nannyml's numbers, one method at a time and all four at once."""
    names = [f"c{j}" for j in range(reference.shape[1])]
    before, after = (pd.DataFrame({name: table[:, j] for j, name in enumerate(names)}) for table in (reference, current))

    def of(methods: tuple[str, ...]) -> Call:
        calculator = nannyml.UnivariateDriftCalculator(
            column_names=names, treat_as_numerical=names, continuous_methods=list(methods), chunk_number=1
        )
        calculator.fit(before)

        def run() -> dict[str, Any]:
            found = calculator.calculate(after).filter(period="analysis").to_df()
            return {"value": [found[(name, method, "value")].iloc[0] for method in methods for name in names]}

        return run

    return {method: of((method,)) for method in METHODS} | {"all four": of(METHODS)}


if __name__ == "__main__":
    answer(statistics)
