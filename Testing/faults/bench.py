"""Strike faults in one application: python -m faults.bench FIRST SEED FOLDER FILES DISK [each|NUMBER …].

Tells each fault by its number before it is struck and what came of it behind, one JSON object a line.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faults.fault import Fault, Violation


def catalogue(seed: int, files: Path, disk: Path | None) -> Iterator[Fault]:
    """All faults, in the order of their numbers."""
    from faults import applications, events, graphics, processes, requests, scene
    from faults import disk as disks
    from faults import files as hostile

    yield from processes.faults(seed)
    yield from events.faults(seed)
    yield from requests.faults(seed)
    yield from hostile.faults(files / "models", files / "volumes")
    yield from disks.faults(seed, disk)
    yield from scene.faults(seed)
    yield from graphics.faults(seed)
    yield from applications.faults(seed)


def main() -> None:
    """Strike the faults from a number on, or those of some numbers."""
    first, seed, folder, files = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    disk = Path(sys.argv[5]) if sys.argv[5] else None
    from embedded_slicer.gui import pythonqt
    from faults.world import World

    world = World(Path(tempfile.mkdtemp(dir=folder)), files / "models")
    faults = list(catalogue(seed, files, disk))
    for number in _chosen(faults, sys.argv[6:]):
        if number < first:
            continue
        fault = faults[number]
        _tell(number=number, family=fault.family, name=fault.name, total=len(faults))
        began = time.perf_counter()
        failures = len(pythonqt.failures)
        message, violation = "", None
        try:
            message = fault.strike(world)
            world.check(message, fault.told)
            if pythonqt.failures[failures:]:
                raise Violation("error", f"an exception in a slot: {pythonqt.failures[failures:]!r:.300}")
        except Violation as error:
            violation = [error.kind, str(error)]
        except Exception as error:
            violation = ["error", f"{type(error).__name__}: {error}\n{traceback.format_exc()[-1500:]}"]
        seconds = round(time.perf_counter() - began, 2)
        _tell(number=number, message=message, violation=violation, seconds=seconds)
        if violation:
            # What comes next shall not suffer from this one: the parent starts another application.
            world.close()
            return
    world.close()
    _tell(end=True)


def _chosen(faults: list[Fault], words: list[str]) -> list[int]:
    """Numbers of the faults to strike: those given, the first of each family, or all."""
    if words == ["each"]:
        families = [fault.family for fault in faults]
        return sorted(families.index(family) for family in set(families))
    return [int(word) for word in words] or list(range(len(faults)))


def _tell(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main()
