from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from kernels.statistics.kolmogorov_smirnov import kolmogorov_smirnov, survival


@pytest.mark.parametrize("n", [1, 2, 3, 8, 16, 17, 50, 139, 140, 141, 500, 5000, 20_000, 99_999, 100_001, 500_000])
def test_every_method_is_scipys_distribution(n: int) -> None:
    x = np.concatenate([np.linspace(0.02, 4, 40 if n < 50_000 else 5), [8]]) / np.sqrt(n)
    x = x[x < 1]
    expected = stats.kstwo.sf(x, n)
    np.testing.assert_allclose([survival(value, n) for value in x.tolist()], expected, rtol=1e-9, atol=1e-290)


def test_the_p_value_of_two_samples_is_scipys() -> None:
    rng = np.random.default_rng(0)
    tests = []
    for n, m, shift in [(2, 3, 0.0), (50, 70, 0.3), (400, 90, 0.1), (3000, 5000, 0.02), (3000, 5000, 0.2), (2, 2, 5.0)]:
        test = stats.ks_2samp(rng.standard_normal(n), rng.standard_normal(m) + shift, method="asymp")
        tests.append((test.statistic, n, m, test.pvalue))
    statistics, ours, theirs, expected = map(np.array, zip(*tests, strict=True))
    np.testing.assert_allclose(kolmogorov_smirnov(statistics, ours, theirs), expected, rtol=1e-9)


def test_the_extremes_are_certain_and_impossible() -> None:
    one = np.array([100])
    assert kolmogorov_smirnov(np.array([0.0]), one, one).tolist() == [1.0]
    assert kolmogorov_smirnov(np.array([1.0]), one, one).tolist() == [0.0]


def test_no_rows_give_no_p_value() -> None:
    rows = np.array([0, 10])
    assert np.isnan(kolmogorov_smirnov(np.array([0.5, np.nan]), rows, np.array([10, 10]))).all()
