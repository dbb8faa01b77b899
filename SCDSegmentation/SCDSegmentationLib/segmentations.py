"""What the module can do, with or without its panel: start, cancel and wait for segmentations, ask for devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import qt
import slicer

from SCDSegmentationLib import dependencies
from SCDSegmentationLib.diagnostics import diagnosticsText
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.influence_run import InfluenceRun, influenceRequest, structureOf
from SCDSegmentationLib.journal import sharedJournal
from SCDSegmentationLib.models import Model, findModels
from SCDSegmentationLib.parameters import SCDSegmentationParameters
from SCDSegmentationLib.request import Request
from SCDSegmentationLib.results import Results
from SCDSegmentationLib.run import SegmentationRun
from SCDSegmentationLib.signal import Signal
from SCDSegmentationLib.stepped_run import SteppedRun
from SCDSegmentationLib.sweep_run import LoadRun, Sweep, SweepRow, SweepRun, keepRatiosProblem
from SCDSegmentationLib.token_maps import TokenMaps
from SCDSegmentationLib.worker_process import WorkerProcess, sharedWorker

VolumeNode = slicer.vtkMRMLScalarVolumeNode
KEEP_RATIOS = (1.0, 0.5, 0.25, 0.1)
_Run = TypeVar("_Run", bound=SteppedRun)


class Segmentations:
    """Runs segmentations one after the other in one worker process.

    Signals:
        log(str): a line for the log.
        devices(list): what the worker can compute on, one dictionary each with name, title, free_bytes, works.

    Args:
        worker: the process; None: the one that all share, so that a model is loaded once.
    """

    def __init__(self, worker: WorkerProcess | None = None) -> None:
        self.log, self.devices = Signal(), Signal()
        self.worker = worker or sharedWorker()
        self.journal = sharedJournal()
        self.journal.followWorker(self.worker)
        self._probeId: int | None = None

    @property
    def run(self) -> SegmentationRun | None:
        """What runs in the worker now, whoever started it."""
        return self.worker.run

    def followLog(self) -> None:
        """Hand on what the worker writes into the log, until :meth:`unfollowLog`."""
        self.worker.log.connect(self.log.emit)

    def unfollowLog(self) -> None:
        """Hand on the worker's log no more."""
        self.worker.log.disconnect(self.log.emit)

    def diagnostics(self, parameters: SCDSegmentationParameters | None = None) -> str:
        """Versions, devices, models and what happened since the start, to send to the developers: a text without names,
        paths or anything of images.

        Args:
            parameters: what is chosen in the panel; None: only what runs were asked for is told.
        """
        return diagnosticsText(self.journal, parameters)

    def findModel(self, name: str) -> Model:
        """The model of a name or in a folder.

        Raises:
            SegmentationError: there is none.
        """
        models, _ = findModels()
        for model in models:
            if name in (model.name, str(model.path)):
                return model
        names = ", ".join(model.name for model in models) or "none"
        raise SegmentationError(f"There is no model '{name}'; there are: {names}.", "model")

    def request(
        self,
        volumes: VolumeNode | Sequence[VolumeNode],
        model: str = "brain-structures",
        keepRatio: float | None = None,
        overlap: float | None = None,
        **others: Any,
    ) -> Request:
        """A request, with the model's own values where none are given.

        Args:
            volumes: one, or one for each channel of the model.
            model: its name or folder.
            keepRatio: share of tokens kept at each stage, in (0, 1].
            overlap: share of a window that the next one covers again, 0…0.9.
            others: ``device``, ``precision``, ``segmentation``, ``importance``, ``cpuFallback`` and
                ``threads`` of :class:`Request`.

        Raises:
            SegmentationError: there is no such model, or a number is out of range.
        """
        found = self.findModel(model)
        ratio = found.keepRatio if keepRatio is None else float(keepRatio)
        share = found.overlap if overlap is None else float(overlap)
        if not 0 < ratio <= 1:
            raise SegmentationError(f"The keep ratio {ratio:g} is out of range: give a number above 0 and at most 1.")
        if not 0 <= share <= 0.9:
            raise SegmentationError(f"The overlap {share:g} is out of range: give a number from 0 to 0.9.")
        threads = others.get("threads", 0)
        if not isinstance(threads, int) or threads < 0:
            raise SegmentationError(
                f"{threads!r} threads cannot be used: give a whole number, or 0 for the free cores."
            )
        nodes = tuple(volumes) if isinstance(volumes, (list, tuple)) else (volumes,)
        return Request(nodes, found, ratio, share, **others)

    def segment(self, volumes: VolumeNode | Sequence[VolumeNode], **options: Any) -> Results:
        """Segment and wait, while the application goes on drawing: what Apply does, for scripts.

        Args:
            volumes: one, or one for each channel of the model.
            options: see :meth:`request`.

        Raises:
            SegmentationError: see :meth:`prepare`; also whatever ends the run.
        """
        ended: list[Results | SegmentationError] = []
        return _waitFor(
            self.startSegmentation(volumes, onFinished=ended.append, onFailed=ended.append, **options), ended
        )

    def startSegmentation(
        self,
        volumes: VolumeNode | Sequence[VolumeNode],
        onProgress: Callable[[str, int, int, float | None], None] | None = None,
        onFinished: Callable[[Results], None] | None = None,
        onFailed: Callable[[SegmentationError], None] | None = None,
        **options: Any,
    ) -> SegmentationRun:
        """Start a segmentation and return at once; call in the main thread.

        Args:
            volumes: one, or one for each channel of the model.
            onProgress: called with step, done, total and seconds left (None while unknown).
            onFinished: called with the nodes.
            onFailed: called with what happened; code "cancelled" after :meth:`cancel`.
            options: see :meth:`request`.

        Raises:
            SegmentationError: see :meth:`prepare`.
        """
        run = self.prepare(self.request(volumes, **options))
        _connect((run.progress, onProgress), (run.finished, onFinished), (run.failed, onFailed))
        run.start()
        return run

    def sweep(
        self,
        volumes: VolumeNode | Sequence[VolumeNode],
        keepRatios: Sequence[float] = KEEP_RATIOS,
        tolerance: float = 0.98,
        **options: Any,
    ) -> Sweep:
        """Segment at several keep ratios and wait; the volume's table of keep ratios is in the scene then.

        Args:
            volumes: one, or one for each channel of the model.
            keepRatios: each in (0, 1], none twice.
            tolerance: mean agreement that the suggested keep ratio has at least, 0…1.
            options: see :meth:`request`.

        Raises:
            SegmentationError: see :meth:`prepare`; also whatever ends the run.
        """
        ended: list[Sweep | SegmentationError] = []
        run = self.startSweep(volumes, keepRatios, tolerance, onFinished=ended.append, onFailed=ended.append, **options)
        return _waitFor(run, ended)

    def startSweep(
        self,
        volumes: VolumeNode | Sequence[VolumeNode],
        keepRatios: Sequence[float] = KEEP_RATIOS,
        tolerance: float = 0.98,
        onRow: Callable[[SweepRow], None] | None = None,
        onProgress: Callable[[str, int, int, float | None], None] | None = None,
        onFinished: Callable[[Sweep], None] | None = None,
        onFailed: Callable[[SegmentationError], None] | None = None,
        **options: Any,
    ) -> SweepRun:
        """Start a sweep and return at once; call in the main thread.

        Args:
            volumes: one, or one for each channel of the model.
            keepRatios: each in (0, 1], none twice.
            tolerance: mean agreement that the suggested keep ratio has at least, 0…1.
            onRow: called with every keep ratio that is complete; the run's ``sweep`` keeps it whatever happens later.
            onProgress: called with step, done, total and seconds left; windows of all ratios are counted together.
            onFinished: called with all rows.
            onFailed: called with what happened; code "cancelled" after :meth:`cancel`.
            options: see :meth:`request`.

        Raises:
            SegmentationError: see :meth:`prepare`.
        """
        run = self.prepareSweep(self.request(volumes, **options), keepRatios, tolerance)
        _connect((run.row, onRow), (run.progress, onProgress), (run.finished, onFinished), (run.failed, onFailed))
        run.start()
        return run

    def prepare(self, request: Request) -> SegmentationRun:
        """A run that is about to start: connect its signals, then call its ``start``.

        Raises:
            SegmentationError: another one is running, the request cannot run, or packages are missing.
        """
        with self.journal.refusals():
            self._requireReady(request)
            return self._take(SegmentationRun(request, self.worker))

    def prepareSweep(self, request: Request, keepRatios: Sequence[float], tolerance: float) -> SweepRun:
        """A sweep that is about to start: connect its signals, then call its ``start``.

        Raises:
            SegmentationError: see :meth:`prepare`; also for keep ratios and tolerances out of range.
        """
        problem = keepRatiosProblem(keepRatios)
        if problem:
            raise SegmentationError(problem)
        if not 0 <= tolerance <= 1:
            raise SegmentationError(f"The tolerance {tolerance:g} is out of range: give a mean Dice from 0 to 1.")
        with self.journal.refusals():
            self._requireReady(request)
            return self._take(SweepRun(request, keepRatios, tolerance, self.worker))

    def prepareInfluence(
        self,
        request: Request,
        segmentation: slicer.vtkMRMLSegmentationNode | None,
        maps: TokenMaps | None,
        segmentId: str | None = None,
    ) -> InfluenceRun:
        """Influence of a run's tokens, about to be computed: connect the signals, then call ``start``.

        Args:
            request: what Apply would ask for, with the inputs and the model of the run.
            segmentation: of the run.
            maps: of the run, from :func:`SCDSegmentationLib.token_maps.tokenMapsOf`.
            segmentId: of the segment that influence is about; None: all.

        Raises:
            SegmentationError: see :meth:`prepare`; also if these are not of one run, or the segment is none of it.
        """
        with self.journal.refusals():
            ofRun = influenceRequest(request, segmentation, maps)
            label, on = structureOf(ofRun.model, segmentation, segmentId)
            self._requireReady(ofRun)
            return self._take(InfluenceRun(ofRun, maps, label, on, self.worker))

    def prepareLoad(
        self,
        sweep: Sweep,
        row: SweepRow,
        segmentation: slicer.vtkMRMLSegmentationNode | None = None,
        importance: VolumeNode | None = None,
    ) -> LoadRun:
        """The loading of a sweep's row, about to start: connect its signals, then call its ``start``.

        Args:
            sweep: that the row is of.
            row: to load.
            segmentation: node to replace; None: a new one.
            importance: node to replace; None: a new one.

        Raises:
            SegmentationError: another run is not finished, the row's files are gone, or its volume is.
        """
        with self.journal.refusals():
            self._requireIdle()
            return self._take(LoadRun(sweep, row, segmentation, importance))

    def cancel(self, *reason: str) -> None:
        """Cancel what is running, if anything is."""
        if self.run is not None:
            self.run.cancel(*reason)

    def probe(self) -> None:
        """Ask the worker what it can compute on; the answer comes as ``devices``. Nothing happens during a run, nor
        while packages are missing.
        """
        if self.run is None and self._probeId is None and not dependencies.missing():
            self.worker.event.connect(self._onEvent)
            self.worker.failed.connect(self._onProbeEnd)
            self._probeId = self.worker.request("probe")

    def restartWorker(self) -> None:
        """End the worker at once, and what is running in it, and start another."""
        self.worker.discard()
        self.probe()

    def stopWorker(self) -> None:
        """End the worker and what is running, and wait until it is gone; no process and no file is left."""
        self.cancel()
        self.worker.stop()

    def _requireIdle(self) -> None:
        if self.run is not None:
            raise SegmentationError(
                "A segmentation is running: wait for it, or cancel it, before starting another.", "busy"
            )

    def _requireReady(self, request: Request) -> None:
        self._requireIdle()
        request.check()  # before anything is installed; the run checks again, as an install takes its time
        dependencies.ensure()

    def _take(self, run: _Run) -> _Run:
        """Let a run have the worker until it ends."""
        self.worker.run = run
        self.journal.followWorker(self.worker)  # which may be another than at the start
        self.journal.followRun(run)
        for signal in (run.finished, run.failed):
            signal.connect(lambda _: self._onEnd())
        return run

    def _onEnd(self) -> None:
        self.worker.run = None

    def _onProbeEnd(self, *_: SegmentationError) -> None:
        self._probeId = None
        self.worker.event.disconnect(self._onEvent)
        self.worker.failed.disconnect(self._onProbeEnd)

    def _onEvent(self, event: dict[str, Any]) -> None:
        if event["id"] != self._probeId or event["event"] not in ("result", "error"):
            return
        self._onProbeEnd()
        if event["event"] == "result":
            self.devices.emit(event.get("devices", []))
        else:
            self.log.emit(event["message"])


def _connect(*pairs: tuple[Signal, Callable[..., None] | None]) -> None:
    for signal, slot in pairs:
        if slot is not None:
            signal.connect(slot)


def _waitFor(run: SteppedRun, ended: list[Any]) -> Any:
    """Let the application go on until a run has put its outcome into ``ended``, and return that.

    Raises:
        SegmentationError: the run failed.
    """
    if not ended:
        loop = qt.QEventLoop()
        for signal in (run.finished, run.failed):
            signal.connect(lambda _: loop.quit())
        loop.exec_()
    if isinstance(ended[0], SegmentationError):
        raise ended[0]
    return ended[0]
