"""Programs and packages that some tests need and not every environment has: without one, its tests say so and how to get it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest


def require(program: str, install_line: str) -> None:
    """Report a test as not run, with the remedy, when a program is missing; fail when REQUIRE_SERVERS=1.

    `program` is a path (it holds a "/"), which must exist, or a command on PATH.
    """
    there = Path(program).exists() if "/" in program else shutil.which(program) is not None
    _report(there, program, install_line)


def require_package(name: str, install_line: str) -> None:
    """The same of a package that can be imported."""
    _report(importlib.util.find_spec(name) is not None, name, install_line)


def _report(there: bool, needed: str, install_line: str) -> None:
    if there:
        return
    reason = f"not run: needs {needed}; install it with: {install_line}"
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
