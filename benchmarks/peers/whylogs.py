"""whylogs: a profile of the current table, and its drift against the reference's.

As in https://whylogs.readthedocs.io/en/latest/examples/advanced/Drift_Algorithm_Configuration.html: `why.log(df)`, then
`calculate_drift_scores` between the two profiles. The reference's profile is ready; the time is nearly all profiling. Its KS
compares a hundred quantiles of two sketches, its Hellinger distance thirty bins of them: estimates both.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import whylogs as why
from whylogs.viz.drift.column_drift_algorithms import KS, Hellinger, calculate_drift_scores

from benchmarks.peers.answering import Call, answer


def statistics(reference: Any, current: Any) -> dict[str, Call]:
    """whylogs' two distances of numbers; each pays for the profile, which serves both."""
    names = [f"c{j}" for j in range(reference.shape[1])]
    before, after = (pd.DataFrame({name: table[:, j] for j, name in enumerate(names)}) for table in (reference, current))
    kept = why.log(before).view()

    def of(algorithm: Any) -> Call:
        def run() -> dict[str, Any]:
            algorithms = {name: algorithm() for name in names}
            scores = calculate_drift_scores(target_view=why.log(after).view(), reference_view=kept, drift_map=algorithms)
            return {"value": [scores[name]["statistic"] for name in names]}

        return run

    return {"kolmogorov_smirnov": of(KS), "hellinger": of(Hellinger)}


if __name__ == "__main__":
    answer(statistics)
