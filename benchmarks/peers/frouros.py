"""frouros: one detector a column, `fit` on the reference, `compare` with the current table.

As in the examples of https://frouros.readthedocs.io/en/latest/api_reference/detectors/data_drift/batch.html. Ten bins, its
default. It keeps the reference's values as they are.
"""

from __future__ import annotations

from typing import Any

from frouros.detectors.data_drift import EMD, JS, PSI, CVMTest, HellingerDistance, KSTest, WelchTTest

from benchmarks.peers.answering import Call, answer

DETECTORS = {
    "psi": PSI,
    "jensen_shannon": JS,
    "hellinger": HellingerDistance,
    "kolmogorov_smirnov": KSTest,
    "wasserstein": EMD,
    "cramer_von_mises": CVMTest,
    "welch_t": WelchTTest,
}


def statistics(reference: Any, current: Any) -> dict[str, Call]:
    """frouros' numbers. Its jensen_shannon is over the distribution functions of finer bins, in nats."""
    columns = list(zip(reference.T.copy(), current.T.copy(), strict=True))

    def of(detector: Any) -> Call:
        fitted = []
        for x, y in columns:
            one = detector()
            one.fit(X=x)
            fitted.append((one, y))
        return lambda: {"value": [_number(one.compare(X=y)[0]) for one, y in fitted]}

    return {name: of(detector) for name, detector in DETECTORS.items()}


def _number(result: Any) -> float:
    return float(result.distance if hasattr(result, "distance") else result.statistic)


if __name__ == "__main__":
    answer(statistics)
