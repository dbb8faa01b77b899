"""What all runs have in common: steps between turns of the event loop, cancelling, and exactly one end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import qt
import slicer

from SCDSegmentationLib.errors import SegmentationError, inWords
from SCDSegmentationLib.request import Request
from SCDSegmentationLib.results import PreparedResults
from SCDSegmentationLib.signal import Signal
from SCDSegmentationLib.volume_files import volumeProblem

_DONE = object()


class SteppedRun:
    """Ends with exactly one of ``finished`` and ``failed``.

    Signals:
        progress(str, int, int, object): step, done, total and seconds left (None while unknown).
        finished(object): what came out.
        failed(SegmentationError): nothing was changed in the scene; code "cancelled" if the user asked for it.

    Args:
        request: what to do.

    Raises:
        SegmentationError: the request cannot run.
    """

    CANCELLED = "The segmentation was cancelled; the scene is as it was."
    CANCEL_HINT = "Stop the segmentation; the scene stays as it was."

    def __init__(self, request: Request) -> None:
        request.check()
        self.progress, self.finished, self.failed = Signal(), Signal(), Signal()
        self.request = request
        self.seconds: dict[str, float] = {}
        self._cancelReason: str | None = None
        self._ended = False
        self._began = time.perf_counter()

    @property
    def cancelling(self) -> bool:
        """Whether the run was asked to stop and has not ended yet."""
        return self._cancelReason is not None and not self._ended

    def cancel(self, reason: str | None = None) -> None:
        """Stop; ``failed`` is emitted within a second."""
        if not self._ended and self._cancelReason is None:
            self._cancelReason = reason or self.CANCELLED
            self._onCancel()

    def _onCancel(self) -> None:
        """Let go of what the run waits for."""
        self._fail(SegmentationError(self._cancelReason, "cancelled"))

    def _later(self, step: Callable[[], None]) -> None:
        """Go on after the event loop has had its turn."""
        qt.QTimer.singleShot(0, lambda: self._step(step))

    def _step(self, step: Callable[[], None], evenIfCancelled: bool = False) -> None:
        if self._ended:
            return
        try:
            if self._cancelReason is not None and not evenIfCancelled:
                raise SegmentationError(self._cancelReason, "cancelled")
            self._requireVolumes()
            step()
        except SegmentationError as error:
            self._fail(error)
        except OSError as error:
            self._fail(
                SegmentationError(
                    f"Temporary files cannot be written to {slicer.app.temporaryPath} ({error.strerror or error}): "
                    "free disk space, or choose another temporary folder in the application settings.",
                    "resource",
                )
            )
        except Exception as error:
            self._fail(inWords(error))
            raise

    def _requireVolumes(self) -> None:
        for volume in self.request.volumes:
            problem = volumeProblem(volume)
            if problem:
                raise SegmentationError(f"An input was removed or changed during the run. {problem}")

    def _read(self, report: dict[str, Any], files: Mapping[str, Path]) -> None:
        """Read a result in pieces, one a turn of the event loop; then put it into the scene and end."""
        prepared = PreparedResults(self.request.volumes, self.request.model, report)
        self._readPiece(prepared, prepared.read(files))

    def _readPiece(self, prepared: PreparedResults, pieces: Iterator[None]) -> None:
        if next(pieces, _DONE) is _DONE:
            self._later(lambda: self._commit(prepared))
        else:
            self._later(lambda: self._readPiece(prepared, pieces))

    def _commit(self, prepared: PreparedResults) -> None:
        segmentation, importance = self.request.segmentation, self.request.importance
        # An output that was deleted in the meantime is made anew.
        results = prepared.commit(
            segmentation if segmentation is not None and segmentation.GetScene() else None,
            importance if importance is not None and importance.GetScene() else None,
        )
        self._succeed(results)

    def _succeed(self, outcome: Any) -> None:
        self.seconds["total"] = time.perf_counter() - self._began
        self._end()
        self.finished.emit(outcome)

    def _fail(self, error: SegmentationError) -> None:
        if self._ended:
            return
        self._end()
        if self._cancelReason is not None:
            error = SegmentationError(self._cancelReason, "cancelled")
        self.failed.emit(error)

    def _end(self) -> None:
        self._ended = True
