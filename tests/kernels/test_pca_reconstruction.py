from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from kernels.statistics.pca_reconstruction import _left_over, measure, pca_reconstruction
from kernels.statistics.scatter import Scatter


def table(n: int, d: int, seed: int, noise: float = 0.3) -> NDArray[Any]:
    """Columns that follow two hidden ones, which are the same for any seed, and some noise."""
    rng, mixing = np.random.default_rng(seed), np.random.default_rng(99).standard_normal((2, d))
    return rng.standard_normal((n, 2)) @ mixing + noise * rng.standard_normal((n, d))


def test_the_error_is_the_distance_from_the_projection_onto_the_kept_components() -> None:
    x = table(200, 5, 0)
    mean = x.mean(axis=0)
    axes = np.linalg.svd(x - mean, full_matrices=False)[2]
    rest = _left_over(Scatter.of([x]), share=0.8)
    kept = axes[: 5 - rest.shape[1]]
    projected = mean + (x - mean) @ kept.T @ kept
    np.testing.assert_allclose(pca_reconstruction(x, mean, rest), np.linalg.norm(x - projected, axis=1), rtol=1e-9)
    explained = ((x - mean) @ kept.T).var(axis=0).sum() / x.var(axis=0).sum()
    one_less = ((x - mean) @ kept[:-1].T).var(axis=0).sum() / x.var(axis=0).sum()
    assert one_less < 0.8 <= explained


def test_without_a_change_p_values_are_uniform_and_with_one_they_are_small() -> None:
    found = [measure(table(120, 6, s), table(60, 6, 1000 + s), seed=s) for s in range(300)]
    p = np.sort([float(f.p_value) for f in found])
    assert np.abs(p - np.arange(1, 301) / 300).max() < 0.094  # Kolmogorov's 1% point
    assert 0.91 <= np.mean([f.low <= 0 <= f.high for f in found]) <= 0.985
    changed = [measure(table(200, 6, s), table(200, 6, 500 + s, noise=0.5), seed=s) for s in range(20)]
    assert max(float(f.p_value) for f in changed) < 1e-3
    assert min(float(f.low) for f in changed) > 0


def test_the_p_value_is_welchs_of_the_errors() -> None:
    x, y = table(100, 4, 0), table(70, 4, 1, noise=0.4)
    found = measure(x, y)
    assert found.low < found.effect < found.high
    rng = np.random.default_rng(0)
    first = np.zeros(100, bool)
    first[rng.permutation(100)[:50]] = True
    from kernels.table_rows import frame

    both = frame(x, y)
    half, held_out, current = (next(both.slabs(part)) for part in (x[first], x[~first], y))
    learnt = Scatter.of([half])
    rest = _left_over(learnt, 0.8)
    before, after = (pca_reconstruction(part, learnt.mean, rest) for part in (held_out, current))
    np.testing.assert_allclose(found.p_value, stats.ttest_ind(after, before, equal_var=False).pvalue, rtol=1e-9)
    np.testing.assert_allclose(found.effect, (after.mean() - before.mean()) / before.std(ddof=1), rtol=1e-9)


def test_what_happens_along_the_kept_components_is_not_its_business() -> None:
    x, y = table(2000, 6, 0, noise=0.1), 1.5 * table(2000, 6, 1, noise=0.0667)
    assert abs(float(measure(x, y, share=0.95).effect)) < 0.2


def test_edge_cases_have_an_answer() -> None:
    x = table(40, 3, 0)
    for one, other in ((x, x[:0]), (x, x[:1]), (x[:3], x), (x[:0], x), (x, np.full((9, 3), np.nan))):
        found = measure(one, other)
        assert np.isnan([found.value, found.p_value, found.effect, found.low, found.high]).all()
    constant = measure(np.full((20, 2), 7.0), np.full((30, 2), 7.0))
    assert (constant.value, constant.p_value, constant.effect) == (0.0, 1.0, 0.0)
    moved = measure(np.full((20, 2), 7.0), np.full((30, 2), [7.0, 9.0]))
    assert (moved.p_value, moved.effect) == (0.0, np.inf)
    assert measure(x[:, :1], x[:, :1] * 5).p_value < 0.01
    assert measure(table(30, 80, 0), table(30, 80, 1, noise=2.0)).p_value < 0.01
