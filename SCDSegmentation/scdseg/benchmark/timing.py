"""Times of several pieces of work, taken by turns."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch


class Spread(NamedTuple):
    """Median and quartiles."""

    median: float
    lower: float
    upper: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of any number of values."""
    lower, median, upper = np.percentile(values, (25, 50, 75)).tolist()
    return Spread(median, lower, upper)


def time_by_turns(
    tasks: Sequence[Callable[[], object]],
    device: torch.device,
    rounds: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[tuple[float, ...]]:
    """Seconds of every task, round by round.

    After one round that warms up, every round does each task once, in an order drawn anew, so that whatever else the
    machine does meets all alike.

    Args:
        tasks: to be timed.
        device: that they compute on; it is waited for.
        rounds: how often each is timed.
        progress: told the rounds done and all rounds.
    """
    seconds: list[list[float]] = [[] for _ in tasks]
    order = random.Random(0)
    for done in range(rounds + 1):
        for number in order.sample(range(len(tasks)), len(tasks)):
            wait_for(device)
            began = time.perf_counter()
            tasks[number]()
            wait_for(device)
            if done:
                seconds[number].append(time.perf_counter() - began)
        if progress is not None:
            progress(done, rounds)
    return [tuple(found) for found in seconds]


def wait_for(device: torch.device) -> None:
    """Return when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Matrix products in ``dtype``; float32 leaves everything as it is."""
    reduced = dtype != torch.float32
    return torch.autocast(device.type, dtype if reduced else None, enabled=reduced)
