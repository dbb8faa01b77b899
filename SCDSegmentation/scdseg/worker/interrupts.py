"""Interrupting the main thread in the middle of a job, and nowhere else."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from scdseg.errors import Cancelled
from scdseg.worker.jobs import Job

_Returned = TypeVar("_Returned")


class Interrupts:
    """Turns ``_thread.interrupt_main`` into a KeyboardInterrupt if a cancelled job is running, else into nothing.

    A console's Ctrl-C is such an interrupt, too: it reaches every process of the console, and the worker ends with its
    parent, not by itself. To be made and used in the main thread.
    """

    def __init__(self) -> None:
        self._job: Job | None = None
        signal.signal(signal.SIGINT, self._handle)

    def run(self, job: Job, work: Callable[[], _Returned]) -> _Returned:
        """Do a job's work, which can be interrupted meanwhile.

        Raises:
            Cancelled: it was.
        """
        try:
            self._job = job
            try:
                return work()
            finally:
                self._job = None
        except KeyboardInterrupt:
            raise Cancelled("cancelled") from None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # Signal handlers run in the main thread between two of its steps: no lock is needed, and none may be taken.
        if self._job is not None and self._job.interruptible:
            # Once is enough: a second one could hit the cleaning up after the first.
            self._job = None
            raise KeyboardInterrupt
