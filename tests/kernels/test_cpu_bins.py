"""`kernels.cpu_bins` against `np.searchsorted`: the very same bins, whatever the edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from kernels import cpu_bins


def counted(values: NDArray[Any], edges: NDArray[Any]) -> NDArray[Any]:
    guide = cpu_bins.guide_to(edges[None, :])
    counts = np.zeros(len(edges) + 1, np.int64)
    room = np.empty(len(values), np.uint32), np.empty_like(values)
    cpu_bins.count(values, *(table[0] for table in guide), *room, counts)
    return counts


def searched(values: NDArray[Any], edges: NDArray[Any]) -> NDArray[Any]:
    return np.bincount(np.searchsorted(edges, values[~np.isnan(values)], side="right"), minlength=len(edges) + 1)


@st.composite
def values_and_edges(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both of one type, the values often an edge, or beside one."""
    kind = draw(st.sampled_from([np.float32, np.float64]))
    width = 32 if kind is np.float32 else 64
    elements = st.one_of(st.floats(width=width, allow_nan=False), st.integers(-9, 9).map(float), st.just(1e6))
    edges = np.sort(draw(hnp.arrays(kind, st.integers(1, 80), elements=elements)))
    ends = np.concatenate([edges, np.array([-np.inf, np.inf, 0.0, -0.0], kind)])
    with np.errstate(all="ignore"):
        beside = np.concatenate([np.nextafter(ends, kind(-np.inf)), ends, np.nextafter(ends, kind(np.inf))])
    return np.concatenate([beside, draw(hnp.arrays(kind, 20, elements=elements))]), edges


@settings(deadline=None, max_examples=200)
@given(table=values_and_edges())
def test_each_value_is_in_the_bin_that_a_search_finds(table: tuple[NDArray[Any], NDArray[Any]]) -> None:
    np.testing.assert_array_equal(counted(*table), searched(*table))


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("shape", ["equal", "quantiles", "a crowd and an outlier", "all equal"])
def test_ten_thousand_edges_of_any_kind(shape: str, kind: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(50_000).astype(kind)
    edges = {
        "equal": np.linspace(-4, 4, 10_001),
        "quantiles": np.sort(rng.standard_normal(10_000)),
        "a crowd and an outlier": np.concatenate([np.linspace(-1e-3, 1e-3, 9_999), [1e12]]),
        "all equal": np.full(10_000, 0.5),
    }[shape].astype(kind)
    np.testing.assert_array_equal(counted(values, edges), searched(values, edges))


def test_a_missing_value_has_no_edge_below_it() -> None:
    assert counted(np.array([np.nan, 5.0]), np.array([1.0, 2.0])).tolist() == [1, 0, 1]


def test_edges_of_equal_width_leave_one_comparison_and_a_crowd_as_many_as_a_search() -> None:
    equal, crowd = np.linspace(0, 1, 1_000), np.concatenate([np.linspace(0, 1e-9, 999), [1.0]])
    assert cpu_bins.guide_to(np.stack([equal, crowd])).reach.tolist() == [1, 512]
