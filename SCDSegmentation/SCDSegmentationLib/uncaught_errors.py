"""Errors that nobody caught: Qt and VTK would only print what a slot, a timer or an observer raises."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from traceback import walk_tb
from types import TracebackType

# Links are not followed, nor are they in the file names of code; once installed, other modules are in the same folder.
_PARENT = Path(__file__).parents[1]
_MODULE = _PARENT / "SCDSegmentation.py"
_FOLDERS = {_PARENT / "SCDSegmentationLib", _PARENT / "scdseg"}


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
    ours = any(file == _MODULE or not _FOLDERS.isdisjoint(file.parents) for file in map(Path, files))
    return ours and not files[0].startswith("<")
