from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kernels.statistics.benjamini_hochberg import benjamini_hochberg


@given(st.lists(st.floats(0, 1), max_size=30), st.integers(0, 30))
def test_it_is_scipys_and_what_was_not_tested_does_not_count(p_values: list[float], at: int) -> None:
    found = benjamini_hochberg(np.array([*p_values[:at], np.nan, *p_values[at:]]))
    at = min(at, len(p_values))
    assert np.isnan(found[at])
    expected = stats.false_discovery_control(p_values) if p_values else []
    np.testing.assert_allclose(np.delete(found, at), expected, rtol=1e-9)


def test_no_tests_have_no_q_values() -> None:
    assert benjamini_hochberg(np.array([])).tolist() == []
    assert np.isnan(benjamini_hochberg(np.array([np.nan, np.nan]))).all()
