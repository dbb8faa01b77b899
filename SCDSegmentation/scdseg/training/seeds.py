"""Seeds of what is drawn at random, from what it may depend on."""

from __future__ import annotations

import numpy as np


def seed_of(*numbers: int) -> int:
    """One seed in [0, 2^63) from several numbers of any size, such as a run's seed and a step."""
    words = np.random.SeedSequence([number % 2**64 for number in numbers]).generate_state(1, np.uint64)
    return int(words[0]) >> 1
