"""Freed memory is kept for the next block, until it is given back."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc")

_PROGRAM = """
import resource
from pathlib import Path
from scdseg.allocator import give_back_freed_memory, keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

keep_freed_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(100_000_000)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(resident())
give_back_freed_memory()
print(resident())
"""


def measured(**environment: str) -> tuple[int, int, int, int]:
    """Pages faulted by two blocks of 100 MB, one after the other, and bytes held before and after giving back."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True, env={**os.environ, **environment}
    )
    first, second, kept, left = map(int, done.stdout.split())
    return first, second, kept, left


def test_a_second_block_costs_nothing_and_is_given_back_when_asked() -> None:
    first, second, kept, left = measured()
    assert first > 5000
    assert second < 100
    assert left < kept - 90_000_000


def test_a_users_own_settings_are_left_alone() -> None:
    first, second, _, _ = measured(MALLOC_ARENA_MAX="2")
    assert second > first / 2
