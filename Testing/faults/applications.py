"""Whole applications that die, quit or work side by side."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil

from faults.fault import Fault, Violation
from faults.world import World

_GONE_S = 4.0
_TESTING = Path(__file__).resolve().parents[1]


def faults(seed: int) -> Iterator[Fault]:
    """Ends of an application by signals and by quitting, and two at once."""
    rng = random.Random(seed)
    for name, times in (("SIGKILL", 10), ("SIGTERM", 2), ("SIGSEGV", 2)):
        for _ in range(times):
            delay = 1.5 * rng.random()
            strike = partial(_killed, getattr(signal, name), delay)
            yield Fault("application ends", f"{name} {delay:.2f} s after its first window", strike, told=False)
    for number in range(3):
        yield Fault("application ends", f"it quits in the middle of a run, {number + 1}", _quits, told=False)
    for number in range(3):
        yield Fault("two applications", f"in one temporary folder, {number + 1}", _two)


def _start(world: World, folder: str, manner: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "faults.application", str(world.models), folder, manner],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{_TESTING}{os.pathsep}{_TESTING.parent / 'SCDSegmentation'}"},
    )


def _worker_of(process: subprocess.Popen[str]) -> psutil.Process:
    assert process.stdout is not None
    return psutil.Process(int(process.stdout.readline()))


def _killed(number: int, delay: float, world: World) -> str:
    with tempfile.TemporaryDirectory(prefix="application-") as folder:
        process = _start(world, folder, "wait")
        worker = _worker_of(process)
        time.sleep(delay)
        process.send_signal(number)
        process.wait(30)
        _require_nothing_left(worker, Path(folder))
    return ""


def _quits(world: World) -> str:
    with tempfile.TemporaryDirectory(prefix="application-") as folder:
        process = _start(world, folder, "quit")
        worker = _worker_of(process)
        if process.wait(30):
            raise Violation("error", f"the application ended with {process.returncode}")
        _require_nothing_left(worker, Path(folder))
    return ""


def _two(world: World) -> str:
    with tempfile.TemporaryDirectory(prefix="application-") as folder:
        processes = [_start(world, folder, "finish") for _ in range(2)]
        workers = [_worker_of(process) for process in processes]
        # Not ``communicate``: what came with the first line is in the stream's own buffer.
        messages = [process.stdout.read().strip() for process in processes if process.stdout is not None]
        for process in processes:
            process.wait(30)
        if any(not message.startswith("Found") for message in messages):
            raise Violation("lost", f"the two said: {messages}")
        for worker in workers:
            _require_nothing_left(worker, Path(folder))
    return "Two applications got their results: close them."


def _require_nothing_left(worker: psutil.Process, folder: Path) -> None:
    """The worker and the temporary files are gone soon.

    Raises:
        Violation: they are not.
    """
    end = time.monotonic() + _GONE_S
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > end:
            worker.kill()
            raise Violation("orphan", f"the worker outlived its application by {_GONE_S:g} s")
        time.sleep(0.02)
    left = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    if left:
        raise Violation("leftover", f"temporary files: {left[:5]}")
