"""Make the screenshots of the README and the Extensions Manager with the embedded host (extra ``[gui]``).

python docs/make_screenshots.py

The module's real panel segments the sample volume with the model that ships; pictures are taken on the way.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "Testing"), str(REPOSITORY / "SCDSegmentation")]
SCREENSHOTS = REPOSITORY / "Resources" / "Screenshots"
IMAGES = REPOSITORY / "docs" / "images"


def main() -> None:
    """Take a picture of every step of a first segmentation."""
    import embedded_slicer

    host = embedded_slicer.start()
    widget = host.load_module(REPOSITORY / "SCDSegmentation" / "SCDSegmentation.py")
    import slicer

    from SCDSegmentationLib import overlay
    from slicer_module.helpers import wait_until

    ui = widget.panel.ui
    ui.sampleDataButton.click()
    wait_until(lambda: ui.deviceComboBox.findData("cpu") >= 0, 120)
    ui.applyButton.click()
    wait_until(lambda: "window" in ui.statusLabel.text and ui.progressBar.value >= 3, 300)
    host.panel_screenshot(IMAGES / "panel_running.png")
    wait_until(lambda: widget.logic.run is None, 600)
    ui.show3DButton.click()
    wait_until(lambda: overlay.showsSurfaces(widget.panel.parameters.segmentation), 120)
    slicer.util.resetThreeDViews()
    host.screenshot(SCREENSHOTS / "window.png")
    host.panel_screenshot(SCREENSHOTS / "panel.png")
    _importance_alone(host, ui)
    host.close()


def _importance_alone(host: Any, ui: Any) -> None:
    ui.shownComboBox.setCurrentText("Tokens")
    ui.thresholdSlider.setValue(0.1)
    ui.opacitySlider.setValue(0.6)
    host.views_screenshot(SCREENSHOTS / "views.png")


if __name__ == "__main__":
    main()
