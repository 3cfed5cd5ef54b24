"""The real path: CuPy arrays in, the `.cu` files compiled by NVRTC and run on the card."""

from __future__ import annotations

import importlib.util
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from reference_profile import assert_same, reference_profile

import kernels
from kernels.statistics import (
    anderson_darling,
    cramer_von_mises,
    energy,
    kolmogorov_smirnov,
    kuiper,
    mann_whitney,
    quantile_shift,
)
from kernels.statistics.chi_squared import chi_squared
from kernels.statistics.cohens_d import cohens_d
from kernels.statistics.psi import psi

pytestmark = pytest.mark.gpu


@pytest.fixture
def cupy() -> Any:
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("not run: CuPy is not installed; it is with: pip install 'warmstart[cuda]'")
    import cupy

    if not cupy.cuda.is_available():
        pytest.skip("not run: CuPy finds no NVIDIA GPU on this machine")
    return cupy


def test_a_profile_on_the_card_is_the_one_on_the_host(cupy: Any) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((300_000, 40)) + 10_000).astype(np.float32)
    x[rng.random(x.shape) < 0.05], x[0], x[1] = np.nan, np.inf, -np.inf
    edges = np.sort(rng.standard_normal((40, 31)) + 10_000).astype(np.float32)
    on_card = kernels.profile(cupy.asarray(x), cupy.asarray(edges))
    assert isinstance(on_card.counts, cupy.ndarray)
    assert_same(on_card.to_numpy(), reference_profile(x, edges), x)
    again = kernels.profile(cupy.asarray(x), cupy.asarray(edges))
    assert again.to_numpy().m2.tobytes() == on_card.to_numpy().m2.tobytes()
    half = kernels.profile(cupy.asarray(x[:1000]), cupy.asarray(edges))
    np.testing.assert_allclose(psi(on_card.counts, half.counts).get(), psi(on_card.counts.get(), half.counts.get()))
    np.testing.assert_allclose(cohens_d(on_card, half).get(), cohens_d(on_card.to_numpy(), half.to_numpy()))
    on_host = chi_squared(on_card.counts.get(), half.counts.get())
    np.testing.assert_allclose(chi_squared(on_card.counts, half.counts).p_value.get(), on_host.p_value, rtol=1e-9)


def test_categories_and_exact_distances_on_the_card_are_the_hosts(cupy: Any) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(-1, 300, 100_000)
    np.testing.assert_array_equal(kernels.category_counts(cupy.asarray(codes), 300).get(), kernels.category_counts(codes, 300))
    x = rng.standard_normal((10_000, 2)).round(2)
    x[::9, 1] = np.nan
    host, card = kernels.sort_columns(x), kernels.sort_columns(cupy.asarray(x))
    np.testing.assert_array_equal(card[1].get(), host[1])
    np.testing.assert_allclose(kernels.ks_wasserstein(*card), kernels.ks_wasserstein(*host), rtol=1e-12)


def test_the_sorted_pass_on_the_card_is_the_hosts_to_rounding_and_itself_to_the_bit(cupy: Any) -> None:
    rng = np.random.default_rng(0)
    host = [np.sort(rng.standard_normal((3, rows)).astype(np.float32)) for rows in (300_000, 200_000)]
    host[0][1], host[1][1] = host[0][1].round(1), host[1][1].round(1)
    card = [[cupy.asarray(column) for column in side] for side in host]
    found, again = kernels.sorted_gaps(*card), kernels.sorted_gaps(*card)
    expected = kernels.sorted_gaps(*host)
    for field in fields(kernels.SortedGaps):
        ours, theirs = getattr(found, field.name), getattr(expected, field.name)
        np.testing.assert_allclose(ours.get(), theirs, rtol=1e-9, atol=1e-12, err_msg=field.name)
        assert ours.get().tobytes() == getattr(again, field.name).get().tobytes()
    for statistic in (kolmogorov_smirnov, kuiper, cramer_von_mises, anderson_darling, energy, mann_whitney):
        np.testing.assert_allclose(statistic.measure(found).effect.get(), statistic.measure(expected).effect, rtol=1e-9)
    shifts = quantile_shift.measure(*card), quantile_shift.measure(*host)
    np.testing.assert_array_equal(shifts[0].high.get(), shifts[1].high)


def test_arrays_in_two_places_are_refused(cupy: Any) -> None:
    with pytest.raises(TypeError, match="move them to the same place"):
        kernels.ks_wasserstein(cupy.ones(2), np.ones(2))
