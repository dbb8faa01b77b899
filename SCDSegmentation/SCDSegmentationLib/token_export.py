"""Pictures of all token maps, the tables and a report of a run, in a folder of their own: all of it or nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk

from SCDSegmentationLib import overlay, token_display
from SCDSegmentationLib.errors import SegmentationError, inWords
from SCDSegmentationLib.influence_map import influenceOn, influenceTable
from SCDSegmentationLib.overlay_control import OverlayControl
from SCDSegmentationLib.parameters import (
    GREYED,
    INFLUENCE_MAP,
    KEPT,
    SEGMENTS,
    TOKEN_MAP_CHOICES,
    TOKENS,
    SCDSegmentationParameters,
)
from SCDSegmentationLib.report_check import storedReport
from SCDSegmentationLib.results import IMPORTANCE_REFERENCE, REPORT_ATTRIBUTE
from SCDSegmentationLib.signal import Signal
from SCDSegmentationLib.table_nodes import tableText
from SCDSegmentationLib.token_html import writeHtml
from SCDSegmentationLib.token_maps import TokenMaps, tokenMapsOf, whereScored
from SCDSegmentationLib.token_tables import TABLES, tableOf

_FOLDER_NAME = "token maps"
_DONE = object()


class TokenExport:
    """Writes an export, one picture a turn of the event loop; ends with exactly one of ``finished`` and ``failed``.

    Signals:
        finished(Path): the folder with the export.
        failed(SegmentationError): nothing was written.

    Args:
        parent: folder that the export's own folder is made in.
        parameters: the state of the panel.
        control: puts the views back to what the parameters say.

    Raises:
        SegmentationError: there is no run to export, or the folder cannot be written.
    """

    def __init__(self, parent: Path, parameters: SCDSegmentationParameters, control: OverlayControl) -> None:
        self.finished, self.failed = Signal(), Signal()
        self._parameters, self._control = parameters, control
        maps, segmentation = tokenMapsOf(parameters.importance), parameters.segmentation
        self._report = storedReport(parameters.importance) if maps is not None else {}
        ofOneRun = segmentation and segmentation.GetNodeReference(IMPORTANCE_REFERENCE) is parameters.importance
        if maps is None or maps.stage is None or not self._report or not ofOneRun:
            raise SegmentationError(
                "There is no run to export: select the segmentation and the importance of one run in Outputs."
            )
        self._maps: TokenMaps = maps
        self._segmentation = segmentation
        self._content = self._contentNow()
        self._parent = parent
        self._ended = False
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=".scdseg-export-", dir=parent))
        except OSError as error:
            raise SegmentationError(
                f"The folder {parent} cannot be written ({error.strerror or error}): choose another for the export.",
                "resource",
            ) from error

    def start(self) -> None:
        """Begin; everything else happens in the event loop."""
        steps = self._steps()
        qt.QTimer.singleShot(0, lambda: self._next(steps))

    def cancel(self) -> None:
        """End at once and leave nothing."""
        self._fail(SegmentationError("The export was cancelled; nothing was written.", "cancelled"))

    def _next(self, steps: Iterator[None]) -> None:
        if self._ended:
            return
        try:
            ended = next(steps, _DONE) is _DONE
            folder = self._moved() if ended else None
        except SegmentationError as error:
            self._fail(error)
        except OSError as error:
            message = f"The export could not be written to {self._parent} ({error.strerror or error}): free disk space."
            self._fail(SegmentationError(message, "resource"))
        except Exception as error:
            self._fail(inWords(error))
            raise
        else:
            if folder is None:
                qt.QTimer.singleShot(0, lambda: self._next(steps))
            else:
                self._ended = True
                self._control.refresh(self._parameters)
                self.finished.emit(folder)

    def _fail(self, error: SegmentationError) -> None:
        if self._ended:
            return
        self._ended = True
        shutil.rmtree(self._folder, ignore_errors=True)
        self._control.refresh(self._parameters)
        self.failed.emit(error)

    def _contentNow(self) -> tuple[Any, ...]:
        """What differs if the results are replaced; None in place of what is not there any more."""
        nodes = (*self._maps.nodes, self._segmentation)
        report = self._maps.importance.GetAttribute(REPORT_ATTRIBUTE)
        images = [node.GetImageData().GetMTime() if node.GetImageData() else None for node in self._maps.nodes]
        return (*(node.GetScene() is not None for node in nodes), report, *images)

    def _steps(self) -> Iterator[None]:
        parameters, maps = self._parameters, self._maps
        pictures: dict[str, dict[str, Path]] = {}
        for choice in (SEGMENTS, *TOKEN_MAP_CHOICES):
            if choice == INFLUENCE_MAP and maps.influence is None:
                continue
            self._requireUnchanged()
            self._show(choice)
            title = f"{choice}, {whereScored(self._block)}" if choice in (KEPT, GREYED) else choice
            title = f"{choice} on {influenceOn(maps)}" if choice == INFLUENCE_MAP else title
            pictures[title] = {}
            for view in _sliceViews():
                path = self._folder / f"{choice.lower().replace(' ', '_')}_{view.lower()}.png"
                _captureSlice(slicer.app.layoutManager().sliceWidget(view).sliceView(), path)
                pictures[title][_place(view)] = path
                yield
        self._requireUnchanged()
        self._control.refresh(parameters)
        view = _threeDView()
        if view is not None:
            path = self._folder / "3d.png"
            _capture(view, path)
            pictures["3-D view"] = {"3-D": path}
            yield
        self._requireUnchanged()
        tables = {kind: node for kind in TABLES if (node := tableOf(maps, kind)) is not None}
        for kind, node in tables.items():
            path = self._folder / f"{kind.replace(' ', '_')}.csv"
            path.write_text(tableText(node, ","), encoding="utf-8")
        report = dict(self._report)
        if maps.influence is not None:
            (self._folder / "influence.csv").write_text(influenceTable(maps), encoding="utf-8")
            report["influence"] = {"on": influenceOn(maps)}
        text = json.dumps(report, indent=2, ensure_ascii=False)
        (self._folder / "report.json").write_text(text + "\n", encoding="utf-8")
        titles = {f"Tokens of each {kind.partition(' ')[0]}": node for kind, node in tables.items()}
        writeHtml(self._folder / "report.html", pictures, titles, self._report, self._display)

    def _requireUnchanged(self) -> None:
        if self._contentNow() != self._content:
            raise SegmentationError(
                "The results were deleted or replaced during the export: nothing was written. Export again.", "input"
            )

    @property
    def _display(self) -> str:
        """How the pictures were drawn."""
        parameters = self._parameters
        return f"{parameters.colors}, opacity {parameters.opacity:g}, threshold {parameters.threshold:g}"

    @property
    def _stage(self) -> int:
        return min(self._parameters.stage, len(self._maps.pruneAfter))

    @property
    def _block(self) -> int:
        return self._maps.pruneAfter[self._stage - 1]

    def _show(self, choice: str) -> None:
        """Show the segments alone, or a token map alone, and leave the parameters as they are."""
        parameters, maps = self._parameters, self._maps
        shown = SEGMENTS if choice == SEGMENTS else TOKENS
        token_display.showAs(maps, choice, self._stage, parameters.threshold, parameters.colors)
        opacity = token_display.layerOpacity(choice, parameters.opacity)
        overlay.show(self._segmentation, token_display.shownNode(maps, choice), shown, opacity)
        token_display.setLegend(maps, choice, choice != SEGMENTS)

    def _moved(self) -> Path:
        """The folder under its name, which no other export in the parent folder has."""
        number = 1
        while (target := self._parent / f"{_FOLDER_NAME} {number}").exists():
            number += 1
        self._folder.chmod(0o755)  # temporary folders are private
        return self._folder.rename(target)


def _sliceViews() -> list[str]:
    """Names of the slice views that the layout shows."""
    manager = slicer.app.layoutManager()
    names = manager.sliceViewNames()
    return [name for name in names if manager.sliceWidget(name).mrmlSliceNode().IsMappedInLayout()]


def _threeDView() -> Any:
    """The first 3-D view; None if the layout shows none."""
    widget = slicer.app.layoutManager().threeDWidget(0)
    return widget.threeDView() if widget is not None and widget.mrmlViewNode().IsMappedInLayout() else None


def _place(view: str) -> str:
    """Plane and position of a slice view, for people."""
    node = slicer.app.layoutManager().sliceWidget(view).mrmlSliceNode()
    return f"{node.GetOrientation()}, {node.GetSliceOffset():.1f} mm ({view})"


def _captureSlice(view: Any, path: Path) -> None:
    """Write what a slice view shows, without the text in its corners: that may name the patient.

    Raises:
        OSError: the file cannot be written.
    """
    annotation = view.cornerAnnotation()
    shown = annotation.GetVisibility()
    annotation.SetVisibility(False)
    try:
        _capture(view, path)
    finally:
        annotation.SetVisibility(shown)


def _capture(view: Any, path: Path) -> None:
    """Write what a view shows to a PNG file.

    Raises:
        OSError: the file cannot be written.
    """
    view.forceRender()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(view.renderWindow())
    grab.ReadFrontBufferOff()
    writer = vtk.vtkPNGWriter()
    writer.SetInputConnection(grab.GetOutputPort())
    writer.WriteToMemoryOn()
    writer.Write()
    path.write_bytes(memoryview(writer.GetResult()))
