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
print(resident())
for size in (100_000_000, 2_500_000_000):  # the larger one lies beyond what fits an int
    bytearray(b"1") * size
    print(resident())
give_back_freed_memory()
print(resident())
"""


def resident_bytes(**environment: str) -> list[int]:
    """Bytes held before anything, behind a block of 100 MB, behind one of 2.5 GB, and after giving back."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True, env={**os.environ, **environment}
    )
    return [int(line) for line in done.stdout.split()]


def test_freed_blocks_stay_until_they_are_given_back() -> None:
    before, small, large, left = resident_bytes()
    assert small - before > 90e6
    assert large - before > 2.4e9
    assert left - before < 50e6


def test_what_is_kept_is_given_back_before_free_memory_is_counted() -> None:
    program = (
        "import psutil\n"
        "from scdseg.allocator import keep_freed_memory\n"
        "from scdseg.inference.memory import free_host_memory\n"
        "keep_freed_memory()\n"
        "bytearray(b'1') * 1_000_000_000\n"
        "kept = psutil.Process().memory_info().rss\n"
        "assert free_host_memory() > 0\n"
        "print(kept - psutil.Process().memory_info().rss)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert int(done.stdout) > 9e8


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_a_users_own_settings_are_left_alone(name: str) -> None:
    before, small, large, _ = resident_bytes(**{name: "2" if name.startswith("M") else "glibc.malloc.arena_max=2"})
    assert max(small, large) - before < 50e6
