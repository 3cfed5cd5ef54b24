"""Which library an array belongs to. Nothing is imported that the caller has not imported already."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

# A NumPy or a CuPy array. CuPy ships no types and has NumPy's interface, so the checker sees NumPy's.
Array: TypeAlias = NDArray[Any]


def on_device(array: object) -> bool:
    """Whether `array` is a CuPy array; the type's module says so without importing CuPy."""
    return type(array).__module__.split(".")[0] == "cupy"


def namespace(array: object) -> Any:
    """NumPy or CuPy, whichever made `array`.

    >>> namespace(np.zeros(2)).__name__
    'numpy'
    """
    if on_device(array):
        import cupy

        return cupy
    return np


def host(array: Array) -> Array:
    """The same values in host memory."""
    return array.get() if on_device(array) else array  # type: ignore[attr-defined]
