"""How cost grows: with the keep ratio, the number of classes, and the size of a volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np

from scdseg.benchmark.machine import Machine
from scdseg.benchmark.networks import DENSE, Subject, own_subjects
from scdseg.benchmark.timing import spread, time_by_turns
from scdseg.benchmark.windows import measure_windows
from scdseg.bundle import Bundle
from scdseg.networks import SCDUNETR

KEEP_RATIOS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1)
CLASSES = (2, 8, 16, 32, 64, 128)
# Edges of a volume as shares of the window's.
SIZES = (1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Growth:
    """One curve.

    Args:
        of: what grows along x, for an axis of a plot.
        x: its values.
        seconds: median by name of what was timed, as long as ``x``.
        others: other numbers that belong to each x, such as multiply-accumulate operations.
    """

    of: str
    x: tuple[float, ...]
    seconds: dict[str, tuple[float, ...]]
    others: dict[str, tuple[float, ...]]

    def to_json(self) -> dict[str, Any]:
        """Everything in types that JSON has."""
        return {
            "of": self.of,
            "x": list(self.x),
            "seconds": {name: list(values) for name, values in self.seconds.items()},
            **{name: list(values) for name, values in self.others.items()},
        }


def grow_keep_ratio(arguments: dict[str, Any], machine: Machine, rounds: int) -> Growth:
    """One window at several keep ratios, and the dense network, which has none."""
    figures = measure_windows(own_subjects(arguments, KEEP_RATIOS, unfused=False), machine, rounds)
    seconds = {found.subject.keep_ratio: spread(found.seconds).median for found in figures}
    curves = {"SCD-UNETR": tuple(seconds[ratio] for ratio in KEEP_RATIOS)}
    if None in seconds:
        curves[DENSE] = (seconds[None],) * len(KEEP_RATIOS)
    macs = tuple(found.macs for found in figures if found.subject.keep_ratio)
    return Growth("keep ratio", KEEP_RATIOS, curves, {"macs": macs})


def grow_classes(arguments: dict[str, Any], machine: Machine, rounds: int) -> Growth:
    """One window of networks with fresh weights for ever more classes, at the keep ratio of the arguments."""
    subjects = []
    for classes in CLASSES:
        network = SCDUNETR(**{**arguments, "out_channels": classes}).eval()
        channels = (network.config["in_channels"], classes)
        subjects.append(
            Subject(f"{classes} classes", network, network.img_size, channels, network.config["keep_ratio"])
        )
    figures = measure_windows(subjects, machine, rounds)
    return Growth(
        "classes",
        CLASSES,
        {"SCD-UNETR": tuple(spread(found.seconds).median for found in figures)},
        {"macs": tuple(found.macs for found in figures)},
    )


def grow_volume(bundle: Bundle, machine: Machine, rounds: int) -> Growth:
    """Whole volumes of noise, so that no window is empty, at the model's spacing and keep ratio.

    Labels of noise have borders everywhere, so restoring them takes longer than of an image of the same size.
    """
    segmenter = machine.segmenter(bundle)
    window = bundle.network["img_size"]
    names = ("preprocess", "windows", "stitch", "restore", "total")
    steps: dict[str, list[float]] = {name: [] for name in names}
    voxels, windows = [], []
    with TemporaryDirectory() as folder:
        for size in SIZES:
            shape = tuple(round(size * n) for n in window)
            paths = _noise(Path(folder), shape, bundle)
            reports: list[dict[str, Any]] = []

            def run() -> None:
                reports.append(segmenter.run(segmenter.prepare(paths)).report)  # noqa: B023 - called in this round

            time_by_turns([run], machine.device, rounds)
            for name in names:
                steps[name].append(spread([report["seconds"][name] for report in reports[1:]]).median)
            voxels.append(float(prod(shape)))
            windows.append(float(reports[0]["windows"]["count"]))
    return Growth(
        "voxels",
        tuple(voxels),
        {name: tuple(values) for name, values in steps.items()},
        {"window_count": tuple(windows)},
    )


def measure_growth(
    arguments: dict[str, Any],
    bundle: Bundle | None,
    machine: Machine,
    rounds: int = 3,
    progress: Callable[[int, int], None] | None = None,
) -> list[Growth]:
    """All curves; that of the volume only where there is a model with preprocessing.

    Args:
        arguments: of ``SCDUNETR``.
        bundle: the model, if it is one.
        machine: to measure on.
        rounds: how often each point is timed.
        progress: told the curves done and all curves.
    """
    curves: list[Callable[[], Growth]] = [
        lambda: grow_keep_ratio(arguments, machine, rounds),
        lambda: grow_classes(arguments, machine, rounds),
    ]
    if bundle is not None:
        curves.append(lambda: grow_volume(bundle, machine, rounds))
    found = []
    for number, curve in enumerate(curves):
        if progress is not None:
            progress(number, len(curves))
        found.append(curve())
    if progress is not None:
        progress(len(curves), len(curves))
    return found


def _noise(folder: Path, shape: tuple[int, ...], bundle: Bundle) -> list[Path]:
    affine = np.diag([*bundle.spacing, 1.0])
    paths = []
    for number in range(len(bundle.channels)):
        path = folder / f"{number}.nii"
        array = np.random.default_rng(number).uniform(1, 100, shape).astype(np.float32)
        nib.save(nib.Nifti1Image(array, affine), path)
        paths.append(path)
    return paths
