"""Where events go: a copy of stdout that no library can print into."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

Send = Callable[..., None]
"""Called with the event's name and its fields; see :meth:`Channel.send`."""


def take_stdout() -> BinaryIO:
    """Take stdout for events alone; whatever is printed from now on, by C++ libraries too, goes to stderr.

    Returns:
        A stream to what was stdout. Child processes do not inherit it.
    """
    sys.stdout.flush()
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return events


def note(text: str) -> None:
    """Print a line to stderr, if anybody still reads that: a parent that has died does not."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


class Channel:
    """Writes events, one JSON object a line, ASCII only; may be used from any thread.

    Args:
        stream: binary, buffered.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, event: str, **fields: Any) -> None:
        """Write one event at once; without a reader, it is lost: the closing of stdin will end the process.

        Raises:
            ValueError: a field holds NaN or infinity, which JSON does not have; nothing is written then.
        """
        line = json.dumps({"event": event, **fields}, allow_nan=False).encode("ascii") + b"\n"
        with self._lock:
            try:
                self._stream.write(line)
                self._stream.flush()
            except OSError as error:
                note(f"event {event!r} could not be sent: {error}")
