"""The worker process as the panel sees it: requests in, events out, and an end that always comes.

One JSON object a line; ``docs/worker_protocol.md`` has the requests and events.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import qt
import slicer

import scdseg
from scdseg.worker import PROTOCOL
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.signal import Signal
from SCDSegmentationLib.worker_events import BadEventError, NoEventError, isOwn, ownProcess, parseEvent
from SCDSegmentationLib.worker_output import ErrorLines, FloodError, LineQueue, LogLines

_CANCEL_GRACE_MS = 700
_STOP_GRACE_MS = 2000
_SLICE_S = 0.02  # of work in one turn of the event loop
_AGAIN = "Press Apply to start it again; if that does not help, install the extension again."
_STOPPED = "The segmentation process was stopped, and what was running in it was cancelled: press Apply to run again."


class WorkerProcess:
    """Starts ``scdseg.worker`` when it is first needed and keeps it until :meth:`stop`.

    Signals:
        event(dict): progress, result and error events of requests that are open, with the fields that the protocol
            has; what a result gives is for its reader to check.
        log(str): a line for the log.
        failed(SegmentationError): the process ended, was ended, or sent what is not protocol; no more events will
            come.
    """

    def __init__(self, executable: str | None = None, arguments: list[str] | None = None) -> None:
        self.event, self.log, self.failed = Signal(), Signal(), Signal()
        self._executable = executable or pythonExecutable()
        self._arguments = arguments or ["-m", "scdseg.worker", "--parent", str(os.getpid())]
        self._process: qt.QProcess | None = None
        self._lastId = 0
        self._open: set[int] = set()  # requests that have had neither result nor error
        self._log = LogLines(self.log.emit)
        self._forgetOutput()
        self.run: Any = None  # what runs in it now; set by who started it

    def _forgetOutput(self) -> None:
        """Begin with a process that has not said anything yet."""
        self._lines, self._errors = LineQueue(), ErrorLines(self._log)
        self._goingOn = self._finished = self._ready = False
        self._python: Any = None  # the process of Python itself: Slicer's launcher stands between

    @property
    def running(self) -> bool:
        """Whether a process is there."""
        return self._process is not None

    @property
    def _pid(self) -> int | None:
        """Number of the process of Python itself, once it is known."""
        return None if self._python is None else self._python.pid

    def start(self) -> None:
        """Start the process unless it is there.

        Raises:
            SegmentationError: there is no Python to start it with.
        """
        if self._process is not None:
            return
        if not self._executable or not Path(self._executable).is_file():
            raise SegmentationError(
                f"Slicer's Python ({self._executable}) was not found, so the segmentation process cannot start: "
                "install Slicer again.",
                "worker",
            )
        process = qt.QProcess()
        process.setProcessEnvironment(_environment())
        process.readyReadStandardOutput.connect(self._onOutput)
        process.readyReadStandardError.connect(self._onErrorOutput)
        process.finished.connect(self._onFinished)
        process.errorOccurred.connect(self._onProcessError)
        self._forgetOutput()
        self._process = process
        process.start(self._executable, self._arguments)

    def request(self, name: str, **fields: Any) -> int:
        """Send a request, starting the process if needed.

        Returns:
            The request's id, which its events carry.
        """
        self.start()
        self._lastId += 1
        self._open.add(self._lastId)
        self._send({"id": self._lastId, "request": name, **fields})
        return self._lastId

    def cancel(self, requestId: int) -> None:
        """Ask to stop a request; a worker that does not stop in time is ended, so that ``failed`` is emitted."""
        if self._process is None:
            return
        self.request("cancel", target=requestId)
        process = self._process
        qt.QTimer.singleShot(_CANCEL_GRACE_MS, lambda: self._endIfStillOpen(process, requestId))

    def stop(self) -> None:
        """End the process and wait until it is gone: politely first, then by force. Ends what runs in it."""
        process = self._detach()
        if process is None:
            return
        process.closeWriteChannel()
        if not process.waitForFinished(_STOP_GRACE_MS):
            self._killTree(process)
            process.waitForFinished(_STOP_GRACE_MS)
        self.failed.emit(SegmentationError(_STOPPED, "cancelled"))

    def discard(self) -> None:
        """End the process at once, without waiting. Ends what runs in it."""
        self._fail(_STOPPED, "cancelled")

    def _endIfStillOpen(self, process: qt.QProcess, requestId: int) -> None:
        if self._process is process and requestId in self._open:
            self._fail("The segmentation process did not stop in time and was ended.", "cancelled")

    def _send(self, message: dict[str, Any]) -> None:
        self._process.write(json.dumps(message).encode("ascii") + b"\n")

    def _onOutput(self) -> None:
        process = self._process
        if process is None:
            return
        try:
            self._lines.add(process.readAllStandardOutput().data())
        except FloodError as error:
            if error.unfinished:
                self._failForGarbage(error.unfinished)
            else:
                self._fail(f"The segmentation process sent more than can be read and was stopped. {_AGAIN}")
            return
        if not self._goingOn:
            self._handleLines(process)

    def _handleLines(self, process: qt.QProcess) -> None:
        """Handle lines for a moment, and go on after the event loop has had its turn."""
        end = time.perf_counter() + _SLICE_S
        while self._process is process and self._lines:  # an event may have ended the process
            if time.perf_counter() > end:
                self._goOnLater(process)
                return
            try:
                self._onLine(self._lines.next())
            except Exception:
                self._goOnLater(process)  # an error of one who listens does not keep the rest from being heard
                raise
        if self._process is process and self._finished:
            self._onEnd()

    def _goOnLater(self, process: qt.QProcess) -> None:
        self._goingOn = True
        qt.QTimer.singleShot(0, lambda: self._goOn(process))

    def _goOn(self, process: qt.QProcess) -> None:
        if self._process is process:
            self._goingOn = False
            self._handleLines(process)

    def _onLine(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            event = parseEvent(line)
        except NoEventError:
            if self._ready:
                self._failForGarbage(line)
            else:
                self._log.addAll([line])  # the launcher or Python itself may speak before the worker does
            return
        except BadEventError:
            self._failForGarbage(line)
            return
        kind = event["event"]
        if (kind == "ready") == self._ready:  # it comes first, and once
            self._failForGarbage(line)
        elif kind == "ready":
            self._onReady(event, line)
        elif kind == "loaded":
            self._log.add(f"segmentation process ready after {event['seconds']:.1f} s")
        elif kind == "log":
            self._log.add(f"{event['level']}: {event['text']}")
        elif event["id"] is None:
            self._log.add(f"error: {event['message']}")
        elif event["id"] in self._open:
            if kind == "error" or (kind == "result" and not event.get("partial")):
                self._open.discard(event["id"])
            self.event.emit(event)

    def _onReady(self, event: dict[str, Any], line: bytes) -> None:
        try:
            self._python = ownProcess(event["pid"], self._process.processId())
        except BadEventError:
            self._failForGarbage(line)
            return
        self._ready = True
        if event.get("protocol") != PROTOCOL:
            self._fail(
                f"The segmentation process speaks version {event.get('protocol')!r:.20} of the protocol and the panel "
                f"version {PROTOCOL}: the extension's files are of different versions. Install the extension again, "
                "and start Slicer anew."
            )

    def _onErrorOutput(self) -> None:
        if self._process is not None:
            self._errors.add(self._process.readAllStandardError().data())

    def _onProcessError(self, error: int) -> None:
        if error == qt.QProcess.FailedToStart:
            self._fail(f"The segmentation process could not be started ({self._executable}): install Slicer again.")

    def _onFinished(self, *_: Any) -> None:
        if self._process is None:
            return
        self._finished = True  # its last lines come first
        self._onErrorOutput()
        self._onOutput()

    def _onEnd(self) -> None:
        self._errors.end()
        last = f" Its last words: {self._errors.lastWords}" if self._errors.lastWords else ""
        self._fail(
            "The segmentation process ended unexpectedly; it may have run out of memory. Press Apply to start it "
            f"again, or choose another device under Advanced.{last}"
        )

    def _failForGarbage(self, line: bytes) -> None:
        start = line[:80].decode("utf-8", errors="replace")
        self._fail(f"The segmentation process sent what cannot be understood ({start!r}) and was stopped. {_AGAIN}")

    def _fail(self, message: str, code: str = "worker") -> None:
        process = self._detach()
        if process is None:
            return
        self._killTree(process)
        self.failed.emit(SegmentationError(message, code))

    def _detach(self) -> qt.QProcess | None:
        """Forget the process, so that nothing it still says is heard."""
        process, self._process = self._process, None
        self._open.clear()
        if process is not None:
            process.readyReadStandardOutput.disconnect(self._onOutput)
            process.readyReadStandardError.disconnect(self._onErrorOutput)
            process.finished.disconnect(self._onFinished)
            process.errorOccurred.disconnect(self._onProcessError)
            # Or Qt would collect what it goes on writing.
            process.closeReadChannel(qt.QProcess.StandardOutput)
            process.closeReadChannel(qt.QProcess.StandardError)
        return process

    def _killTree(self, process: qt.QProcess) -> None:
        """End Python itself and the launcher that Slicer puts before it; killing only that would orphan Python."""
        if process.state() == qt.QProcess.NotRunning:
            # This may be called from the process's own signal, which goes on with it: let it live until the next turn.
            qt.QTimer.singleShot(0, lambda: process.deleteLater())
            return
        # Asked once more: since then the number may have gone to another process.
        if self._python is not None and isOwn(self._python, process.processId()):
            with suppress(OSError):
                os.kill(self._python.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        process.closeWriteChannel()
        process.kill()
        # Reaped when it is gone; until then Qt's object must live.
        process.finished.connect(lambda *_: process.deleteLater())


def sharedWorker() -> WorkerProcess:
    """The process that panel and scripts share; it ends with the application."""
    global _shared
    if _shared is None:
        _shared = WorkerProcess()
        slicer.app.connect("aboutToQuit()", _shared.stop)
    return _shared


_shared: WorkerProcess | None = None


def pythonExecutable() -> str:
    """Slicer's own Python, which the worker runs in."""
    return sys.executable or shutil.which("PythonSlicer") or ""


def _environment() -> qt.QProcessEnvironment:
    environment = qt.QProcessEnvironment.systemEnvironment()
    folder = str(Path(scdseg.__file__).resolve().parent.parent)
    # An empty part would stand for the folder that Slicer was started in, and so would the first place where ``-m``
    # looks: a file there with the name of a module, such as queue.py, would be run.
    paths = [folder, *filter(None, environment.value("PYTHONPATH", "").split(os.pathsep))]
    environment.insert("PYTHONPATH", os.pathsep.join(paths))
    environment.insert("PYTHONSAFEPATH", "1")
    environment.insert("PYTHONUTF8", "1")
    return environment
