"""Measure what a user of the panel feels, in the embedded host on the sample volume.

python Testing/measure_panel.py [--model NAME] prints seconds from click to first window of a first and a second run,
from Cancel to a ready panel, the longest time that the event loop was blocked, and which heavy packages the GUI
process holds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "Testing"), str(REPOSITORY / "SCDSegmentation")]
HEAVY = ("torch", "monai", "lightning", "nibabel")


class Heartbeat:
    """Counts the longest time between two turns of the event loop, seconds."""

    def __init__(self) -> None:
        import qt

        self.longest = 0.0
        self._last = time.perf_counter()
        self._timer = qt.QTimer()
        self._timer.setInterval(1)
        self._timer.timeout.connect(self._beat)
        self._timer.start()

    def _beat(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last)
        self._last = now

    def stop(self) -> float:
        """The longest gap; measured no further."""
        self._timer.stop()
        return self.longest


def measure(model: str) -> dict[str, Any]:
    """Run the panel as a user does, and time it."""
    import embedded_slicer

    host = embedded_slicer.start()
    widget = host.load_module(REPOSITORY / "SCDSegmentation" / "SCDSegmentation.py")
    import slicer

    from SCDSegmentationLib import sample_data
    from slicer_module.helpers import choose, wait_until

    choose(widget, sample_data.load(), model)
    figures: dict[str, Any] = {}
    for name in ("first", "second"):
        run, longest = _click_apply(widget)
        figures[f"{name} run: click to first window, s"] = round(run.seconds["first window"], 3)
        figures[f"{name} run: in all, s"] = round(run.seconds["total"], 2)
        figures[f"{name} run: event loop blocked at most, s"] = round(longest, 3)
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    widget.panel.ui.applyButton.click()
    run = widget.logic.run
    wait_until(lambda: "first window" in run.seconds, 60)
    began = time.perf_counter()
    widget.panel.ui.applyButton.click()
    wait_until(lambda: widget.logic.run is None, 60)
    figures["Cancel to ready, s"] = round(time.perf_counter() - began, 3)
    figures["nodes after Cancel as before"] = slicer.mrmlScene.GetNumberOfNodes() == nodes
    figures["heavy packages in the GUI process"] = [name for name in HEAVY if name in sys.modules]
    host.close()
    return figures


def _click_apply(widget: Any) -> tuple[Any, float]:
    from slicer_module.helpers import wait_until

    heartbeat = Heartbeat()
    widget.panel.ui.applyButton.click()
    run = widget.logic.run
    wait_until(lambda: widget.logic.run is None, 600)
    return run, heartbeat.stop()


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="brain-structures")
    print(json.dumps(measure(parser.parse_args().model), indent=2))


if __name__ == "__main__":
    main()
