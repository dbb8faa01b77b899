"""What happened since the application started, in steps that hold nothing about a patient."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import qt
import slicer

from scdseg.diagnostics import model, plain_name
from scdseg.redaction import redact
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.models import Model, modelFolders
from SCDSegmentationLib.request import Request
from SCDSegmentationLib.worker_process import WorkerProcess

MAX_STEPS = 500


class Journal:
    """Follows runs and workers. What is in it has been redacted when it came in: later, names may have changed.

    Args:
        limit: steps that are kept; the oldest go.
    """

    def __init__(self, limit: int = MAX_STEPS) -> None:
        self.probed: dict[str, Any] | None = None  # what the worker last found to compute on
        self._steps: deque[str] = deque(maxlen=limit)
        self._began = time.monotonic()
        self._wallClock = time.strftime("%Y-%m-%d %H:%M:%S")
        self._workers: WeakSet[WorkerProcess] = WeakSet()
        self._names: set[str] = set()  # of what runs were about; its nodes may be gone when a message names them
        self._runs = 0

    @property
    def steps(self) -> list[str]:
        """All steps, with the seconds since the beginning."""
        return [f"began {self._wallClock}", *self._steps]

    def followWorker(self, worker: WorkerProcess) -> None:
        """Write down what a worker says, and its end; once for each worker."""
        if worker in self._workers:
            return
        self._workers.add(worker)
        worker.log.connect(lambda line: self.addMessage("worker", line))
        worker.failed.connect(lambda error: self.addMessage(f"worker ended ({error.code})", str(error)))
        worker.event.connect(self._onEvent)

    def followRun(self, run: Any) -> None:
        """Write down a run that is about to start, its steps and its end."""
        self._runs += 1
        name = f"run {self._runs}"
        self._remember(run.request)
        self._add(f"{name}: {type(run).__name__}, {_requestText(run)}")
        for number, volume in enumerate(run.request.volumes, start=1):
            self._add(f"{name}: input {number}: {_volumeText(volume)}")
        seen: set[str] = set()

        def onProgress(step: str, done: int, total: int, secondsLeft: float | None) -> None:
            if step not in seen:
                seen.add(step)
                self.addMessage(name, f"{step} {done}/{total}")

        run.progress.connect(onProgress)
        run.finished.connect(lambda outcome: self._onFinished(name, run, outcome))
        run.failed.connect(lambda error: self.addMessage(f"{name}: failed ({error.code})", str(error)))

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Write down errors that keep a run from starting."""
        try:
            yield
        except SegmentationError as error:
            self.addMessage(f"refused ({error.code})", str(error))
            raise

    def addMessage(self, kind: str, message: str) -> None:
        """Write down a message without what may be personal in it."""
        self._add(f"{kind}: {self.redacted(message)}")

    def redacted(self, message: str) -> str:
        """A message without the names of nodes, and without all else that may be personal."""
        return redact(message, self._names | _sceneNames(), _knownPaths())

    def _add(self, text: str) -> None:
        self._steps.append(f"{time.monotonic() - self._began:9.2f} s  {text}")

    def _remember(self, request: Request) -> None:
        nodes = (*request.volumes, request.segmentation, request.importance)
        self._names.update(node.GetName() for node in nodes if node is not None and node.GetName())

    def _onEvent(self, event: dict[str, Any]) -> None:
        if event.get("event") == "result" and isinstance(event.get("devices"), list):
            self.probed = event

    def _onFinished(self, name: str, run: Any, outcome: Any) -> None:
        self._add(f"{name}: finished, {_secondsText(run.seconds)}")
        rows = getattr(outcome, "rows", None)  # of a comparison; its reports differ in little
        reports = [row.report for row in rows] if rows is not None else [getattr(outcome, "report", None)]
        if reports == [None]:  # of influence, which has none
            return
        for report in reports:
            self._add(f"{name}: {_reportText(report)}")
            for warning in report.get("warnings", []):
                self.addMessage(f"{name}: warning", warning)


def sharedJournal() -> Journal:
    """The journal of the application, whichever of its objects start runs."""
    global _shared
    if _shared is None:
        _shared = Journal()
    return _shared


_shared: Journal | None = None


def modelText(found: Model) -> str:
    """A model in one line."""
    return model(found.name, found.version, found.sha256)


def _requestText(run: Any) -> str:
    request = run.request
    ratios = getattr(run, "keepRatios", (request.keepRatio,))
    return (
        f"model {modelText(request.model)}, keep ratio {', '.join(f'{ratio:g}' for ratio in ratios)}, "
        f"overlap {request.overlap:g}, device {plain_name(request.device)}, precision {plain_name(request.precision)}, "
        f"inputs {len(request.volumes)}"
    )


def _volumeText(volume: slicer.vtkMRMLScalarVolumeNode) -> str:
    image = volume.GetImageData()
    size = "×".join(str(count) for count in image.GetDimensions())
    spacing = "×".join(f"{length:.3g}" for length in volume.GetSpacing())
    transform = volume.GetParentTransformNode()
    under = f", under a {transform.GetClassName()}" if transform is not None else ""
    return f"{size} voxels of {spacing} mm, {image.GetScalarTypeAsString()}{under}"


def _reportText(report: Mapping[str, Any]) -> str:
    device, windows, tokens = (report.get(key) or {} for key in ("device", "windows", "tokens_per_stage"))
    kept = " → ".join(str(count) for count in tokens.get("kept", []))
    return (
        f"keep ratio {report.get('keep_ratio')}, {plain_name(device.get('type'))} ({plain_name(device.get('name'))}), "
        f"{plain_name(report.get('precision'))}, {windows.get('count')} windows, {windows.get('skipped', 0)} skipped, "
        f"tokens kept a window {kept or 'not known'}, engine: {_secondsText(report.get('seconds') or {})}"
    )


def _secondsText(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{plain_name(step)} {value:.2f} s" for step, value in seconds.items())


def _sceneNames() -> set[str]:
    scene = slicer.mrmlScene
    nodes = (scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes()))
    return {name for node in nodes if (name := node.GetName())}


def _knownPaths() -> list[str]:
    """Folders and files that messages of the module name; below them lies what is theirs."""
    home = qt.QStandardPaths.writableLocation(qt.QStandardPaths.HomeLocation)
    return [str(path) for path in (slicer.app.temporaryPath, sys.executable, *modelFolders(), home)]
