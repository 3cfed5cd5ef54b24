"""The `.cu` files, executed on the CPU through the same launch code that launches them on a GPU, and compiled for one.

What is checked of each file is declared in `proofs`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import Mode
from cuda_on_cpu.raw_module import KERNEL
from hypothesis import given, settings
from numpy.typing import NDArray
from proofs import PROOFS
from proofs.nvrtc import ARCHITECTURES, usage
from proofs.proof import Kind, Limits, Proof
from proofs.run import apart, caught, compiler
from reference_profile import assert_same, reference_profile, tables

from kernels import gpu

proofs = pytest.mark.parametrize("proof", PROOFS.values(), ids=PROOFS)
cases = pytest.mark.parametrize(
    ("proof", "case"),
    [pytest.param(proof, case, id=f"{proof.file}: {case}") for proof in PROOFS.values() for case in proof.cases],
)
# Each is a compilation of its own: every third one here, all of them in CI and in `python -m benchmarks.kernel_gate`.
STEP = 1 if os.environ.get("WARMSTART_PLANTED_BUGS") == "all" else 3
bugs = pytest.mark.parametrize(
    ("proof", "number"),
    [
        pytest.param(proof, number, id=f"{proof.file}: {bug.kind.value}, {bug.what}")
        for proof in PROOFS.values()
        for number, bug in list(enumerate(proof.bugs))[::STEP]
    ],
)


def bits(found: Any) -> list[bytes]:
    """Every bit of an answer: an array, a number, or some of them together."""
    if dataclasses.is_dataclass(found):
        found = [getattr(found, field.name) for field in dataclasses.fields(found)]
    if isinstance(found, list | tuple):
        return [part for each in found for part in bits(each)]
    return [np.asarray(found).tobytes()]


def test_every_cuda_file_has_a_proof() -> None:
    folder = gpu.Path(gpu.__file__).parent
    assert sorted(PROOFS) == sorted(path.name for path in folder.glob("*.cu")), "declare the file in tests/kernels/proofs"


@proofs
def test_every_kernel_has_limits_and_every_kind_of_bug_is_planted_or_has_no_place(proof: Proof) -> None:
    assert set(proof.limits) == set(KERNEL.findall(gpu.source(proof.file)))
    planted = {bug.kind for bug in proof.bugs}
    assert planted.isdisjoint(proof.absent)
    assert planted | set(proof.absent) >= set(Kind)


@cases
def test_every_order_of_the_threads_gives_the_same_and_right_answer(proof: Proof, case: str) -> None:
    runs = [(Mode.FAST, 0), (Mode.CHECK, 0), (Mode.CHECK, 1), (Mode.CHECK, 7)]
    found = [proof.cases[case].launch(compiled(mode, order), np.asarray) for mode, order in runs]
    proof.cases[case].check(found[0])
    assert all(bits(run) == bits(found[0]) for run in found)


@functools.cache
def compiled(mode: Mode, order: int) -> gpu.Compiler:
    return functools.cache(compiler(mode, order))


@settings(deadline=None, max_examples=60)
@given(tables(edges=5, dtype="float32"))
def test_a_profile_is_what_numpy_says(table: tuple[NDArray[Any], NDArray[Any]]) -> None:
    x, edges = table
    assert_same(gpu.profile(x, edges, compiled(Mode.CHECK, 0)), reference_profile(x, edges), x)


def test_more_edges_than_fit_on_chip_are_counted_by_the_librarys_search() -> None:
    random = np.random.default_rng(0)
    x, edges = random.standard_normal((3000, 3)), np.sort(random.standard_normal((3, 10_001)))
    x[::7, 1], x[::9, 2], x[5, 2] = np.nan, np.inf, -np.inf
    assert_same(gpu.profile(x, edges, compiled(Mode.CHECK, 0)), reference_profile(x, edges), x)


# ---- watched by sanitizers, and with bugs planted: the checks are worth what they catch ----------------------------------------


@proofs
def test_nothing_is_read_or_written_where_it_must_not_be(proof: Proof) -> None:
    status, said = apart(proof, Mode.ADDRESS, 0, tuple(proof.cases))
    assert status == 0, said


@proofs
def test_no_two_threads_of_a_grid_race(proof: Proof) -> None:
    status, said = apart(proof, Mode.RACES, 0, proof.raced)
    assert status == 0, said


@bugs
def test_a_planted_bug_is_caught(proof: Proof, number: int) -> None:
    right, said = caught(proof, number)
    assert right, said


# ---- the compiler that a GPU would use -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@proofs
def test_nvrtc_compiles_every_kernel_within_its_limits(proof: Proof, architecture: str) -> None:
    for variant, options in proof.variants.items():
        found = usage(proof.file, options, architecture)
        assert set(found) == set(proof.limits), variant
        for kernel, used in found.items():
            over = used.over(proof.limits[kernel])
            assert not over, f"{kernel} of {proof.file} ({variant}) for {architecture}: {over}"


def test_a_kernel_that_uses_more_than_it_may_is_told_by_what_and_how_much() -> None:
    used = usage("profile.cu", PROOFS["profile.cu"].variants["float32, 31 edges"], "sm_90")["profile"]
    assert used.over(Limits(registers=16, shared=1024)) == f"{used.registers} registers of 16, {used.shared} shared of 1024"
