"""How many threads PyTorch computes with on the CPU, and how they wait for each other.

PyTorch shares out nearly every operation among its threads, which meet again at its end: hundreds of times a window.
Where another program has taken a core, the thread there comes late by a slice of the system's time, and all others
wait for it. They wait by spinning, in GNU's OpenMP for 300 000 turns or some ten milliseconds, and so take from the
late one what it needs to come at all. Two threads were then up to a hundred times slower than one.

Two things are done about it. Spinning ends after a fraction of a millisecond: long enough for the gap between two
operations on free cores. And there are no more threads than cores that are free.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from scdseg.errors import InputError

# Turns of the waiting loop. Measured with threads that have a core each, 3000 lose little against the default where a
# window takes long enough to matter, and little where a core is taken (docs/performance.md).
_SPINS = "3000"
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# Systems count a core's time in hundredths of a second.
_SHORTEST_S = 0.05
_BETWEEN_CHOICES_S = 0.25
# Other programs may use so much of a core that still counts as free: a user interface that draws now and then.
_OVERLOOKED = 0.25


def limit_spinning() -> None:
    """Have PyTorch's threads go to sleep soon when they wait for each other.

    For a process of our own, before PyTorch is loaded. A user who has set this up by environment variables knows
    better.
    """
    if not any(name in os.environ for name in _WAITING):
        # Of all OpenMP libraries; GNU's, which PyTorch has on Linux, takes the number instead.
        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": _SPINS}


def usable_cores() -> int:
    """Cores that this process may use, by its affinity and its container's quota; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no container, no quota ("max"), or another system
        pass
    return max(1, cores)


def check_threads(threads: int | None) -> int | None:
    """A number of threads as a user may ask for it; None: chosen automatically.

    Raises:
        InputError: not from 1 to the cores that there are.
    """
    cores = usable_cores()
    if threads is not None and not 1 <= threads <= cores:
        raise InputError(
            f"{threads} threads cannot be used: give a number from 1 to {cores}, the cores that this process may use, "
            "or none to have as many as there are free cores"
        )
    return threads


class Threads:
    """Sets PyTorch's threads for work within ``with``, and leaves them as they were before.

    Args:
        wanted: None: as many as there are free cores, but never more than PyTorch had before.

    Raises:
        InputError: more than there are cores, or none.
    """

    def __init__(self, wanted: int | None = None) -> None:
        self.wanted = check_threads(wanted)
        self._last = _count_time()
        self._free: float | None = None
        self._looked = False
        self._most = 1
        self._used: set[int] = set()

    def __enter__(self) -> Threads:
        import torch

        self._most = torch.get_num_threads()
        self._used = set()
        if self.wanted is None and not self._looked:
            time.sleep(max(0.0, self._last.at + _SHORTEST_S - time.monotonic()))
        # What was seen may lie long ago or just now; between windows it is looked at anew.
        self._choose(_SHORTEST_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import torch

        torch.set_num_threads(self._most)

    def choose_again(self) -> None:
        """Look at the machine's load anew, if the last time is long enough ago; to be called between windows."""
        self._choose(_BETWEEN_CHOICES_S)

    def to_json(self) -> dict[str, Any]:
        """For a report: the fewest and the most threads since work began, and whether they were chosen here."""
        return {"least": min(self._used), "most": max(self._used), "automatic": self.wanted is None}

    def _choose(self, interval: float) -> None:
        """Set the threads, by a new look at the machine if the last one is so many seconds ago."""
        import torch

        if self.wanted is None and time.monotonic() >= self._last.at + interval:
            before, self._last = self._last, _count_time()
            self._free, self._looked = free_cores(before, self._last), True
        most = min(self._most, usable_cores())
        free = most if self._free is None else math.floor(self._free + _OVERLOOKED)
        threads = self.wanted or max(1, min(most, free))
        self._used.add(threads)
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)


class CoreTime(NamedTuple):
    """Seconds at a moment, all from some beginning."""

    at: float
    counted: float  # of all cores that this process may use, whatever they did
    idle: float  # of the same cores
    own: float  # that this process computed


def free_cores(before: CoreTime, now: CoreTime) -> float | None:
    """Cores that no other program used between two moments, those among them that this process used itself.

    None if the system does not tell, as in some containers.
    """
    if now.at <= before.at or now.counted <= before.counted:
        return None
    return max(0.0, now.idle - before.idle + now.own - before.own) / (now.at - before.at)


def _count_time() -> CoreTime:
    # The worker's start does not depend on installed packages.
    import psutil

    cores = psutil.cpu_times(percpu=True)
    if hasattr(os, "sched_getaffinity"):
        usable = os.sched_getaffinity(0)
        # Where cores are switched off or hidden by a container, their places in the list are not their numbers.
        if max(usable) < len(cores):
            cores = [cores[number] for number in usable]
    own = psutil.Process().cpu_times()
    # Time that a virtual machine did not get is not idle, time that a core waits for a disk is.
    idle = sum(times.idle + getattr(times, "iowait", 0.0) for times in cores)
    return CoreTime(time.monotonic(), sum(map(sum, cores)), idle, own.user + own.system)
