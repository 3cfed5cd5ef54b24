"""alibi-detect: the drift detectors of tables that test feature by feature, and need no deep-learning backend.

As in https://docs.seldon.ai/alibi-detect/cd/methods/ksdrift and .../cvmdrift: the detector takes the reference, `predict` the
current table. `drift_type="feature"` leaves out nothing but the correction for many columns. It keeps the reference as it is, and
its distances are float32.
"""

from __future__ import annotations

from typing import Any

from alibi_detect.cd import CVMDrift, KSDrift

from benchmarks.peers.answering import Call, answer


def statistics(reference: Any, current: Any) -> dict[str, Call]:
    """alibi-detect's distances."""

    def of(detector: Any) -> Call:
        return lambda: {"value": detector.predict(current, drift_type="feature", return_distance=True)["data"]["distance"]}

    return {"kolmogorov_smirnov": of(KSDrift(reference)), "cramer_von_mises": of(CVMDrift(reference))}


if __name__ == "__main__":
    answer(statistics)
