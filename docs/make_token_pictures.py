"""Make the pictures of tokens and keep ratios in README and docs with the embedded host (extra ``[gui]``).

python docs/make_token_pictures.py

The module's real panel segments the sample volume with the model that ships, and its own export takes the pictures.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "Testing"), str(REPOSITORY / "SCDSegmentation")]
IMAGES = REPOSITORY / "docs" / "images"
KEEP_RATIO = 0.25
# Through thalamus, ventricles and hippocampi, in mm: superior, anterior, right.
OFFSETS = {"Red": 8.0, "Green": -20.0, "Yellow": 26.0}
EXPORTED = {
    "importance_red.png": "tokens_importance.png",
    "influence_red.png": "tokens_influence.png",
    "survival_red.png": "tokens_survival.png",
    "stage_at_which_pruned_red.png": "tokens_stage.png",
    "kept_tokens_only_red.png": "tokens_kept.png",
    "pruned_tokens_greyed_out_red.png": "tokens_greyed.png",
    "segments_red.png": "tokens_segments.png",
    "3d.png": "tokens_boxes.png",
}


def main() -> None:
    """Segment, show kept tokens as boxes beside the surfaces, export, and take a picture of the panel's section."""
    import embedded_slicer

    host = embedded_slicer.start()
    widget = host.load_module(REPOSITORY / "SCDSegmentation" / "SCDSegmentation.py")
    import slicer

    from SCDSegmentationLib import overlay
    from slicer_module.helpers import wait_until

    ui, parameters = widget.panel.ui, widget.panel.parameters
    ui.sampleDataButton.click()
    parameters.keepRatio = KEEP_RATIO
    ui.applyButton.click()
    wait_until(lambda: widget.logic.run is None, 600)
    widget.panel.inspector.ui.influenceButton.click()
    wait_until(lambda: widget.logic.run is None, 600)
    for name, offset in OFFSETS.items():
        slicer.app.layoutManager().sliceWidget(name).sliceController().setSliceOffsetValue(offset)
    ui.show3DButton.click()
    wait_until(lambda: overlay.showsSurfaces(parameters.segmentation), 120)
    parameters.opacity, parameters.boxes = 0.7, True
    _look_from_the_side(slicer)
    _panel(host, widget, slicer)
    _export(widget, wait_until)
    _comparison(host, widget, wait_until)
    host.close()


def _look_from_the_side(slicer: Any) -> None:
    slicer.util.resetThreeDViews()
    camera = slicer.app.layoutManager().threeDWidget(0).threeDView().cameraNode()
    camera.RotateAround(slicer.vtkMRMLCameraNode.S, True)
    for _ in range(2):
        camera.RotateAround(slicer.vtkMRMLCameraNode.S, True)


def _export(widget: Any, wait_until: Any) -> None:
    ended: list[Any] = []
    widget.panel.inspector.exported.connect(ended.append)
    widget.panel.inspector.failed.connect(ended.append)
    with tempfile.TemporaryDirectory() as folder:
        widget.panel.inspector.export(Path(folder))
        wait_until(lambda: ended, 120)
        for exported, name in EXPORTED.items():
            shutil.copyfile(ended[0] / exported, IMAGES / name)


def _panel(host: Any, widget: Any, slicer: Any) -> None:
    """The section alone, with what it says of a token in the right hippocampus."""
    ui = widget.panel.ui
    for button in (ui.inputsCollapsibleButton, ui.outputsCollapsibleButton):
        button.collapsed = True
    ui.inspectionCollapsibleButton.collapsed = False
    widget.panel.inspector.ui.exportDirectoryButton.text = "Documents"
    widget.panel.parameters.tokenMap = "Stage at which pruned"
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCursorPositionRAS([OFFSETS["Yellow"], OFFSETS["Green"], -15.0])
    host.panel_screenshot(IMAGES / "panel_inspection.png")


def _comparison(host: Any, widget: Any, wait_until: Any) -> None:
    """The comparison of the default keep ratios, with its plot against tokens."""
    panel = widget.panel
    for button in (panel.ui.overlayCollapsibleButton, panel.ui.inspectionCollapsibleButton):
        button.collapsed = True
    panel.ui.inputsCollapsibleButton.collapsed = False
    panel.ui.explorerCollapsibleButton.collapsed = False
    panel.parameters.boxes, panel.parameters.shown = False, "Segments"
    panel.explorer.ui.compareButton.click()
    wait_until(lambda: widget.logic.run is None, 600)
    panel.explorer.ui.sweepTableView.selectRow(2)
    panel.explorer.ui.plotAxisComboBox.setCurrentText("against tokens")
    panel.explorer.ui.plotButton.click()
    host.screenshot(IMAGES / "explorer.png")


if __name__ == "__main__":
    main()
