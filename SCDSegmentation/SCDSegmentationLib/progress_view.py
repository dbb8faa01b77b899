"""Progress bar, status line and log of the panel."""

from __future__ import annotations

import time
from typing import Any

_STEPS = {
    "load model": "Loading the model",
    "read": "Reading the volume",
    "preprocess": "Preparing the volume",
    "windows": "Segmenting",
    "influence": "Computing influence",
    "write": "Writing results",
}


class ProgressView:
    """Says what happens, how far it is and how long it will take.

    Args:
        ui: with ``progressBar``, ``statusLabel`` and ``logTextEdit``.
    """

    def __init__(self, ui: Any) -> None:
        self._bar, self._status, self._log = ui.progressBar, ui.statusLabel, ui.logTextEdit

    def begin(self) -> None:
        """A run begins: nothing is known yet."""
        self._bar.setRange(0, 0)
        self._bar.setVisible(True)
        self._status.setText("Starting …")

    def show(self, step: str, done: int, total: int, secondsLeft: float | None) -> None:
        """A step of the run has come this far."""
        windows = step == "windows"
        self._bar.setRange(0, total if windows else 0)
        self._bar.setValue(done if windows else 0)
        text = _STEPS.get(step, step)
        if windows:
            text += f": window {done} of {total}"
        if secondsLeft is not None:
            text += f", {_duration(secondsLeft)} left"
        self._status.setText(text)

    def end(self, message: str) -> None:
        """The run ended, with a message for the user."""
        self._bar.setVisible(False)
        self._status.setText(message)
        self.log(message)

    def say(self, message: str) -> None:
        """Tell the user something beside what runs."""
        self._status.setText(message)

    def log(self, line: str) -> None:
        """Add a line to the log."""
        self._log.appendPlainText(f"{time.strftime('%H:%M:%S')} {line}")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / 60:.0f} min"
