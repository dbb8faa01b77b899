"""When a run that failed on a GPU may be run again on the CPU: once, and only if the user allowed it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.request import Request

_COMPUTING = ("load model", "windows")
# What may be a GPU's fault while it computes; what happens in other steps is that of files or of the volume.
_PERHAPS_ITS_FAULT = ("resource", "internal", "worker")
_HINT = "Or allow the CPU under Advanced."


class CpuFallback:
    """Follows a run's events, so that it knows whose failure an error was.

    Args:
        request: of the run.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._device = None if request.device == "auto" else request.device
        self._step = ""

    def follow(self, event: Mapping[str, Any]) -> None:
        """An event of the run: what it computes on, and how far it is."""
        self._device = event.get("device") or self._device
        self._step = event.get("step", self._step)

    def isGpuFailure(self, error: SegmentationError) -> bool:
        """Whether the run would perhaps have worked on the CPU. Where nothing said what it computed on, it is none."""
        if self._request.device == "cpu" or self._device is None or self._device.startswith("cpu"):
            return False
        return error.code == "device" or (error.code in _PERHAPS_ITS_FAULT and self._step in _COMPUTING)

    def applies(self, error: SegmentationError) -> bool:
        """Whether the run goes on with the CPU."""
        return self._request.cpuFallback and self.isGpuFailure(error)

    def withHint(self, error: SegmentationError) -> SegmentationError:
        """The error, saying that the CPU could have been allowed, if that might have helped."""
        if self._request.cpuFallback or not self.isGpuFailure(error):
            return error
        message = str(error)
        return SegmentationError(f"{message}{'' if message.endswith('.') else '.'} {_HINT}", error.code)
