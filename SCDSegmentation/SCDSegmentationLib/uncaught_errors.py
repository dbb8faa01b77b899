"""Errors that nobody caught: Qt and VTK would only print what a slot, a timer or an observer raises."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from traceback import walk_tb
from types import TracebackType

_FOLDER = str(Path(__file__).resolve().parents[1])


class UncaughtErrors:
    """Hears every exception that passed through the module's code and that nobody caught, until :meth:`stop`.

    PythonQt and VTK hand them to ``sys.excepthook``, so one place is enough. The hook that was there before is called
    first, as if this one were not there.

    Args:
        tell: called with the exception.
    """

    def __init__(self, tell: Callable[[Exception], None]) -> None:
        self._tell: Callable[[Exception], None] | None = tell
        self._before, sys.excepthook = sys.excepthook, self._onException

    def stop(self) -> None:
        """Hear no more."""
        self._tell = None
        if sys.excepthook == self._onException:  # else another one holds this one, which only passes on
            sys.excepthook = self._before

    def _onException(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self._before(kind, error, trace)
        if self._tell is not None and isinstance(error, Exception) and _isOurs(trace):
            self._tell(error)


def _isOurs(trace: TracebackType | None) -> bool:
    """Whether the module's code was on the way, and not called by what a user typed, who has the error before them."""
    files = [frame.f_code.co_filename for frame, _ in walk_tb(trace)]
    return any(file.startswith(_FOLDER) for file in files) and not files[0].startswith("<")
