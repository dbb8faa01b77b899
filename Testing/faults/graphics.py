"""A GPU that fails in the middle of a run, with and without leave to go on with the CPU."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from faults.fault import Fault
from faults.world import World

_GPU_WORKER = Path(__file__).resolve().parents[1] / "slicer_module" / "gpu_worker.py"


def faults(seed: int) -> Iterator[Fault]:
    """The GPU fails at the first window."""
    del seed
    for allowed in (False, True):
        words = "the CPU is allowed" if allowed else "the CPU is not allowed"
        yield Fault("GPU lost", f"at the first window; {words}", partial(_lost, allowed))


def _lost(allowed: bool, world: World) -> str:
    from slicer_module.worker_scripts import worker

    box = world.widget.panel.ui.cpuFallbackCheckBox
    with (
        tempfile.TemporaryDirectory(prefix="gpu-") as folder,
        worker(world.widget, _GPU_WORKER, "windows", Path(folder) / "pids"),
    ):
        box.setChecked(allowed)
        try:
            return world.disturbed(lambda: None, 0)
        finally:
            box.setChecked(False)
