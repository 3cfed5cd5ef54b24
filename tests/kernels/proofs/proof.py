"""What is declared of a `.cu` file so that it can be proven without a GPU. One file per `.cu` file holds its `PROOF`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cuda_on_cpu import Mode
from numpy.typing import NDArray

from kernels.gpu import Compiler

Place = Callable[[NDArray[Any]], Any]  # np.asarray, or cupy.asarray where there is a card


@dataclass(frozen=True)
class Case:
    """Seeded data, what launches the kernels over it, and what must come out.

    launch  the launch code that a GPU gets, with the compiler to use and the function that puts its arrays where they are needed
    check   raises AssertionError unless the answer, on the host, is that of a reference in float64
    """

    launch: Callable[[Compiler, Place], Any]
    check: Callable[[Any], None]


@dataclass(frozen=True)
class Limits:
    """What a kernel may use on any architecture. 64 registers leave room for 1,024 threads on a multiprocessor.

    The stack is where arrays go that registers cannot hold; a spill is a register that did not fit.
    """

    registers: int = 64
    shared: int = 48 << 10
    stack: int = 0
    spilled: int = 0


class Kind(Enum):
    """The mistakes that a kernel can make. Every file is given one of each, or says why it has no place for it."""

    MISSING_BARRIER = "missing barrier"
    DIVERGENT_BARRIER = "divergent barrier"
    OUTSIDE_GLOBAL = "out of bounds, global"
    OUTSIDE_SHARED = "out of bounds, shared"
    UNSYNCHRONISED = "unsynchronised update"
    UNINITIALISED = "uninitialised shared memory"
    WRONG_ANSWER = "wrong answer"


WRONG = "wrong: "
DEADLOCK = "deadlock: threads wait at a barrier that the others never reach"
DIVERGED = "threads of one block wait at different barriers"
RACE = "ThreadSanitizer: data race"
OVERFLOW = "AddressSanitizer: heap-"  # buffer-overflow, or use-after-free where something else lay behind the array before
SHARED_OVERFLOW = "insufficient space for an object of type"
INDEX = "out of bounds for type"


@dataclass(frozen=True)
class Bug:
    """One mistake, planted by replacing `right`, which must occur in the file, with `wrong`, and what must be said of it."""

    kind: Kind
    what: str
    right: str
    wrong: str
    case: str
    mode: Mode
    says: str
    order: int = 0


@dataclass(frozen=True)
class Proof:
    """Everything that the checks need to know of one file.

    variants  the options that the launch code compiles it with in earnest, by a name: these go through NVRTC
    limits    of each kernel in the file
    cases     by a name that says what is special about the data
    raced     the cases, of several blocks, that ThreadSanitizer watches; it is the slowest of the checks
    absent    the kinds of bug that have no place in the file, and why
    """

    file: str
    variants: Mapping[str, tuple[str, ...]]
    limits: Mapping[str, Limits]
    cases: Mapping[str, Case]
    raced: tuple[str, ...]
    bugs: tuple[Bug, ...]
    absent: Mapping[Kind, str]
