"""One image at several keep ratios: prepared once, and every result compared with that of the densest run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from scdseg.bundle import find_bundle
from scdseg.errors import InputError
from scdseg.inference.arguments import check_keep_ratio, check_overlap
from scdseg.inference.device import resolve_device, resolve_precision
from scdseg.inference.images import read_headers
from scdseg.inference.report import count_values
from scdseg.inference.result import Result
from scdseg.inference.segmenter import Prepared, Progress, Segmenter
from scdseg.inference.shared import SharedWork
from scdseg.suggestion import suggested_keep_ratio
from scdseg.threads import check_threads

# What all runs of a sweep have in common, by its key in a report.
_COMMON = ("model", "device", "precision", "versions", "windows", "image", "network_grid")


@dataclass(frozen=True)
class SweepRow:
    """What one keep ratio costs, and how well its labels agree with the densest run's.

    Args:
        keep_ratio: share of tokens kept at each pruning stage.
        tokens_kept: tokens of a window that each stage keeps.
        tokens_scored: tokens that were scored, summed over stages and windows.
        seconds_windows: that the network takes in a run by itself.
        seconds_total: that this run takes by itself, from reading to labels on the input's grid, with a loaded model.
        seconds_added: that this run added to the sweep: preparation and what the network computes alike at every keep
            ratio with the first only, and the comparison.
        dice: by label value, for every label that this run or the densest found.
    """

    keep_ratio: float
    tokens_kept: tuple[int, ...]
    tokens_scored: int
    seconds_windows: float
    seconds_total: float
    seconds_added: float
    dice: dict[int, float]

    @property
    def mean_dice(self) -> float:
        """Mean over the labels that this run or the densest found; NaN if neither found any."""
        return fmean(self.dice.values()) if self.dice else math.nan

    def to_json(self) -> dict[str, Any]:
        """The row in types that JSON has; NaN becomes None."""
        mean = self.mean_dice
        return {
            "keep_ratio": self.keep_ratio,
            "tokens_kept": list(self.tokens_kept),
            "tokens_scored": self.tokens_scored,
            "seconds_windows": round(self.seconds_windows, 3),
            "seconds_total": round(self.seconds_total, 3),
            "seconds_added": round(self.seconds_added, 3),
            "agreement": {
                "mean": None if math.isnan(mean) else mean,
                "labels": {str(value): dice for value, dice in self.dice.items()},
            },
        }


@dataclass(frozen=True)
class Sweep:
    """All rows of one image, and what they were measured with.

    Args:
        rows: from the densest on.
        tolerance: mean Dice that the suggested keep ratio reaches.
        labels: names by value, all that the model knows.
        common: what the reports of all runs say alike: model, device, threads, precision, versions, windows, grids.
        warnings: of all runs, each once.
    """

    rows: tuple[SweepRow, ...]
    tolerance: float
    labels: dict[int, str]
    common: dict[str, Any]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything in types that JSON has."""
        labels = [{"value": value, "name": name} for value, name in self.labels.items()]
        return {
            **self.common,
            "labels": labels,
            "warnings": list(self.warnings),
            **summary(self.rows, self.tolerance),
        }


def sweep(
    images: str | Path | Sequence[str | Path],
    model: str | Path,
    keep_ratios: Sequence[float] = (1.0, 0.5, 0.25, 0.1),
    tolerance: float = 0.98,
    device: str = "auto",
    overlap: float | None = None,
    precision: str = "auto",
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    on_result: Callable[[Result, SweepRow], None] | None = None,
    threads: int | None = None,
) -> Sweep:
    """Segment an image at several keep ratios, from the densest on, and compare the labels with the densest run's.

    Args:
        images: NIfTI, NRRD or MetaImage file or folder of a DICOM series; one for each channel of the model.
        model: name of a model, or the folder of a bundle.
        keep_ratios: each in (0, 1] and different in its first six digits.
        tolerance: mean Dice, 0…1, that the suggested keep ratio shall reach.
        device: ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``.
        overlap: share of a window that the next one covers again, 0…0.9; None: the model's own.
        precision: ``"auto"``, ``"bf16"`` or ``"fp32"``.
        progress: see :data:`scdseg.inference.segmenter.Progress`; windows of all runs are counted together.
        cancelled: polled between windows.
        on_result: called with every run's result and row as soon as they are there; no result is kept.
        threads: that compute on the CPU; None: as many as there are free cores, chosen anew between windows.

    Raises:
        ScdsegError: with one sentence that says what is wrong with the input or the machine.
    """
    bundle = find_bundle(model)
    for keep_ratio in densest_first(keep_ratios):
        check_keep_ratio(keep_ratio, bundle)
    check_tolerance(tolerance)
    if overlap is not None:
        check_overlap(overlap)
    check_threads(threads)
    resolve_precision(precision, resolve_device(device))
    read_headers(images, bundle)
    segmenter = Segmenter(bundle, device, precision, threads)
    prepared = segmenter.prepare(images, progress, cancelled)
    rows: list[SweepRow] = []
    common: dict[str, Any] = {}
    warnings: dict[str, None] = {}
    used: list[dict[str, Any]] = []
    for result, row in sweep_prepared(segmenter, prepared, keep_ratios, overlap, progress, cancelled):
        rows.append(row)
        common = {name: result.report[name] for name in _COMMON}
        used.append(result.report["threads"])
        warnings.update(dict.fromkeys(result.report["warnings"]))
        if on_result is not None:
            on_result(result, row)
    labels = {label.value: label.name for label in bundle.labels}
    counts = {"least": min(run["least"] for run in used), "most": max(run["most"] for run in used)}
    common["threads"] = {**used[0], **counts}
    return Sweep(tuple(rows), tolerance, labels, common, tuple(warnings))


def sweep_prepared(
    segmenter: Segmenter,
    prepared: Prepared,
    keep_ratios: Sequence[float],
    overlap: float | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[tuple[Result, SweepRow]]:
    """Run prepared images at several keep ratios, from the densest on.

    Args:
        segmenter: the model.
        prepared: from its :meth:`~scdseg.inference.Segmenter.prepare`.
        keep_ratios: each in (0, 1] and different in its first six digits.
        overlap: see :meth:`scdseg.inference.Segmenter.run`.
        progress: windows of all runs are counted together.
        cancelled: polled between windows.

    Yields:
        Every run's result and row.

    Raises:
        ScdsegError: see :meth:`scdseg.inference.Segmenter.run`.
    """
    ratios = densest_first(keep_ratios)
    values = [label.value for label in segmenter.bundle.labels]
    preparation = sum(prepared.seconds.values())
    count = _WindowCount(progress, len(ratios))
    shared = SharedWork(segmenter.device)
    densest: np.ndarray | None = None
    for number, keep_ratio in enumerate(ratios):
        result = segmenter.run(prepared, keep_ratio, overlap, count, cancelled, shared)
        count.runs_done += 1
        began = time.perf_counter()
        labels = result.labels.array
        densest = labels if densest is None else densest
        dice = label_dice(labels, densest, values)
        compared = time.perf_counter() - began
        tokens, seconds = result.report["tokens_per_stage"], result.report["seconds"]
        took = seconds["total"] - seconds.get("load model", 0.0)
        yield (
            result,
            SweepRow(
                keep_ratio=keep_ratio,
                tokens_kept=tuple(tokens["kept"]),
                tokens_scored=sum(tokens["scored"]) * result.report["windows"]["count"],
                seconds_windows=seconds["windows"] + shared.seconds_saved,
                seconds_total=took + shared.seconds_saved,
                seconds_added=took + compared - (preparation if number else 0.0),
                dice=dice,
            ),
        )


def summary(rows: Sequence[SweepRow], tolerance: float) -> dict[str, Any]:
    """What a sweep says in the end, ready for JSON.

    Args:
        rows: at least one.
        tolerance: mean Dice that the suggested keep ratio shall reach.

    Returns:
        ``table`` with the rows, ``tolerance``, ``suggested_keep_ratio``, and ``seconds``: of the ``sweep``, of
        ``separate_runs`` that would each prepare the images, and the ``ratio`` of the two. Loading the model and
        writing files count in neither.
    """
    together = sum(row.seconds_added for row in rows)
    separate = sum(row.seconds_total for row in rows)
    return {
        "table": [row.to_json() for row in rows],
        "tolerance": tolerance,
        "suggested_keep_ratio": suggested_keep_ratio({row.keep_ratio: row.mean_dice for row in rows}, tolerance),
        "seconds": {
            "sweep": round(together, 3),
            "separate_runs": round(separate, 3),
            "ratio": round(together / separate, 4),
        },
    }


def label_dice(labels: np.ndarray, reference: np.ndarray, values: Sequence[int]) -> dict[int, float]:
    """Dice coefficient of every label that at least one of two label maps has.

    Args:
        labels: (X, Y, Z) uint8.
        reference: (X, Y, Z) uint8.
        values: of the labels to compare.
    """
    sizes = count_values(labels) + count_values(reference)
    common = np.zeros(256, dtype=np.int64)
    for part, same in zip(labels, reference, strict=True):
        common += np.bincount(part[part == same], minlength=256)
    return {value: 2 * int(common[value]) / int(sizes[value]) for value in values if sizes[value]}


def densest_first(keep_ratios: Sequence[float]) -> list[float]:
    """Keep ratios in the order in which a sweep runs them.

    Raises:
        InputError: there is none, or two are the same in the six digits by which they are told apart.
    """
    if not keep_ratios:
        raise InputError("no keep ratio given: give at least one above 0 and at most 1")
    if len({f"{keep_ratio:g}" for keep_ratio in keep_ratios}) < len(keep_ratios):
        raise InputError(f"keep ratios {list(keep_ratios)} name one twice: give each once")
    return sorted(map(float, keep_ratios), reverse=True)


def check_tolerance(tolerance: float) -> float:
    """A tolerance that a mean Dice can be compared with.

    Raises:
        InputError: not in 0…1.
    """
    if not 0 <= tolerance <= 1:
        raise InputError(f"tolerance {tolerance} is out of range: give a mean Dice from 0 to 1")
    return tolerance


class _WindowCount:
    """Counts the windows of several runs on one image as those of one.

    Args:
        progress: that is told.
        runs: how many there will be.
    """

    def __init__(self, progress: Progress | None, runs: int) -> None:
        self.runs_done = 0
        self._progress = progress
        self._runs = runs
        self._began = time.perf_counter()

    def __call__(self, step: str, done: int, total: int, seconds_left: float | None) -> None:
        if self._progress is None:
            return
        done += self.runs_done * total
        total *= self._runs
        left = (time.perf_counter() - self._began) / done * (total - done) if done else None
        self._progress(step, done, total, left)
