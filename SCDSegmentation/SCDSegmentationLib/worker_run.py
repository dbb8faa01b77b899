"""A run in the worker process: volumes out in pieces, a request, its events."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from scdseg.threads import usable_cores
from SCDSegmentationLib.cpu_fallback import CpuFallback
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.request import Request
from SCDSegmentationLib.run_folder import makeFolder, removeFolder
from SCDSegmentationLib.stepped_run import SteppedRun
from SCDSegmentationLib.volume_files import VolumeWriter
from SCDSegmentationLib.worker_process import WorkerProcess

# A worker that the system or another program asks to end cancels what it does.
_ENDED_FROM_OUTSIDE = (
    "The segmentation process was ended by the system or by another program: press Apply to start it again."
)


class WorkerRun(SteppedRun, ABC):
    """Runs a request in the worker; subclasses say what they ask for and what they make of the answer.

    Args:
        request: what to do.
        worker: that does it.
        results: label maps that there will be at most.

    Raises:
        SegmentationError: the request cannot run, or there is too little room for its temporary files.
    """

    def __init__(self, request: Request, worker: WorkerProcess, results: int = 1) -> None:
        super().__init__(request)
        self._worker = worker
        self._requestId: int | None = None
        self._mayBeDead = False  # a process from before, which has said nothing on this run
        self._answered = False  # the result is there: the worker does not matter any more
        self._folder = makeFolder(request.volumes, results)
        self._images = [self._folder / f"input_{number}.nrrd" for number in range(len(request.volumes))]
        self._writers: list[VolumeWriter] = []
        self._worker.event.connect(self._onEvent)
        self._worker.failed.connect(self._onWorkerFailed)
        self._fallback = CpuFallback(request)

    def start(self) -> None:
        """Begin; everything else happens in the event loop."""
        self._mayBeDead = self._worker.running
        try:
            self._worker.start()
            self._writers = [
                VolumeWriter(volume, path) for volume, path in zip(self.request.volumes, self._images, strict=True)
            ]
        except SegmentationError as error:
            self._fail(error)
            return
        self._later(self._export)

    @abstractmethod
    def _ask(self) -> int:
        """Send the request, and return its id."""

    @abstractmethod
    def _understandResult(self, event: dict[str, Any]) -> Callable[[], None]:
        """What a result asks for.

        Raises:
            AttributeError, KeyError, OverflowError, TypeError, ValueError: it is not as the protocol has it.
        """

    def _askFor(self, kind: str, **fields: Any) -> int:
        """Send a request with the fields that all kinds have, and these."""
        request = self.request
        return self._worker.request(
            kind,
            images=[str(path) for path in self._images],
            model=str(request.model.path),
            overlap=request.overlap,
            device=request.device,
            precision=request.precision,
            threads=min(request.threads, usable_cores()) or None,  # a scene may come from a larger computer
            compress=False,
            scratch=str(self._folder),
            **fields,
        )

    def _onCancel(self) -> None:
        if self._requestId is None or self._answered or not self._worker.running:
            super()._onCancel()
        else:
            self._worker.cancel(self._requestId)  # and its files are let go of before the run ends

    def _export(self) -> None:
        writer = next(w for w in self._writers if w.remaining)
        writer.writePiece()
        if any(w.remaining for w in self._writers):
            self._later(self._export)
            return
        self.seconds["export"] = time.perf_counter() - self._began
        self._send()

    def _onEvent(self, event: dict[str, Any]) -> None:
        if self._ended or self._requestId is None or event["id"] != self._requestId:
            return
        self._mayBeDead = False
        self._fallback.follow(event)
        try:
            handle = self._understand(event)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
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
        self._answered = event["event"] == "result" and not event.get("partial")
        handle()

    def _understand(self, event: dict[str, Any]) -> Callable[[], None]:
        """What an event asks for.

        Raises:
            AttributeError, KeyError, OverflowError, TypeError, ValueError: it is not as the protocol has it.
        """
        if event["event"] == "progress":
            return lambda: self._onProgress(event["step"], event["done"], event["total"], event["seconds_left"])
        if event["event"] == "error":
            message, code = self._inWords(event["message"]), event["code"]
            if code == "cancelled" and self._cancelReason is None:
                message, code = _ENDED_FROM_OUTSIDE, "worker"
            return lambda: self._onError(SegmentationError(message, code))
        return self._understandResult(event)

    def _onError(self, error: SegmentationError) -> None:
        isGpuFailure = self._fallback.isGpuFailure(error)
        self._onFailure(error)
        if self._ended and (error.code == "internal" or (error.code == "device" and isGpuFailure)):
            self._worker.discard()  # what failed may have made the GPU unusable to this process

    def _onWorkerFailed(self, error: SegmentationError) -> None:
        if self._mayBeDead and error.code == "worker" and self._cancelReason is None:
            self._beginAgainWithAnother()
        elif not self._answered:
            self._onFailure(error)

    def _beginAgainWithAnother(self) -> None:
        """The process that was there from before died without a word on this run: that was before, or is no matter."""
        self._mayBeDead = False
        self._worker.log.emit("the segmentation process had ended: starting another")
        if self._requestId is not None:
            self._requestId = None
            self._later(self._send)

    def _onFailure(self, error: SegmentationError) -> None:
        """End with an error of the worker, or begin again on the CPU."""
        if self._ended:
            return
        if self._cancelReason is None and self._mayBeginAgain() and self._fallback.applies(error):
            self._beginAgainOnCpu(error)
        else:
            self._fail(self._fallback.withHint(error))

    def _mayBeginAgain(self) -> bool:
        """Whether nothing that the run has made yet would be lost or there twice."""
        return True

    def _beginAgainOnCpu(self, error: SegmentationError) -> None:
        self._worker.log.emit(f"The GPU failed ({error}): going on with the CPU, as allowed under Advanced.")
        self._requestId = None
        self.request = replace(self.request, device="cpu")
        self._fallback = CpuFallback(self.request)
        self.seconds.pop("first window", None)
        # A lost GPU stays lost to the process that had it. Its end is not this run's.
        self._worker.failed.disconnect(self._onWorkerFailed)
        self._worker.discard()
        self._worker.failed.connect(self._onWorkerFailed)
        self.progress.emit("load model", 0, 1, None)
        self._later(self._send)

    def _send(self) -> None:
        self._requestId = self._ask()

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

    def _end(self) -> None:
        super()._end()
        self._worker.event.disconnect(self._onEvent)
        self._worker.failed.disconnect(self._onWorkerFailed)
        for writer in self._writers:
            writer.close()
        self._letGoOfFiles()

    def _letGoOfFiles(self) -> None:
        removeFolder(self._folder)
