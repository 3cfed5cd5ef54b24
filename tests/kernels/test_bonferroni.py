from __future__ import annotations

import numpy as np

from kernels.statistics.bonferroni import bonferroni


def test_each_chance_counts_for_every_test_that_was_made() -> None:
    assert bonferroni(np.array([0.01, np.nan, 0.2, 0.9])).tolist()[:1] == [0.03]
    assert bonferroni(np.array([0.2, 0.9])).tolist() == [0.4, 1.0]


def test_what_was_not_tested_stays_untested() -> None:
    assert np.isnan(bonferroni(np.array([np.nan, 0.5]))).tolist() == [True, False]
    assert bonferroni(np.array([])).tolist() == []
