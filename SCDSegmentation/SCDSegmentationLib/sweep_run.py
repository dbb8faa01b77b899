"""One volume at several keep ratios: each result is kept as soon as it is complete, whatever happens later."""

from __future__ import annotations

import shutil
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import slicer

from scdseg.suggestion import suggested_keep_ratio
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.report_check import checkedReport, checkRow
from SCDSegmentationLib.request import Request
from SCDSegmentationLib.results import RESULT_FILES
from SCDSegmentationLib.signal import Signal
from SCDSegmentationLib.stepped_run import SteppedRun
from SCDSegmentationLib.sweep_table import commitSweep
from SCDSegmentationLib.worker_process import WorkerProcess
from SCDSegmentationLib.worker_run import WorkerRun


@dataclass(frozen=True)
class SweepRow:
    """What one keep ratio costs, and how well its labels agree with those of the densest run.

    Args:
        keepRatio: share of tokens kept at each pruning stage.
        tokensKept: tokens of a window that each stage keeps.
        tokensScored: tokens that were scored, summed over stages and windows.
        secondsWindows: that the network took.
        secondsTotal: that this run takes by itself.
        meanDice: mean over the labels that this run or the densest found; None if neither found any.
        dice: by label value.
        files: of the result, by its name.
        report: of the run.
    """

    keepRatio: float
    tokensKept: tuple[int, ...]
    tokensScored: int
    secondsWindows: float
    secondsTotal: float
    meanDice: float | None
    dice: Mapping[int, float]
    files: Mapping[str, Path]
    report: Mapping[str, Any]

    @classmethod
    def fromEvent(cls, event: Mapping[str, Any]) -> SweepRow:
        """A row as the worker tells it, checked before."""
        agreement = event["agreement"]
        mean = agreement["mean"]
        return cls(
            keepRatio=float(event["keep_ratio"]),
            tokensKept=tuple(int(count) for count in event["tokens_kept"]),
            tokensScored=int(event["tokens_scored"]),
            secondsWindows=float(event["seconds_windows"]),
            secondsTotal=float(event["seconds_total"]),
            meanDice=None if mean is None else float(mean),
            dice={int(value): float(dice) for value, dice in agreement["labels"].items()},
            files={name: Path(event["outputs"][name]) for name in RESULT_FILES},
            report=dict(event["report"]),
        )


class Sweep:
    """The rows of a volume, with their files; these are removed with :meth:`discard`, or with the object itself.

    Args:
        request: whose keep ratio does not count.
        folder: that holds the files.
    """

    def __init__(self, request: Request, folder: Path) -> None:
        self.request = request
        self.date = time.strftime("%Y-%m-%d %H:%M")
        self.rows: list[SweepRow] = []
        self.table: slicer.vtkMRMLTableNode | None = None
        self.discard = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    @property
    def available(self) -> bool:
        """Whether the results can still be loaded."""
        return self.discard.alive

    def row(self, keepRatio: float) -> SweepRow | None:
        """The row of a keep ratio; None if there is none."""
        return next((row for row in self.rows if abs(row.keepRatio - keepRatio) < 1e-6), None)

    def suggestedKeepRatio(self, tolerance: float) -> float:
        """The smallest keep ratio at which, as at all larger ones, the mean agreement is at least the tolerance."""
        return suggested_keep_ratio({row.keepRatio: row.meanDice for row in self.rows}, tolerance)


class SweepRun(WorkerRun):
    """Runs a sweep; ``finished`` gives the :class:`Sweep`, which ``sweep`` has from the first row on.

    Signals:
        row(SweepRow): one more result is complete, and in the table.

    Args:
        request: what to segment, and how; its keep ratio does not count.
        keepRatios: each in (0, 1], none twice.
        tolerance: mean agreement that the worker's suggestion reaches.
        worker: that does it.

    Raises:
        SegmentationError: the request cannot be used, or there is too little room for temporary files.
    """

    CANCELLED = "The comparison was cancelled; rows that were complete stay."
    CANCEL_HINT = "Stop the comparison; rows that are complete stay."

    def __init__(self, request: Request, keepRatios: Sequence[float], tolerance: float, worker: WorkerProcess) -> None:
        super().__init__(request, worker, results=len(keepRatios))
        self.row = Signal()
        self.sweep = Sweep(request, self._folder)
        self.keepRatios, self.tolerance = tuple(keepRatios), tolerance

    def _ask(self) -> int:
        return self._askFor(
            "sweep",
            keep_ratios=list(self.keepRatios),
            tolerance=self.tolerance,
            outputs={"folder": str(self._folder)},
        )

    def _understandResult(self, event: dict[str, Any]) -> Callable[[], None]:
        done = [row.keepRatio for row in self.sweep.rows]
        if event.get("partial"):
            checkRow(event, self.request.model, self._folder)
            checkedReport(event, self.request.model)
            row = SweepRow.fromEvent(event)
            if row.keepRatio not in self.keepRatios or row.keepRatio in done:
                raise ValueError("row.keep_ratio")
            # What was complete before the worker heard of the cancelling is not lost.
            return lambda: self._step(lambda: self._add(row), evenIfCancelled=True)
        if len(done) != len(self.keepRatios):
            raise ValueError("rows are missing")
        return lambda: self._step(lambda: self._succeed(self.sweep))

    def _mayBeginAgain(self) -> bool:
        return not self.sweep.rows

    def _add(self, row: SweepRow) -> None:
        self.sweep.rows.append(row)
        self.sweep.table = commitSweep(self.sweep)
        self.row.emit(row)

    def _letGoOfFiles(self) -> None:
        if not self.sweep.rows or not self.sweep.available:
            super()._letGoOfFiles()
            self.sweep.discard()
            return
        for path in self._images:
            with suppress(OSError):
                path.unlink(missing_ok=True)


class LoadRun(SteppedRun):
    """Puts the result of a row into the scene as a run at its keep ratio would have; ``finished`` gives the Results.

    Args:
        sweep: that the row is of.
        row: to load.
        segmentation: node to replace; None: a new one.
        importance: node to replace; None: a new one.

    Raises:
        SegmentationError: the result's files are gone.
    """

    def __init__(
        self,
        sweep: Sweep,
        row: SweepRow,
        segmentation: slicer.vtkMRMLSegmentationNode | None = None,
        importance: slicer.vtkMRMLScalarVolumeNode | None = None,
    ) -> None:
        super().__init__(
            replace(sweep.request, keepRatio=row.keepRatio, segmentation=segmentation, importance=importance)
        )
        if not sweep.available:
            raise SegmentationError("The results of this comparison are gone: compare again, or press Apply.")
        self._sweep, self._row = sweep, row  # the files stay as long as the sweep does

    def start(self) -> None:
        """Begin; everything else happens in the event loop."""
        self._later(lambda: self._read(dict(self._row.report), self._row.files))


def keepRatiosProblem(keepRatios: Sequence[float]) -> str | None:
    """What is wrong with the keep ratios of a sweep, as a sentence; None if nothing is."""
    if not keepRatios:
        return "No keep ratio is given: give numbers above 0 and at most 1, such as 1, 0.5, 0.25."
    for ratio in keepRatios:
        if not 0 < ratio <= 1:
            return f"The keep ratio {ratio:g} is out of range: give numbers above 0 and at most 1."
    if len({f"{ratio:g}" for ratio in keepRatios}) < len(keepRatios):
        return "A keep ratio is given twice: give each once."
    return None
