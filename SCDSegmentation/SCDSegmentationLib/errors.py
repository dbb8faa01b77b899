"""What the panel tells the user when something cannot be done."""

from __future__ import annotations


class SegmentationError(RuntimeError):
    """Something that the user can act on: the message says what happened and what to do.

    Args:
        message: for the user.
        code: kind of the error; those of the worker are "input", "model", "device", "resource", "cancelled", "busy",
            "protocol" and "internal", those of the panel "input", "model", "busy", "cancelled", "worker",
            "dependencies" and "resource".
    """

    def __init__(self, message: str, code: str = "input") -> None:
        super().__init__(message)
        self.code = code


def inWords(error: Exception) -> SegmentationError:
    """Any error as one that can be told to the user."""
    if isinstance(error, SegmentationError):
        return error
    return SegmentationError(
        f"Internal error: {type(error).__name__}: {error}. Try again; if it comes back, press Copy diagnostic "
        "information and report it.",
        "internal",
    )
