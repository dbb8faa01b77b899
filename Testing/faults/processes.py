"""The worker dies, stops or starves in the middle of a run."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from functools import partial

import psutil

from faults.fault import Fault
from faults.world import World

_KILLS = 50
_MB = 1 << 20


def faults(seed: int) -> Iterator[Fault]:
    """Signals at random moments, pauses, and limits of what the system gives."""
    rng = random.Random(seed)
    for number in range(_KILLS):
        # One in each fiftieth of a run and a little more.
        share = 1.1 * (number + rng.random()) / _KILLS
        yield Fault("worker killed", f"SIGKILL after {share:.3f} of a run", partial(_signal, signal.SIGKILL, share))
    for name in ("SIGTERM", "SIGSEGV", "SIGABRT", "SIGBUS"):
        for number in range(4):
            share = (number + rng.random()) / 4
            strike = partial(_signal, getattr(signal, name), share)
            yield Fault("worker killed", f"{name} after {share:.3f} of a run", strike)
    for number in range(5):
        share = (number + rng.random()) / 5
        yield Fault("sleep and resume", f"worker stopped for 2 s after {share:.2f} of a run", partial(_sleep, share))
        yield Fault("sleep and resume", f"worker stopped for good after {share:.2f}", partial(_stop_and_cancel, share))
    for megabytes in (0, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256):
        strike = partial(_limited, resource.RLIMIT_AS, megabytes * _MB)
        yield Fault("memory", f"worker may take {megabytes} MB more", strike)
    for size in (0, 1000, 10_000, 50_000, 100_000):
        yield Fault("disk full", f"worker's files end at {size} bytes", partial(_limited, resource.RLIMIT_FSIZE, size))
    for files in (0, 1, 2, 4):
        strike = partial(_limited, resource.RLIMIT_NOFILE, files)
        yield Fault("open files", f"worker may open {files} files more", strike)
    yield Fault("worker killed", "its time of the processor ends", partial(_limited, resource.RLIMIT_CPU, 0))


def _signal(number: int, share: float, world: World) -> str:
    pid = world.worker().pid

    def strike() -> None:
        if psutil.pid_exists(pid):
            os.kill(pid, number)

    return world.disturbed(strike, share)


def _sleep(share: float, world: World) -> str:
    pid = world.worker().pid

    def strike() -> None:
        os.kill(pid, signal.SIGSTOP)
        until = time.perf_counter() + 2
        try:
            world.wait(lambda: time.perf_counter() >= until, 5, "the sleep")
        finally:
            os.kill(pid, signal.SIGCONT)

    return world.disturbed(strike, share)


def _stop_and_cancel(share: float, world: World) -> str:
    pid = world.worker().pid

    def strike() -> None:
        os.kill(pid, signal.SIGSTOP)
        if world.logic.run is not None:
            world.apply()
        else:
            # The run was over: nobody has a reason to cancel, and the next one would wait for its own Cancel.
            os.kill(pid, signal.SIGCONT)

    return world.disturbed(strike, share)


def _limited(what: int, more: int, world: World) -> str:
    """A run in a worker that may take this much more than it has; then the limit is lifted, or another worker comes."""
    process = world.worker()
    # It loads its libraries in the background.
    world.ask("probe")
    has = {
        resource.RLIMIT_AS: lambda: process.memory_info().vms,
        resource.RLIMIT_NOFILE: process.num_fds,
        resource.RLIMIT_CPU: lambda: int(sum(process.cpu_times()[:2])) + 1,
    }.get(what, lambda: 0)()
    before = process.rlimit(what)
    process.rlimit(what, (has + more, before[1]))
    try:
        return world.disturbed(lambda: None, 0)
    finally:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            process.rlimit(what, before)
