"""An application that segments in a temporary folder of its choice: python -m faults.application MODELS FOLDER MANNER.

It prints the worker's process number when the windows have begun. MANNER: "finish" prints what the panel says at the
end and quits; "quit" quits at once; "wait" waits to be killed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> None:
    """Run until the manner's end."""
    models, folder, manner = sys.argv[1:4]
    os.environ["SCDSEG_MODELS"] = models
    import embedded_slicer

    host = embedded_slicer.start()
    widget = host.load_module(REPOSITORY / "SCDSegmentation" / "SCDSegmentation.py")
    import slicer

    from slicer_module.helpers import add_volume, choose, wait_until

    slicer.app.temporaryPath = folder
    finish = manner == "finish"
    choose(widget, add_volume(shape=(60, 60, 60) if finish else (120, 120, 120)), "tiny", 1.0)
    widget.panel.ui.overlapSlider.setValue(0.5 if finish else 0.9)
    widget.panel.ui.applyButton.click()
    run = widget.logic.run
    wait_until(lambda: "first window" in run.seconds or widget.logic.run is None, 60)
    print(widget.logic.worker._pid, flush=True)
    if manner == "wait":
        wait_until(lambda: False, 60)
    if finish:
        wait_until(lambda: widget.logic.run is None, 60)
        print(widget.panel.ui.statusLabel.text, flush=True)
    host.close()


if __name__ == "__main__":
    main()
