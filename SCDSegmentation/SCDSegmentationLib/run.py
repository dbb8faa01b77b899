"""One segmentation from the volumes of a scene to nodes in it, in steps that never keep the GUI waiting."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt
import slicer

from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.models import Model
from SCDSegmentationLib.results import RESULT_FILES, PreparedResults
from SCDSegmentationLib.signal import Signal
from SCDSegmentationLib.volume_files import VolumeWriter, volumeBytes, volumeProblem
from SCDSegmentationLib.worker_process import WorkerProcess

_FOLDER_PREFIX = "scdseg-run-"
_FORGOTTEN_SECONDS = 24 * 3600
_DONE = object()
_CANCELLED = "The segmentation was cancelled; the scene is as it was."


@dataclass(frozen=True)
class Request:
    """What to segment, and how.

    Args:
        volumes: one for each channel of the model, in its order.
        model: from :func:`SCDSegmentationLib.models.findModels`.
        keepRatio: share of tokens kept at each stage, in (0, 1].
        overlap: share of a window that the next one covers again, 0…0.9.
        device: "auto", or a device's name as the worker knows it.
        precision: "auto", "bf16" or "fp32".
        segmentation: node to replace; None: a new one.
        importance: node to replace; None: a new one.
    """

    volumes: tuple[slicer.vtkMRMLScalarVolumeNode, ...]
    model: Model
    keepRatio: float
    overlap: float
    device: str = "auto"
    precision: str = "auto"
    segmentation: slicer.vtkMRMLSegmentationNode | None = None
    importance: slicer.vtkMRMLScalarVolumeNode | None = None

    def check(self) -> None:
        """Check what can be checked before any work.

        Raises:
            SegmentationError: something is missing or wrong.
        """
        problem = inputProblem(self.volumes, self.model) or self._outputProblem()
        if problem:
            raise SegmentationError(problem)
        if not self.model.path.is_dir():
            raise SegmentationError(
                f"The model '{self.model.title}' is no longer there ({self.model.path}): choose another model.", "model"
            )

    def _outputProblem(self) -> str | None:
        if self.importance is not None and self.importance in self.volumes:
            return f"The importance would replace the input '{self.importance.GetName()}': choose another output."
        return None


def inputProblem(volumes: Sequence[slicer.vtkMRMLScalarVolumeNode | None], model: Model) -> str | None:
    """What is missing or wrong with the inputs of a model, as a sentence; None if they can be used."""
    if len(volumes) != len(model.channels):
        return f"The model '{model.title}' takes {len(model.channels)} volumes: {', '.join(model.channels)}."
    for channel, volume in zip(model.channels, volumes, strict=True):
        problem = volumeProblem(volume)
        if problem:
            return problem if len(volumes) == 1 else f"{channel}: {problem}"
    if len(set(volumes)) != len(volumes):
        return "The same volume is selected for two inputs: select another one."
    return None


class SegmentationRun:
    """Runs a request; ends with exactly one of ``finished`` and ``failed``.

    Signals:
        progress(str, int, int, object): step, done, total and seconds left (None while unknown).
        finished(Results): the nodes are in the scene.
        failed(SegmentationError): nothing was changed in the scene; code "cancelled" if the user asked for it.

    Args:
        request: what to do.
        worker: that does it.

    Raises:
        SegmentationError: the request cannot run, or there is too little room for its temporary files.
    """

    def __init__(self, request: Request, worker: WorkerProcess) -> None:
        request.check()
        self.progress, self.finished, self.failed = Signal(), Signal(), Signal()
        self.request = request
        self.seconds: dict[str, float] = {}
        self._worker = worker
        self._requestId: int | None = None
        self._cancelReason: str | None = None
        self._ended = False
        self._folder = _temporaryFolder(request)
        self._images = [self._folder / f"input_{number}.nrrd" for number in range(len(request.volumes))]
        self._outputs = {name: self._folder / f"{name}.nrrd" for name in RESULT_FILES}
        self._writers: list[VolumeWriter] = []
        self._began = time.perf_counter()
        self._worker.event.connect(self._onEvent)
        self._worker.failed.connect(self._fail)

    @property
    def cancelling(self) -> bool:
        """Whether the run was asked to stop and has not ended yet."""
        return self._cancelReason is not None and not self._ended

    def start(self) -> None:
        """Begin; everything else happens in the event loop."""
        try:
            self._worker.start()
            self._writers = [
                VolumeWriter(volume, path) for volume, path in zip(self.request.volumes, self._images, strict=True)
            ]
        except SegmentationError as error:
            self._fail(error)
            return
        self._later(self._export)

    def cancel(self, reason: str = _CANCELLED) -> None:
        """Stop; ``failed`` is emitted within a second, when the worker has let go of the files."""
        if self._ended or self._cancelReason is not None:
            return
        self._cancelReason = reason
        if self._requestId is None or not self._worker.running:
            self._fail(SegmentationError(reason, "cancelled"))
        else:
            self._worker.cancel(self._requestId)

    def _later(self, step: Any) -> None:
        """Go on after the event loop has had its turn."""
        qt.QTimer.singleShot(0, lambda: self._step(step))

    def _step(self, step: Any) -> None:
        if self._ended:
            return
        try:
            if self._cancelReason is not None:
                raise SegmentationError(self._cancelReason, "cancelled")
            self._requireVolumes()
            step()
        except SegmentationError as error:
            self._fail(error)
        except OSError as error:
            self._fail(
                SegmentationError(
                    f"Temporary files cannot be written to {self._folder.parent} ({error.strerror or error}): free "
                    "disk space, or choose another temporary folder in the application settings.",
                    "resource",
                )
            )
        except Exception as error:
            self._fail(SegmentationError(f"Internal error: {type(error).__name__}: {error}", "internal"))
            raise

    def _requireVolumes(self) -> None:
        for volume in self.request.volumes:
            problem = volumeProblem(volume)
            if problem:
                raise SegmentationError(f"An input was removed or changed during the run. {problem}")

    def _export(self) -> None:
        writer = next(w for w in self._writers if w.remaining)
        writer.writePiece()
        if any(w.remaining for w in self._writers):
            self._later(self._export)
            return
        self.seconds["export"] = time.perf_counter() - self._began
        request = self.request
        self._requestId = self._worker.request(
            "segment",
            images=[str(path) for path in self._images],
            model=str(request.model.path),
            keep_ratio=request.keepRatio,
            overlap=request.overlap,
            device=request.device,
            precision=request.precision,
            compress=False,
            outputs={name: str(path) for name, path in self._outputs.items()},
        )

    def _onEvent(self, event: dict[str, Any]) -> None:
        if self._ended or event.get("id") != self._requestId or self._requestId is None:
            return
        try:
            handle = self._understand(event)
        except (KeyError, TypeError, ValueError) as error:
            self._end()
            self._worker.discard()
            self.failed.emit(
                SegmentationError(
                    f"The segmentation process sent an event that cannot be understood ({error}) and was stopped: "
                    "press Apply to start it again.",
                    "worker",
                )
            )
            return
        handle()

    def _understand(self, event: dict[str, Any]) -> Callable[[], None]:
        """What an event asks for.

        Raises:
            KeyError, TypeError, ValueError: it is not as the protocol has it.
        """
        if event["event"] == "progress":
            step, done, total, left = str(event["step"]), int(event["done"]), int(event["total"]), event["seconds_left"]
            return lambda: self._onProgress(step, done, total, left)
        if event["event"] == "error":
            error = SegmentationError(self._inWords(str(event["message"])), str(event["code"]))
            return lambda: self._onError(error)
        report = dict(event["report"])
        return lambda: self._later(lambda: self._read(report))

    def _onError(self, error: SegmentationError) -> None:
        self._fail(error)
        if error.code == "internal":
            self._worker.discard()  # after an error of the program a GPU may be unusable to this process

    def _onProgress(self, step: str, done: int, total: int, secondsLeft: float | None) -> None:
        if step == "windows" and "first window" not in self.seconds:
            self.seconds["first window"] = time.perf_counter() - self._began
        if self._cancelReason is None:
            self.progress.emit(step, done, total, secondsLeft)

    def _inWords(self, message: str) -> str:
        """The worker's message with the user's names in place of the temporary files'."""
        for path, volume in zip(self._images, self.request.volumes, strict=True):
            name = volume.GetName() if volume is not None else path.name
            message = message.replace(str(path), f"volume '{name}'")
        return message[:1].upper() + message[1:]

    def _read(self, report: dict[str, Any]) -> None:
        prepared = PreparedResults(self.request.volumes[0], self.request.model, report)
        self._prepare(prepared, prepared.read(self._outputs))

    def _prepare(self, prepared: PreparedResults, pieces: Iterator[None]) -> None:
        """One piece of reading a turn of the event loop; then the scene."""
        if next(pieces, _DONE) is _DONE:
            self._later(lambda: self._commit(prepared))
        else:
            self._later(lambda: self._prepare(prepared, pieces))

    def _commit(self, prepared: PreparedResults) -> None:
        segmentation, importance = self.request.segmentation, self.request.importance
        # An output that was deleted in the meantime is made anew.
        results = prepared.commit(
            segmentation if segmentation is not None and segmentation.GetScene() else None,
            importance if importance is not None and importance.GetScene() else None,
        )
        self.seconds["total"] = time.perf_counter() - self._began
        self._end()
        self.finished.emit(results)

    def _fail(self, error: SegmentationError) -> None:
        if self._ended:
            return
        self._end()
        if self._cancelReason is not None:
            error = SegmentationError(self._cancelReason, "cancelled")
        self.failed.emit(error)

    def _end(self) -> None:
        self._ended = True
        self._worker.event.disconnect(self._onEvent)
        self._worker.failed.disconnect(self._fail)
        for writer in self._writers:
            writer.close()
        _removeFolder(self._folder)


def _removeFolder(folder: Path, tries: int = 5) -> None:
    """Remove a run's folder; on Windows not before a worker that is just ending has let go of its files."""
    shutil.rmtree(folder, ignore_errors=True)
    if tries and folder.exists():
        qt.QTimer.singleShot(1000, lambda: _removeFolder(folder, tries - 1))


def _removeForgotten(parent: Path) -> None:
    """Remove the folders of runs that ended with a crash of the application; no run takes a day.

    Only what is surely a run's: its name begins as theirs do and it holds nothing but their files.
    """
    for folder in parent.glob(f"{_FOLDER_PREFIX}*"):
        with suppress(OSError):
            names = [path.name for path in folder.iterdir()]
            old = time.time() - folder.stat().st_mtime > _FORGOTTEN_SECONDS
            if old and all(name.lstrip(".").endswith(".nrrd") for name in names):
                shutil.rmtree(folder, ignore_errors=True)


def _temporaryFolder(request: Request) -> Path:
    """A folder of the run's own below Slicer's temporary folder.

    Raises:
        SegmentationError: it cannot be made, or the disk has no room for the volumes and the results.
    """
    parent = Path(slicer.app.temporaryPath)
    voxels = request.volumes[0].GetImageData().GetNumberOfPoints()
    needed = sum(volumeBytes(volume) for volume in request.volumes) + 2 * voxels
    advice = "free disk space, or choose another temporary folder in the application settings."
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _removeForgotten(parent)
        free = shutil.disk_usage(parent).free
        if free < needed:
            raise SegmentationError(
                f"The temporary folder {parent} has {free / 1e6:.0f} MB left, but {needed / 1e6:.0f} MB are needed: "
                f"{advice}",
                "resource",
            )
        return Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir=parent))
    except OSError as error:
        raise SegmentationError(
            f"The temporary folder {parent} cannot be used ({error.strerror or error}): {advice}", "resource"
        ) from error
