"""A signal in plain Python: ``qt.Signal`` does not work in Slicer's Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Signal:
    """Calls every connected slot, in the order of connection.

    Example:
        >>> finished = Signal()
        >>> finished.connect(print)
        >>> finished.emit("done")
        done
    """

    def __init__(self) -> None:
        self._slots: list[Callable[..., Any]] = []

    def connect(self, slot: Callable[..., Any]) -> None:
        """Call ``slot`` whenever the signal is emitted."""
        self._slots.append(slot)

    def disconnect(self, slot: Callable[..., Any]) -> None:
        """Stop calling ``slot``."""
        self._slots.remove(slot)

    def emit(self, *args: Any) -> None:
        """Call the slots that are connected now."""
        for slot in list(self._slots):
            slot(*args)
