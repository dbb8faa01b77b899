"""What ends the process from outside: the parent's death and SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

_POLL_S = 0.2


class Parent:
    """The process that the worker belongs to, told apart from a later one that has its number.

    Args:
        pid: its number.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._lock = threading.Lock()
        self._process: Any = None
        self._never_was = False

    def gone(self) -> bool:
        """Whether it has ended; a killed process that nobody has waited for still has its number, but has ended."""
        import psutil

        with self._lock:
            if self._process is None and not self._never_was:
                try:
                    self._process = psutil.Process(self._pid)
                except psutil.NoSuchProcess:
                    self._never_was = True
                except psutil.Error:  # it cannot be asked, so it is there
                    return False
            if self._never_was:
                return True
        try:
            return not self._process.is_running() or self._process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False

    def watch(self, end: Callable[[], None]) -> None:
        """Call ``end`` when it is gone."""
        threading.Thread(target=self._wait, args=(end,), daemon=True).start()

    def _wait(self, end: Callable[[], None]) -> None:
        while not self.gone():
            time.sleep(_POLL_S)
        end()


def watch_sigterm(end: Callable[[], None]) -> None:
    """Call ``end`` on SIGTERM, even while the main thread is inside a library's call; Windows has no such signal."""
    if sys.platform == "win32":
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # Python's own handler would wait for the main thread; the byte is written at once.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    threading.Thread(target=_wait_for_sigterm, args=(reader, end), daemon=True).start()


def _wait_for_sigterm(reader: int, end: Callable[[], None]) -> None:
    while signal.SIGTERM not in os.read(reader, 64):
        pass
    end()
