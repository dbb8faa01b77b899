"""What ends the process from outside: the parent's death and SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

_POLL_S = 0.2


def watch_parent(pid: int, end: Callable[[], None]) -> None:
    """Call ``end`` when the process ``pid`` is gone, also if a new process has its number by then."""
    threading.Thread(target=_wait_for_end_of, args=(pid, end), daemon=True).start()


def _wait_for_end_of(pid: int, end: Callable[[], None]) -> None:
    import psutil

    try:
        parent = psutil.Process(pid)
        # A killed process that nobody has waited for still has its number.
        while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
            time.sleep(_POLL_S)
    except psutil.NoSuchProcess:
        pass
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
