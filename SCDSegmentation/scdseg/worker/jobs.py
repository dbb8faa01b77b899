"""Requests in work: each gets exactly one closing event, and can be cancelled from another thread."""

from __future__ import annotations

import _thread
import threading
from queue import SimpleQueue
from typing import Any

from scdseg.errors import Cancelled
from scdseg.worker.channel import Send
from scdseg.worker.requests import ProtocolError, Run, Sweep, Work

# A cancelled run mostly stops by itself, where it polls. If it has not after the first time, it is interrupted, and if
# a library's call still goes on after the second, it is answered for; what it makes is thrown away.
_PATIENCE_S = 0.15
_LAST_CALL_S = 0.3
# What waits takes memory; a user interface has two or three requests open.
_MAX_OPEN = 100


class Busy(Exception):
    """A segmentation is asked for while another one is not finished, or too many requests wait."""


class Job:
    """A request from its arrival to its closing event.

    Any thread may cancel it and ask for its state; all else is for the main thread, which works on it.

    Args:
        request: what is asked for.
        send: writes an event.
    """

    def __init__(self, request: Work, send: Send) -> None:
        self.request = request
        self._send = send
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._closed = threading.Event()
        self._started = False
        self._committed = False
        self.device: str | None = None  # that it computes on, as soon as that is known
        # True while an interrupt of the main thread would do harm: it holds a lock, or it has begun to rename files.
        self._shielded = False

    @property
    def closed(self) -> bool:
        """Whether the closing event has been sent."""
        return self._closed.is_set()

    @property
    def interruptible(self) -> bool:
        """Whether the main thread shall be interrupted where it is now."""
        return self._cancelled.is_set() and not self._shielded

    @property
    def _on_device(self) -> dict[str, str]:
        """The field that tells a reader on which device a failure was."""
        return {} if self.device is None else {"device": self.device}

    def cancelled(self) -> bool:
        """Whether work shall stop: the engine polls this."""
        return self._cancelled.is_set()

    def start(self) -> bool:
        """Say that work begins; False if it shall not, because the job was cancelled while it waited."""
        with self._lock:
            self._started = not self.closed
            return self._started

    def progress(self, step: str, done: int, total: int, seconds_left: float | None = None) -> None:
        """Tell how far a step is.

        Raises:
            Cancelled: the job shall stop.
        """
        self._stop_if_cancelled()
        left = None if seconds_left is None else round(seconds_left, 2)
        self._tell("progress", step=step, done=done, total=total, seconds_left=left, **self._on_device)

    def log(self, level: str, text: str) -> None:
        """Tell a person something.

        Args:
            level: ``"info"`` or ``"warning"``.
            text: one sentence.

        Raises:
            Cancelled: the job shall stop.
        """
        self._stop_if_cancelled()
        self._tell("log", level=level, text=text)

    def partial_result(self, **fields: Any) -> None:
        """Hand on a part of the result, which :meth:`commit` was called for.

        Raises:
            Cancelled: the job shall stop.
        """
        self._tell("result", partial=True, **fields)

    def _tell(self, event: str, **fields: Any) -> None:
        self._shielded = True
        with self._lock:
            if not self.closed:
                self._send(event, id=self.request.id, **fields)
        self._committed = self._shielded = False
        # An interrupt that came meanwhile did nothing.
        self._stop_if_cancelled()

    def _stop_if_cancelled(self) -> None:
        if self.cancelled():
            raise Cancelled("cancelled")

    def commit(self) -> None:
        """Say that files get their final names now; until the next event, cancelling comes too late.

        Raises:
            Cancelled: it came before.
        """
        self._shielded = True
        with self._lock:
            self._committed = not self.cancelled()
        if not self._committed:
            raise Cancelled("cancelled")

    def finish(self, **fields: Any) -> None:
        """Close with a result, unless the job is closed already."""
        with self._lock:
            self._close("result", **fields)

    def fail(self, code: str, message: str) -> None:
        """Close with an error, unless the job is closed already; a cancelled job's error is that it was cancelled."""
        with self._lock:
            if self._cancelled.is_set():
                self._close_cancelled()
            else:
                self._close("error", code=code, message=message, **self._on_device)

    def cancel(self, patience_s: float = _PATIENCE_S) -> bool:
        """Stop the job; False if it is closed already.

        Args:
            patience_s: seconds until the main thread is interrupted if the job does not stop by itself.
        """
        with self._lock:
            if self.closed:
                return False
            insist = self._started and not self._cancelled.is_set()
            self._cancelled.set()
            if not self._started:
                self._close_cancelled()
        if insist:
            threading.Thread(target=self._insist, args=(patience_s,), daemon=True).start()
        return True

    def _insist(self, patience_s: float) -> None:
        if self._closed.wait(patience_s):
            return
        _thread.interrupt_main()
        if self._closed.wait(_LAST_CALL_S):
            return
        with self._lock:
            if not self._committed:
                self._close_cancelled()

    def _close_cancelled(self) -> None:
        kept = "what was reported as complete is kept" if isinstance(self.request, Sweep) else "nothing was written"
        self._close("error", code="cancelled", message=f"cancelled: {kept}")

    def _close(self, event: str, **fields: Any) -> None:
        if self.closed:
            return
        # First, because whoever reads the event may ask for the next segmentation at once.
        self._closed.set()
        try:
            self._send(event, id=self.request.id, **fields)
        except ValueError:
            self._closed.clear()
            raise


class Jobs:
    """The jobs that are not closed yet, in the order in which they came.

    Args:
        send: writes an event.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._open: dict[int, Job] = {}
        self._queue: SimpleQueue[Job | None] = SimpleQueue()

    def add(self, request: Work) -> None:
        """Queue a request.

        Raises:
            Busy: a segmentation is not finished, and this is another one; or too many requests wait.
            ProtocolError: a request with this id is not finished.
        """
        with self._lock:
            self._open = {number: job for number, job in self._open.items() if not job.closed}
            if request.id in self._open:
                # Without the id: the error must not be taken for the other request's end.
                raise ProtocolError(f"id {request.id} belongs to a request that is not finished: give each its own")
            running = any(isinstance(job.request, Run) for job in self._open.values())
            if running and isinstance(request, Run):
                raise Busy("another segmentation is running: wait for its end or cancel it first")
            if len(self._open) >= _MAX_OPEN:
                raise Busy(f"{_MAX_OPEN} requests are not finished: wait for their answers")
            job = self._open[request.id] = Job(request, self._send)
        self._queue.put(job)

    def next(self) -> Job | None:
        """Wait for the next job; None when there will be no more."""
        return self._queue.get()

    def cancel(self, target: int) -> bool:
        """Stop a job; False if there is none of this id that is not finished."""
        with self._lock:
            job = self._open.get(target)
        return job is not None and job.cancel()

    def cancel_all(self) -> None:
        """Stop all jobs at once; :meth:`next` then returns None."""
        with self._lock:
            jobs = list(self._open.values())
        for job in jobs:
            job.cancel(patience_s=0)
        self._queue.put(None)

    def fail_all(self, code: str, message: str) -> None:
        """Close all jobs with an error."""
        with self._lock:
            jobs = list(self._open.values())
        for job in jobs:
            job.fail(code, message)
