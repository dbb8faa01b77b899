"""The worker process as the panel sees it: requests in, events out, and an end that always comes.

One JSON object a line; ``docs/worker_protocol.md`` has the requests and events.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import qt
import slicer

import scdseg
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.signal import Signal

_MAX_LINE_BYTES = 16 * 1024 * 1024
_CANCEL_GRACE_MS = 700
_STOP_GRACE_MS = 2000
_LAST_LINES = 5
_STOPPED = "The segmentation process was stopped, and what was running in it was cancelled."


class WorkerProcess:
    """Starts ``scdseg.worker`` when it is first needed and keeps it until :meth:`stop`.

    Signals:
        event(dict): progress, result and error events of requests, as the worker sent them.
        log(str): a line for the log.
        failed(SegmentationError): the process ended, was ended, or sent what is not protocol; no more events will
            come.
    """

    def __init__(self, executable: str | None = None, arguments: list[str] | None = None) -> None:
        self.event, self.log, self.failed = Signal(), Signal(), Signal()
        self._executable = executable or pythonExecutable()
        self._arguments = arguments or ["-m", "scdseg.worker", "--parent", str(os.getpid())]
        self._process: qt.QProcess | None = None
        self._pid: int | None = None  # of Python itself: Slicer's launcher stands between
        self._lastId = 0
        self._open: set[int] = set()  # requests that have had neither result nor error
        self._received = b""
        self._ready = False
        self._errorText = b""
        self._errorLines: list[str] = []
        self.run: Any = None  # what runs in it now; set by who started it

    @property
    def running(self) -> bool:
        """Whether a process is there."""
        return self._process is not None

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
        self._received, self._errorText, self._errorLines = b"", b"", []
        self._ready, self._pid = False, None
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
        self._received += process.readAllStandardOutput().data()
        if len(self._received) > _MAX_LINE_BYTES:
            self._failForGarbage(self._received[:80])
            return
        *lines, self._received = self._received.split(b"\n")
        for line in lines:
            if self._process is not process:
                return  # an event before this one ended the process
            self._onLine(line)

    def _onLine(self, line: bytes) -> None:
        text = line.decode("utf-8", errors="replace").strip()
        if not text:
            return
        try:
            message = json.loads(text)
            kind = message["event"]
        except (ValueError, TypeError, KeyError):
            if self._ready:
                self._failForGarbage(line)
            else:
                self.log.emit(text)  # the launcher or Python itself may speak before the worker does
            return
        if kind == "ready":
            self._ready = True
            self._pid = message.get("pid")
        elif kind == "loaded":
            self.log.emit(f"segmentation process ready after {message.get('seconds', 0):.1f} s")
        elif kind == "log":
            self.log.emit(f"{message.get('level', 'info')}: {message.get('text', '')}")
        elif kind == "error" and message.get("id") is None:
            self.log.emit(f"error: {message.get('message', '')}")
        else:
            if kind in ("result", "error") and not message.get("partial", False):
                self._open.discard(message.get("id"))
            self.event.emit(message)

    def _onErrorOutput(self) -> None:
        if self._process is None:
            return
        self._errorText += self._process.readAllStandardError().data()
        *complete, self._errorText = self._errorText.split(b"\n")
        lines = [line.decode("utf-8", errors="replace").rstrip() for line in complete if line.strip()]
        self._errorLines = (self._errorLines + lines)[-_LAST_LINES:]
        for line in lines:
            self.log.emit(line)

    def _onProcessError(self, error: int) -> None:
        if error == qt.QProcess.FailedToStart:
            self._fail(f"The segmentation process could not be started ({self._executable}): install Slicer again.")

    def _onFinished(self, *_: Any) -> None:
        if self._process is None:
            return
        self._onOutput()
        self._errorText += b"\n"  # the last line may have had no end
        self._onErrorOutput()
        last = f" Its last words: {self._errorLines[-1]}" if self._errorLines else ""
        self._fail(
            "The segmentation process ended unexpectedly; it may have run out of memory. Press Apply to start it "
            f"again, or choose another device under Advanced.{last}"
        )

    def _failForGarbage(self, line: bytes) -> None:
        start = line[:80].decode("utf-8", errors="replace")
        self._fail(
            f"The segmentation process sent what cannot be understood ({start!r}) and was stopped. Press Apply to "
            "start it again; if that does not help, install the extension again."
        )

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
        return process

    def _killTree(self, process: qt.QProcess) -> None:
        """End Python itself and the launcher that Slicer puts before it; killing only that would orphan Python."""
        if process.state() == qt.QProcess.NotRunning:
            # This may be called from the process's own signal, which goes on with it: let it live until the next turn.
            qt.QTimer.singleShot(0, lambda: process.deleteLater())
            return
        if self._pid is not None:
            with suppress(OSError):
                os.kill(self._pid, getattr(signal, "SIGKILL", signal.SIGTERM))
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
    path = environment.value("PYTHONPATH", "")
    environment.insert("PYTHONPATH", os.pathsep.join(part for part in (folder, path) if part))
    environment.insert("PYTHONUTF8", "1")
    return environment
