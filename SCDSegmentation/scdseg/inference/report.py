"""The report of a segmentation: what ran, how long it took, what it found. Never a path, a name or header text."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from scdseg import __version__

if TYPE_CHECKING:
    from scdseg.bundle import Label
    from scdseg.networks.scd_unetr import TokenTrace


class Stopwatch:
    """Seconds by step, added up over all times that a step ran."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time what runs inside the ``with`` block as part of a step."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start

    def rounded(self) -> dict[str, float]:
        """Seconds by step to the millisecond, with their sum as ``total``."""
        steps = {step: round(seconds, 3) for step, seconds in self.seconds.items()}
        return {**steps, "total": round(sum(self.seconds.values()), 3)}


def label_volumes(array: np.ndarray, affine: np.ndarray, labels: Sequence[Label]) -> list[dict[str, Any]]:
    """Voxels and millilitres of every label, in the order of the labels.

    Args:
        array: (X, Y, Z) uint8.
        affine: (4, 4) in mm; a voxel's volume is its determinant, which also holds for sheared grids.
        labels: to count.
    """
    counts = count_values(array)
    ml_per_voxel = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    return [
        {
            "value": label.value,
            "name": label.name,
            "voxels": int(counts[label.value]),
            "ml": round(int(counts[label.value]) * ml_per_voxel, 4),
        }
        for label in labels
    ]


def count_values(array: np.ndarray) -> np.ndarray:
    """How often each value of a uint8 array (X, …) occurs: (256,) int64."""
    counts = np.zeros(256, dtype=np.int64)
    for part in array:  # counting takes eight bytes a value
        counts += np.bincount(part.ravel(), minlength=256)
    return counts


def tokens_per_stage(trace: TokenTrace) -> dict[str, list[int]]:
    """How many tokens of a window each pruning stage scored and kept."""
    stage = trace.stage[0].flatten()
    stages = range(1, len(trace.scores) + 1)
    return {"scored": [int((stage >= s).sum()) for s in stages], "kept": [int((stage > s).sum()) for s in stages]}


def versions() -> dict[str, str]:
    """Versions of everything that the numbers depend on."""
    libraries = {name: version(name) for name in ("monai", "nibabel", "numpy", "SimpleITK")}
    return {"scdseg": __version__, "python": platform.python_version(), "torch": torch.__version__, **libraries}
