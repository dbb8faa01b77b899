"""A target that does, by number, all that no target may: for the tests of the fuzzer itself."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

from scdseg.errors import InputError


class Broken:
    """Misbehaves in its first cases; all others are refused.

    Args:
        folder: may be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def broken(self, rng: random.Random) -> None:
        """By the number that the fuzzer seeds with: the first random number tells the cases apart."""
        deed = _DEEDS.get(_number(rng))
        if deed is not None:
            deed(self.folder)
        (self.folder / "allowed").write_text("x", encoding="utf-8")
        raise InputError("refused, as most are: give another")


def _number(rng: random.Random) -> int:
    state = rng.getstate()
    for number in range(_CASES):
        if random.Random(f"0 broken {number}").getstate() == state:
            return number
    return -1


def _say_nothing(folder: Path) -> None:
    raise InputError("")


def _write_outside(folder: Path) -> None:
    (folder.parent / "evil").write_text("x", encoding="utf-8")


_CASES = 8
_DEEDS = {
    1: lambda folder: [][1],
    2: _write_outside,
    3: lambda folder: subprocess.run(["true"], check=True),
    4: lambda folder: time.sleep(60),
    5: lambda folder: os.abort(),
    6: _say_nothing,
    7: lambda folder: bytes(3 << 30),
}
