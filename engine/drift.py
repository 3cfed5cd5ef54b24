"""One Profile against another: per column its statistics, a p-value, an effect size, and whether it drifted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

import kernels
from engine.nouns import ColumnDrift, DriftReport, Kind
from engine.profile import Profile
from kernels.statistics.benjamini_hochberg import benjamini_hochberg
from kernels.statistics.chi_squared import chi_squared
from kernels.statistics.cohens_d import cohens_d
from kernels.statistics.cramers_v import cramers_v
from kernels.statistics.jensen_shannon import jensen_shannon
from kernels.statistics.kolmogorov_smirnov import kolmogorov_smirnov
from kernels.statistics.psi import psi
from kernels.statistics.wasserstein import normalised


@dataclass(frozen=True)
class DriftLimits:
    """When a column counts as drifted.

    effect: the statistic that is compared with the limit: psi, js, ks, w1 (in reference standard deviations), d, cramers_v,
        missing or new (shares of the rows).
    limit: a column drifted when its effect is over this and its q-value under `alpha`; 0.2 is the usual reading of PSI.
    limits: other limits for single columns.
    alpha: false discovery rate over the columns (Benjamini and Hochberg 1995).
    ignore: columns that are measured but never count as drifted.
    """

    effect: Literal["psi", "js", "ks", "w1", "d", "cramers_v", "missing", "new"] = "psi"
    limit: float = 0.2
    limits: Mapping[str, float] = field(default_factory=dict)
    alpha: float = 0.05
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Measured:
    column: str
    kind: Kind
    statistics: dict[str, float]
    p_value: float


def compare(reference: Profile, current: Profile, limits: DriftLimits, window: str, version: int) -> DriftReport:
    """Compare two Profiles that count the same columns over the same edges; `window` and `version` name them in the report."""
    reference.suits(current)
    measured = [*_numbers(reference, current), *(_category(reference, current, name) for name in reference.categories)]
    q_values = benjamini_hochberg(np.array([m.p_value for m in measured]))
    columns = tuple(_judged(m, float(q), limits) for m, q in zip(measured, q_values, strict=True))
    return DriftReport(window, version, reference.rows, current.rows, columns)


def _judged(measured: _Measured, q_value: float, limits: DriftLimits) -> ColumnDrift:
    # A statistic that exists for one kind only falls back to PSI, which every column has.
    name = limits.effect if limits.effect in measured.statistics else "psi"
    effect = abs(measured.statistics[name])
    limit = limits.limits.get(measured.column, limits.limit)
    drifted = measured.column not in limits.ignore and effect > limit and q_value < limits.alpha
    return ColumnDrift(
        measured.column, measured.kind, measured.statistics, measured.p_value, q_value, name, effect, limit, bool(drifted)
    )


def _numbers(reference: Profile, current: Profile) -> list[_Measured]:
    if not reference.numbers:
        return []
    a, b = reference.counts, current.counts
    psis, distances = (statistic(reference.bins_and_missing, current.bins_and_missing) for statistic in (psi, jensen_shannon))
    pairs = [kernels.ks_wasserstein(x, y) for x, y in zip(reference.samples, current.samples, strict=True)]
    ks, w1 = np.array(pairs).T
    values = kolmogorov_smirnov(ks, *(np.array([s.size for s in p.samples]) for p in (reference, current)))
    before, after = (np.stack([p.rows - p.counts.missing, p.counts.missing], axis=1) for p in (reference, current))
    gaps = chi_squared(before, after)
    p_values = np.minimum(2 * np.fmin(values, gaps.p_value), 1)  # two tests, either one may speak (Bonferroni)
    moved = normalised(w1, np.sqrt(a.variance))
    shifts = cohens_d(a, b)
    missing = b.missing / max(current.rows, 1) - a.missing / max(reference.rows, 1)
    columns = {"psi": psis, "js": distances, "ks": ks, "w1": moved, "d": shifts, "missing": missing}
    return [
        _Measured(name, "number", {key: float(values[j]) for key, values in columns.items()}, float(p_values[j]))
        for j, name in enumerate(reference.numbers)
    ]


def _category(reference: Profile, current: Profile, name: str) -> _Measured:
    before, after = reference.categories[name], current.categories.get(name, {})
    values = sorted({*before, *after})
    table = np.array([[before.get(v, 0) for v in values], [after.get(v, 0) for v in values]], dtype=np.int64)
    test = chi_squared(table[0], table[1])
    statistics = {
        "psi": float(psi(table[:1], table[1:])[0]),
        "js": float(jensen_shannon(table[:1], table[1:])[0]),
        "chi2": float(test.statistic),
        "cramers_v": float(cramers_v(table[0], table[1])),
        "new": sum(n for v, n in after.items() if v not in before) / max(current.rows, 1),
    }
    return _Measured(name, "category", statistics, float(test.p_value))
