"""One target's cases in a process of their own: ``python -m fuzzing.child TARGET FIRST LAST SEED FOLDER``.

The number of the case at work, and when it began, stand in ``FOLDER/state``, so that the parent can tell a case that
hangs or ends the process; what was found goes to stdout, one JSON object a line.
"""

from __future__ import annotations

import encodings.ascii  # noqa: F401 - which some reader takes up at its first strange text
import json
import mmap
import os
import random
import resource
import struct
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATE = struct.Struct("<qd")
TARGETS = {
    **dict.fromkeys(("metadata", "safetensors", "torch", "checkpoint", "archive"), ("models", "Models")),
    **dict.fromkeys(("nifti", "nrrd", "metaimage", "dicom"), ("volumes", "Volumes")),
    **dict.fromkeys(("requests", "recipes"), ("lines", "Lines")),
}
OWN_TEST = {"broken": ("broken", "Broken")}
# Address space beyond what the process has when the first case begins; Python, PyTorch and ITK count once.
MEMORY_BYTES = 1 << 30
_WARM_UP = 40


def main() -> None:
    """Run the cases."""
    target, first, last, seed, folder = sys.argv[1], *map(int, sys.argv[2:5]), Path(sys.argv[5])
    from importlib import import_module

    from fuzzing.guard import Guard
    from scdseg.errors import ScdsegError
    from scdseg.worker.requests import ProtocolError

    module, name = (TARGETS | OWN_TEST)[target]
    work = folder / "work"
    work.mkdir()
    guard = Guard(work)
    case: Callable[[random.Random], None] = getattr(
        getattr(import_module(f"fuzzing.{module}"), name)(work), target
    )  # fmt: skip
    limit = _virtual_bytes() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    refusals = (ScdsegError, ProtocolError)
    # What libraries import when they are first used, they import here.
    for number in range(_WARM_UP):
        try:
            case(random.Random(f"warm up {number}"))
        except Exception:
            continue
    with (folder / "state").open("r+b") as file:
        state = mmap.mmap(file.fileno(), STATE.size)
    guard.arm()
    refused = slowest = 0.0
    for number in range(first, last):
        began = time.monotonic()
        state[:] = STATE.pack(number, began)
        try:
            case(random.Random(f"{seed} {target} {number}"))
        except refusals as error:
            refused += 1
            problem = _message_problem(str(error))
            if problem:
                _tell(case=number, kind="message", text=problem)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)
            ours = next((f for f in reversed(where) if "scdseg" in f.filename), where[-1])
            text = f"{type(error).__name__}: {str(error)[:300]} at {Path(ours.filename).name}:{ours.lineno}"
            _tell(case=number, kind="uncaught", text=text)
        slowest = max(slowest, time.monotonic() - began)
        for violation in guard.violations:
            _tell(case=number, kind="violation", text=violation)
        guard.violations.clear()
    _tell(kind="end", refused=int(refused), slowest=slowest, peak_bytes=_peak_bytes())
    sys.stdout.flush()
    os._exit(0)


def _message_problem(message: str) -> str:
    """What is wrong with an error's message; nothing if it can be shown to a user."""
    if not message.strip():
        return "no message"
    if len(message) > 8000:
        return f"a message of {len(message)} characters: {message[:100]}"
    try:
        message.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return f"a message that cannot be printed: {message[:100]!r}"
    return ""


def _virtual_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _tell(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main()
