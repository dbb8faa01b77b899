"""The real worker with a GPU that fails: python gpu_worker.py MANNER PIDS.

For any device but the CPU it says that it computes on cuda:0, and then that this failed: in the windows, or after the
first row of a comparison. On the CPU it works. It adds its process number to the file PIDS.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "SCDSegmentation"))

from scdseg.errors import DeviceError
from scdseg.worker import engine
from scdseg.worker.__main__ import main

MANNER, PIDS = sys.argv[1:3]


def fail(job: Any) -> None:
    job.device = "cuda:0"
    job.progress("windows", 1, 9)
    raise DeviceError("device cuda:0 failed while computing (CUDA error: unspecified launch failure): choose another")


def failing(work: Callable[..., Any]) -> Callable[..., Any]:
    """The work of the engine, which fails unless it is for the CPU."""

    def run(self: Any, job: Any, request: Any) -> Any:
        tell = job.partial_result

        def tell_and_fail(**fields: Any) -> None:
            tell(**fields)
            fail(job)

        if request.device != "cpu":
            if MANNER == "windows":
                fail(job)
            job.partial_result = tell_and_fail
        return work(self, job, request)

    return run


engine.Engine._segment = failing(engine.Engine._segment)
engine.Engine._sweep = failing(engine.Engine._sweep)
sys.argv[1:] = ["--parent", str(os.getppid())]
with Path(PIDS).open("a", encoding="utf-8") as file:
    file.write(f"{os.getpid()}\n")
code = main()
sys.stderr.flush()
os._exit(code)
