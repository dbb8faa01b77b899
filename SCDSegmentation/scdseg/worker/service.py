"""The worker's threads: one reads requests, the main one works, and all can end the process."""

from __future__ import annotations

import os
import threading
import time
import traceback
from typing import TYPE_CHECKING, BinaryIO

from scdseg.allocator import give_back_freed_memory
from scdseg.errors import ScdsegError
from scdseg.worker.channel import Channel, note
from scdseg.worker.interrupts import Interrupts
from scdseg.worker.jobs import Busy, Job, Jobs
from scdseg.worker.lifetime import Parent, watch_sigterm
from scdseg.worker.requests import MAX_LINE_BYTES, Cancel, ProtocolError, Quit, Run, parse_request
from scdseg.worker.scratch import Scratch

if TYPE_CHECKING:
    from scdseg.worker.engine import Engine

# How long a run may take to clean up after itself when the process is to end.
_CLEAN_UP_S = 1.5


class Service:
    """Answers requests until it is ended.

    Args:
        channel: for events.
        requests: binary stream, one request a line.
        parent: process to end with; None: stdin alone decides.
    """

    def __init__(self, channel: Channel, requests: BinaryIO, parent: int | None) -> None:
        self._channel = channel
        self._requests = requests
        self._jobs = Jobs(channel.send)
        self._interrupts = Interrupts()
        self._ending = threading.Lock()
        self._engine: Engine | None = None
        owner = None if parent is None else Parent(parent)
        self._scratch = Scratch(owner)
        watch_sigterm(self.end)
        if owner is not None:
            owner.watch(self.end)
        threading.Thread(target=self._read, daemon=True).start()

    def serve(self) -> int:
        """Load the engine and work in the calling thread, which must be the main one.

        Returns:
            Exit code: 0, or 1 if the engine cannot be loaded.
        """
        began = time.perf_counter()
        try:
            from scdseg.worker.engine import Engine

            engine = self._engine = Engine()
        except Exception as error:  # a broken installation fails in many ways
            note(traceback.format_exc())
            message = f"the engine cannot be loaded ({type(error).__name__}: {error}): install its packages again"
            self._channel.send("error", id=None, code="internal", message=message)
            self._jobs.fail_all("internal", message)
            return 1
        self._channel.send("loaded", seconds=round(time.perf_counter() - began, 3))
        while (job := self._jobs.next()) is not None:
            if job.start():
                self._work(job, engine)
        self._scratch.remove_if_orphaned()
        return 0

    def end(self) -> None:
        """Stop what runs and end the process soon; may be called from any thread, any number of times."""
        if self._ending.acquire(blocking=False):
            threading.Thread(target=self._end_late, daemon=True).start()
            self._jobs.cancel_all()

    def _end_late(self) -> None:
        # Whatever cannot be cleared away, the process ends: nobody else would end it.
        try:
            time.sleep(_CLEAN_UP_S)
            if self._engine is not None:
                self._engine.discard_files()
        finally:
            try:
                self._scratch.remove_if_orphaned()
            finally:
                os._exit(0)

    def _work(self, job: Job, engine: Engine) -> None:
        try:
            job.finish(**self._interrupts.run(job, lambda: engine.run(job)))
            give_back_freed_memory()
            return
        except ScdsegError as error:
            code, message = error.code, str(error)
        except MemoryError:
            code, message = "resource", "memory ran out: close other programs, crop the volume, or use a larger machine"
        except Exception as error:  # whatever it is, the next request shall be served
            note(traceback.format_exc())
            code, message = "internal", f"{type(error).__name__}: {error} (an error of the program: see its log)"
        # Only now the error's traceback is gone, and with it the last hold on what the run had in memory.
        engine.clean_up()
        job.fail(code, message)

    def _read(self) -> None:
        try:
            # One byte more than is allowed, so that a longer line is noticed, and never held in memory.
            while line := self._requests.readline(MAX_LINE_BYTES + 1):
                try:
                    self._take(line)
                except ProtocolError as error:
                    self._channel.send("error", id=error.request_id, code="protocol", message=str(error))
                while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                    line = self._requests.readline(MAX_LINE_BYTES + 1)
        finally:
            self.end()

    def _take(self, line: bytes) -> None:
        request = parse_request(line)
        if isinstance(request, Cancel):
            self._channel.send("result", id=request.id, target=request.target, found=self._jobs.cancel(request.target))
        elif isinstance(request, Quit):
            self._channel.send("result", id=request.id)
            self.end()
        else:
            try:
                self._jobs.add(request)
                if isinstance(request, Run) and request.scratch is not None:
                    self._scratch.add(request.scratch)
            except Busy as error:
                self._channel.send("error", id=request.id, code="busy", message=str(error))
