"""How many arenas of the C library's heap a process has, by what the library itself says (malloc_info(3))."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

THREADS = """
import ctypes, sys, threading
from engine import heap
if sys.argv[1] == "bounded":
    heap.bounded()
barrier = threading.Barrier(12)
def work():
    barrier.wait()
    ctypes.CDLL(None).free(ctypes.c_void_p(malloc(1000)))
    barrier.wait()
malloc = ctypes.CDLL(None).malloc
malloc.restype = ctypes.c_void_p
threads = [threading.Thread(target=work) for _ in range(12)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
library = ctypes.CDLL(None)
library.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(library.fopen(b"/dev/stdout", b"w"))
library.malloc_info(0, file)
library.fclose(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not the GNU C library")
def test_twelve_threads_share_two_arenas() -> None:
    def arenas(how: str) -> int:
        return subprocess.run([sys.executable, "-c", THREADS, how], check=True, capture_output=True, text=True).stdout.count(
            "<heap "
        )

    assert arenas("bounded") == 2
    assert arenas("as it is") > 2
