"""The real path: CuPy arrays in, the `.cu` files compiled by NVRTC and run on the card.

Every case that is declared for the CPU in `proofs` runs here too, and each pass on the card against its twin on the host.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from proofs import PROOFS
from proofs.proof import Proof
from reference_profile import assert_same, reference_profile

import kernels
from kernels import gpu
from kernels.arrays import host
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


def on_host(found: Any) -> Any:
    """An array, or a dataclass of arrays and numbers, in host memory."""
    if dataclasses.is_dataclass(found):
        names = [field.name for field in dataclasses.fields(found)]
        return dataclasses.replace(found, **{name: on_host(getattr(found, name)) for name in names})  # type: ignore[type-var]
    return host(found)


def assert_alike(card: Any, host: Any, rtol: float) -> None:
    """Every field of the two the same but for rounding; those that are variances to its square root."""
    for field in dataclasses.fields(host):
        ours, theirs = getattr(on_host(card), field.name), getattr(host, field.name)
        loose = rtol**0.5 if field.name.endswith(("variance", "covariance")) else rtol
        np.testing.assert_allclose(ours, theirs, rtol=loose, atol=loose * np.abs(theirs).max(), err_msg=field.name)


@pytest.mark.parametrize(
    ("proof", "case"),
    [pytest.param(proof, case, id=f"{proof.file}: {case}") for proof in PROOFS.values() for case in proof.cases],
)
def test_what_is_proven_on_the_cpu_holds_on_the_card_and_twice_to_the_bit(cupy: Any, proof: Proof, case: str) -> None:
    found, again = (on_host(proof.cases[case].launch(gpu.compile_for_device, cupy.asarray)) for _ in range(2))
    proof.cases[case].check(found)
    for one, other in zip(parts(found), parts(again), strict=True):
        assert one.tobytes() == other.tobytes()


def parts(found: Any) -> list[NDArray[Any]]:
    if dataclasses.is_dataclass(found):
        return [np.asarray(getattr(found, field.name)) for field in dataclasses.fields(found)]
    return [np.asarray(found)]


def test_sorted_gaps_on_the_card_are_the_hosts(cupy: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = (np.sort(rng.standard_normal((4, n)).round(3), axis=1) for n in (200_001, 150_000))
    card = kernels.sorted_gaps([cupy.asarray(column) for column in x], [cupy.asarray(column) for column in y])
    assert isinstance(card.area, cupy.ndarray)
    assert_alike(card, kernels.sorted_gaps(list(x), list(y)), rtol=1e-12)


def test_distances_on_the_card_are_the_hosts(cupy: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 1000, (2, 500, 33))
    assert_alike(kernels.distances(cupy.asarray(a), cupy.asarray(b)), kernels.distances(a, b), rtol=1e-12)


def test_kernel_sums_on_the_card_are_the_hosts(cupy: Any) -> None:
    rng = np.random.default_rng(0)
    rows, weights = rng.standard_normal((5000, 64), dtype=np.float32), rng.integers(-1, 2, (5000, 100)).astype(np.int8)
    card, twin = kernels.rbf_sums(cupy.asarray(rows), cupy.asarray(weights), 8.0), kernels.rbf_sums(rows, weights, 8.0)
    scale = 3e-6 * float(twin.total)
    for one, other in zip(parts(on_host(card)), parts(twin), strict=True):
        np.testing.assert_allclose(one, other, atol=scale, rtol=0)


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


def test_ten_thousand_edges_on_the_card_are_the_hosts(cupy: Any) -> None:
    rng = np.random.default_rng(0)
    x, edges = rng.standard_normal((100_000, 3)).astype(np.float32), np.sort(rng.standard_normal((3, 10_001)).astype(np.float32))
    x[::7, 1] = np.nan
    assert_same(kernels.profile(cupy.asarray(x), cupy.asarray(edges)).to_numpy(), reference_profile(x, edges), x)


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


def test_a_card_without_memory_left_takes_parts_and_says_so(cupy: Any) -> None:
    rng = np.random.default_rng(0)
    x, edges = rng.standard_normal((40, 200_000)).T, np.sort(rng.standard_normal((40, 31)))
    card, card_edges, pool = cupy.asarray(x), cupy.asarray(edges), cupy.get_default_memory_pool()
    whole = kernels.profile(card, card_edges).to_numpy()
    pool.free_all_blocks()
    before = pool.get_limit()
    try:
        pool.set_limit(size=pool.used_bytes() + x.nbytes // 2)
        with pytest.warns(RuntimeWarning, match=r"rows, [\d,]+ of 200,000 at a time"):
            found = kernels.profile(card, card_edges).to_numpy()
    finally:
        pool.set_limit(size=before)
    np.testing.assert_array_equal(found.counts, whole.counts)
    np.testing.assert_allclose(found.variance, whole.variance, rtol=1e-12)


def test_arrays_in_two_places_are_refused(cupy: Any) -> None:
    with pytest.raises(TypeError, match="move them to the same place"):
        kernels.ks_wasserstein(cupy.ones(2), np.ones(2))
