"""What the worker writes, as lines: however much and however fast, memory and time that they take are bounded."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import qt

from SCDSegmentationLib.worker_events import MAX_LINE_BYTES, shortened

_MAX_WAITING_BYTES = 2 * MAX_LINE_BYTES
# A panel that is busy for a minute finds a few thousand lines; so many more, faster than anyone could want them, are an
# error of the worker.
_MAX_WAITING_LINES = 20_000
_LINES_A_SECOND = 1000
_LOG_CHARACTERS = 1000  # of a line in the log
_LOG_LINES_A_SECOND = 200


class FloodError(Exception):
    """More came than is kept.

    Args:
        unfinished: beginning of a line without an end, if that is what it is.
    """

    def __init__(self, unfinished: bytes = b"") -> None:
        super().__init__()
        self.unfinished = unfinished


class LineQueue:
    """Complete lines of a stream in the order in which they came."""

    def __init__(self) -> None:
        self._unfinished = b""
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._allowed = float(_MAX_WAITING_LINES)
        self._filled = time.monotonic()

    def add(self, data: bytes) -> None:
        """Take what the stream brought.

        Raises:
            FloodError: a line is too long, or there are too many.
        """
        *complete, self._unfinished = (self._unfinished + data).split(b"\n")
        self._lines.extend(complete)
        self._bytes += sum(map(len, complete))
        now = time.monotonic()
        self._allowed = min(self._allowed + (now - self._filled) * _LINES_A_SECOND, _MAX_WAITING_LINES) - len(complete)
        self._filled = now
        if len(self._unfinished) > MAX_LINE_BYTES:
            raise FloodError(self._unfinished[:MAX_LINE_BYTES])
        if self._allowed < 0 or self._bytes > _MAX_WAITING_BYTES:
            raise FloodError

    def __bool__(self) -> bool:
        return bool(self._lines)

    def next(self) -> bytes:
        """Take out the oldest line."""
        line = self._lines.popleft()
        self._bytes -= len(line)
        return line


class LogLines:
    """Hands lines on to a log: long ones cut, and of those that come too fast only the first in each second.

    Args:
        emit: called with a line.
    """

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._count = 0  # in this second

    def add(self, text: str) -> None:
        """A line for the log."""
        self.addAll([text.encode("utf-8", errors="replace")])

    def addAll(self, lines: list[bytes]) -> None:
        """Lines as a stream brought them, at least one."""
        if not self._count:
            qt.QTimer.singleShot(1000, self._nextSecond)
        room = max(_LOG_LINES_A_SECOND - self._count, 0)
        self._count += len(lines)
        for line in lines[:room]:
            self._emit(_decoded(line))

    def _nextSecond(self) -> None:
        leftOut, self._count = self._count - _LOG_LINES_A_SECOND, 0
        if leftOut > 0:
            self._emit(f"… {leftOut} more lines were left out")


class ErrorLines:
    """The worker's stderr: goes to the log, and its last words are kept.

    Args:
        log: that the lines go to.
    """

    def __init__(self, log: LogLines) -> None:
        self._log = log
        self._unfinished = b""
        self._last = b""

    @property
    def lastWords(self) -> str:
        """The last line that was not empty; "" if there is none."""
        return _decoded(self._last)

    def add(self, data: bytes) -> None:
        """Take what the stream brought."""
        *complete, rest = (self._unfinished + data).split(b"\n")
        self._unfinished = rest[: 4 * _LOG_CHARACTERS]  # bytes: what is behind them would be cut anyway
        lines = [line for line in complete if line.strip()]
        if lines:
            self._last = lines[-1]
            self._log.addAll(lines)

    def end(self) -> None:
        """The stream ended: its last line may have had no end."""
        self.add(b"\n")


def _decoded(line: bytes) -> str:
    """A line as text that every widget takes, cut."""
    text = line[: 4 * _LOG_CHARACTERS].decode("utf-8", errors="replace").replace("\0", "\ufffd").rstrip()
    return shortened(text, _LOG_CHARACTERS)
