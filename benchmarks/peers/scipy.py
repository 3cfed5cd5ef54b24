"""scipy.stats, column by column.

The functions and their arguments as in https://docs.scipy.org/doc/scipy/reference/stats.html. `method="asymptotic"` or "asymp" is
what "auto" picks with this many rows. scipy keeps nothing of a reference. Ranks and means are made in the type of the data; those
of float32 lose digits, so the statistics of ranks and means are given float64.
"""

from __future__ import annotations

from typing import Any

from scipy import stats

from benchmarks.peers.answering import Call, answer


def statistics(reference: Any, current: Any) -> dict[str, Call]:
    """scipy's functions of two samples."""
    columns = list(zip(reference.T.copy(), current.T.copy(), strict=True))

    def each(function: Any) -> Call:
        return lambda: {"value": [function(x, y) for x, y in columns]}

    def wide(function: Any, **how: Any) -> Call:
        return each(lambda x, y: function(x.astype(float), y.astype(float), **how).statistic)

    def both(x: Any, y: Any) -> float:
        stats.ks_2samp(x, y, method="asymp")
        return float(stats.wasserstein_distance(x, y))

    return {
        "both": each(both),
        "kolmogorov_smirnov": each(lambda x, y: stats.ks_2samp(x, y, method="asymp").statistic),
        "wasserstein": each(stats.wasserstein_distance),
        "energy": each(stats.energy_distance),
        "cramer_von_mises": wide(stats.cramervonmises_2samp, method="asymptotic"),
        "mann_whitney": wide(stats.mannwhitneyu, method="asymptotic"),
        "anderson_darling": wide(lambda x, y: stats.anderson_ksamp([x, y])),
        "welch_t": wide(stats.ttest_ind, equal_var=False),
    }


if __name__ == "__main__":
    answer(statistics)
