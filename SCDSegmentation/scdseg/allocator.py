"""Memory that was freed, kept for what comes next.

glibc takes large blocks from the system and gives them back as soon as they are freed. A network asks for blocks of the
same sizes again and again, and every time the system clears them page by page: a fifth of the time of a segmentation
on a CPU. Other systems' allocators are left alone.
"""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_NEVER = -1


def keep_freed_memory() -> None:
    """Have this process keep what it frees until :func:`give_back_freed_memory`.

    For a process of our own, at its start. A user who sets up the allocator by environment variables knows better.
    """
    users_own = any(name.startswith("MALLOC_") for name in os.environ)
    if not _is_glibc() or users_own or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
    libc.mallopt(_M_TOP_PAD, 64 * 2**20)


def give_back_freed_memory() -> None:
    """Return to the system what is free."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


@cache
def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
