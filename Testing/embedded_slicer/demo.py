"""The module's panel at work in the embedded host: select, Apply, results in the scene, files and pictures of them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embedded_slicer.host import Host, MissingPackages, start

__all__ = ["DemoError", "MissingPackages", "run_demo"]

_SURFACES_SECONDS = 120


class DemoError(Exception):
    """The panel refused, or the run failed; the message is what the panel says."""


def run_demo(
    module: Path,
    image: Path,
    output: Path,
    model: str | None = None,
    keep_ratio: float | None = None,
    show: bool = False,
) -> list[Path]:
    """Segment an image with the module's panel, as a user would.

    Args:
        module: file of the module.
        image: volume to segment.
        output: folder for the results, made if it is missing.
        model: name of the model; None: the panel's own choice.
        keep_ratio: share of tokens kept at each stage, in (0, 1]; None: the model's own.
        show: whether the window is shown, and stays open until the user closes it.

    Returns:
        Files written.

    Raises:
        DemoError: the image, the model or the run was not accepted.
        MissingPackages: the host cannot start on this machine.
    """
    output = output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    host = start(offscreen=not show, testing=True)
    try:
        if show:
            host.show()
        widget = host.load_module(module)
        _select(widget, _load(image.resolve()), model, keep_ratio)
        results = _apply(widget)
        written = [*_save_results(results, output), *_save_pictures(host, widget, results, output)]
        for path in written:
            print(f"wrote {path}", flush=True)
        if show:
            print("close the window to end", flush=True)
            host.application.exec()
        return written
    finally:
        host.close()


def _load(image: Path) -> Any:
    import slicer

    try:
        return slicer.util.loadVolume(str(image), {})
    except RuntimeError as error:
        raise DemoError(f"{image} cannot be loaded: give a NIfTI, NRRD or MetaImage file") from error


def _select(widget: Any, volume: Any, model: str | None, keep_ratio: float | None) -> None:
    panel = widget.panel
    panel.ui.inputSelector.setCurrentNode(volume)
    if model is not None:
        _select_model(widget, model)
    if keep_ratio is not None:
        if not panel.ui.keepRatioSlider.minimum <= keep_ratio <= panel.ui.keepRatioSlider.maximum:
            raise DemoError(f"The keep ratio {keep_ratio:g} is out of range: give a number above 0 and at most 1")
        panel.ui.keepRatioSlider.setValue(keep_ratio)
    if not panel.ui.applyButton.enabled:
        raise DemoError(f"The panel cannot start: {panel.ui.applyButton.toolTip}")


def _select_model(widget: Any, name: str) -> None:
    from SCDSegmentationLib.errors import SegmentationError

    try:
        model = widget.logic.findModel(name)
    except SegmentationError as error:
        raise DemoError(str(error)) from error
    widget.panel.models.choose(model.name)


def _apply(widget: Any) -> Any:
    """Click Apply and wait; the nodes of the result."""
    ui = widget.panel.ui
    ended: list[Any] = []
    ui.applyButton.click()
    run = widget.logic.run
    if run is None:
        raise DemoError(ui.statusLabel.text)
    run.finished.connect(ended.append)
    run.failed.connect(ended.append)
    line = _ProgressLine()
    _wait(lambda: line.show(ui.statusLabel.text) or ended)
    line.end(ui.statusLabel.text)
    if isinstance(ended[0], Exception):
        raise DemoError(str(ended[0]))
    return ended[0]


def _save_results(results: Any, output: Path) -> list[Path]:
    import slicer

    paths = {name: output / name for name in ("scene.mrb", "labels.nii.gz", "importance.nrrd", "report.json")}
    _require(slicer.util.saveScene(str(paths["scene.mrb"]), {}), paths["scene.mrb"])
    labels = _label_volume(results)
    _require(slicer.util.exportNode(labels, str(paths["labels.nii.gz"]), {}), paths["labels.nii.gz"])
    slicer.mrmlScene.RemoveNode(labels.GetDisplayNode().GetColorNode())
    slicer.mrmlScene.RemoveNode(labels)
    _require(slicer.util.exportNode(results.importance, str(paths["importance.nrrd"]), {}), paths["importance.nrrd"])
    paths["report.json"].write_text(json.dumps(results.report, indent=2) + "\n", encoding="utf-8")
    return list(paths.values())


def _label_volume(results: Any) -> Any:
    """The segments as a label volume on the grid of the input, with the model's label values."""
    import slicer

    entries = results.report["labels"]
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode")
    table.SetTypeToUser()
    table.SetNumberOfColors(max(entry["value"] for entry in entries) + 1)
    for entry in entries:
        table.SetColor(entry["value"], entry["name"], 1.0, 1.0, 1.0)
    segmentation = results.segmentation
    volume = segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole())
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    identifiers = segmentation.GetSegmentation().GetSegmentIDs()
    slicer.modules.segmentations.logic().ExportSegmentsToLabelmapNode(
        segmentation, identifiers, labels, volume, slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY, table
    )
    slicer.mrmlScene.RemoveNode(table)
    return labels


def _save_pictures(host: Host, widget: Any, results: Any, output: Path) -> list[Path]:
    """Show the surfaces too, then take the pictures."""
    import slicer

    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    segmentation = results.segmentation.GetSegmentation()
    segments = [segmentation.GetSegment(name) for name in segmentation.GetSegmentIDs()]
    if not widget.panel.ui.show3DButton.checked:
        widget.panel.ui.show3DButton.click()
    _wait(lambda: all(segment.GetRepresentation(surface) for segment in segments), _SURFACES_SECONDS)
    _wait(lambda: results.segmentation.GetDisplayNode().GetVisibility3D(), _SURFACES_SECONDS)
    slicer.util.resetThreeDViews()
    pictures = {"panel.png": host.panel_screenshot, "views.png": host.views_screenshot, "window.png": host.screenshot}
    for name, take in pictures.items():
        take(output / name)
    return [output / name for name in pictures]


def _require(saved: bool, path: Path) -> None:
    if not saved:
        raise DemoError(f"{path} was not written: check that the folder can be written to and has room")


def _wait(condition: Callable[[], Any], seconds: float | None = None) -> None:
    """Let the event loop run until something is true.

    Raises:
        DemoError: it did not become true in time.
    """
    import slicer

    end = None if seconds is None else time.monotonic() + seconds
    while not condition():
        if end is not None and time.monotonic() > end:
            raise DemoError(f"The panel did not come to an end within {seconds:.0f} s")
        slicer.app.processEvents()
        time.sleep(0.005)


class _ProgressLine:
    """What the panel says, in one line of a terminal; only the end where the output is no terminal."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, text: str) -> None:
        if text != self._shown and sys.stderr.isatty():
            print(f"\r{text:<79}", end="", file=sys.stderr, flush=True)
        self._shown = text

    def end(self, text: str) -> None:
        if sys.stderr.isatty():
            print("\r" + " " * 79 + "\r", end="", file=sys.stderr)
        print(text, flush=True)
