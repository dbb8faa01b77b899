"""Segments and a token map over the image: slice layers and surfaces."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer

from SCDSegmentationLib import token_display
from SCDSegmentationLib.parameters import BOTH, SEGMENTS, TOKENS
from SCDSegmentationLib.token_maps import TokenMaps
from SCDSegmentationLib.volume_files import TOKEN_MAP_ATTRIBUTE

_LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
_SURFACE = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()


def showsTokens(shown: str) -> bool:
    """Whether a choice of what lies over the image includes a token map."""
    return shown in (TOKENS, BOTH)


def showsSurfaces(segmentation: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether the surfaces of all segments are there and visible."""
    segments = [segmentation.GetSegmentation().GetSegment(i) for i in segmentation.GetSegmentation().GetSegmentIDs()]
    made = all(segment.GetRepresentation(_SURFACE) is not None for segment in segments)
    return made and bool(segmentation.GetDisplayNode().GetVisibility3D())


def showVolume(volume: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Put a volume into the background of the slice views and fit them to it; views that show it stay as they are."""
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    if any(composite.GetBackgroundVolumeID() != volume.GetID() for composite in composites):
        slicer.util.setSliceViewerLayers(background=volume, fit=True)


def show(
    segmentation: slicer.vtkMRMLSegmentationNode | None,
    tokenMap: slicer.vtkMRMLScalarVolumeNode | None,
    shown: str,
    opacity: float,
) -> None:
    """Show results over the image.

    Args:
        segmentation: shown in the slices with ``SEGMENTS`` and ``BOTH``; with the latter as outlines, which leave the
            tokens' colours as they are.
        tokenMap: in the foreground with ``TOKENS`` and ``BOTH``; a foreground that is no token map stays else.
        shown: one of the choices in :mod:`SCDSegmentationLib.parameters`.
        opacity: of the token map, 0…1.
    """
    if tokenMap is not None and showsTokens(shown):
        slicer.util.setSliceViewerLayers(foreground=tokenMap, foregroundOpacity=opacity)
    else:
        _clearForeground()
    if segmentation is not None and segmentation.GetDisplayNode() is not None:
        segmentation.GetDisplayNode().SetVisibility2D(shown in (SEGMENTS, BOTH))
        segmentation.GetDisplayNode().SetVisibility2DFill(shown != BOTH)


def hide(segmentation: slicer.vtkMRMLSegmentationNode | None, maps: TokenMaps | None) -> None:
    """Take results off all views, because those of another volume are shown."""
    if segmentation is not None and segmentation.GetDisplayNode() is not None:
        segmentation.GetDisplayNode().SetVisibility2D(False)
        segmentation.GetDisplayNode().SetVisibility3D(False)
    if maps is not None:
        token_display.hideLegends(maps)
    _clearForeground()


def _clearForeground() -> None:
    """Empty the foreground of the views that show a token map there; what else the user put there stays."""
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        foreground = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID() or "")
        if foreground is not None and foreground.GetAttribute(TOKEN_MAP_ATTRIBUTE):
            composite.SetForegroundVolumeID(None)
            composite.SetForegroundOpacity(0.0)


class SurfaceBuilder:
    """Makes the closed surfaces of a segmentation one segment a turn of the event loop, then shows them in 3-D."""

    def __init__(self) -> None:
        self._pending: list[str] = []
        self._segmentation: slicer.vtkMRMLSegmentationNode | None = None
        self._done: Callable[[], None] | None = None

    def show(self, segmentation: slicer.vtkMRMLSegmentationNode, done: Callable[[], None] | None = None) -> None:
        """Show the surfaces; ``done`` is called when they are there."""
        self.stop()
        self._segmentation, self._done = segmentation, done
        self._pending = list(segmentation.GetSegmentation().GetSegmentIDs())
        self._next(segmentation)

    def hide(self, segmentation: slicer.vtkMRMLSegmentationNode) -> None:
        """Hide the surfaces; they are kept for the next time."""
        self.stop()
        if segmentation.GetDisplayNode() is not None:
            segmentation.GetDisplayNode().SetVisibility3D(False)

    def isMaking(self, segmentation: slicer.vtkMRMLSegmentationNode) -> bool:
        """Whether the surfaces of a segmentation are being made."""
        return self._segmentation is segmentation

    def stop(self) -> None:
        """Make no more surfaces."""
        self._segmentation, self._pending, self._done = None, [], None

    def _next(self, segmentation: slicer.vtkMRMLSegmentationNode) -> None:
        if self._segmentation is not segmentation or segmentation.GetScene() is None:
            return
        if self._pending:
            segment = segmentation.GetSegmentation().GetSegment(self._pending.pop(0))
            if segment is not None and segment.GetRepresentation(_SURFACE) is None:
                _addSurface(segmentation.GetSegmentation(), segment)
            qt.QTimer.singleShot(0, lambda: self._next(segmentation))
            return
        display = segmentation.GetDisplayNode()
        display.SetPreferredDisplayRepresentationName3D(_SURFACE)
        display.SetVisibility3D(True)
        if self._done is not None:
            self._done()
        self.stop()


def _addSurface(segmentation: slicer.vtkSegmentation, segment: slicer.vtkSegment) -> None:
    """Convert one segment as ``CreateRepresentation`` would; that converts all of them and blocks for seconds."""
    alone = slicer.vtkSegmentation()
    alone.SetSourceRepresentationName(_LABELMAP)
    alone.DeserializeConversionParameters(segmentation.SerializeAllConversionParameters())
    copy = slicer.vtkSegment()
    copy.SetLabelValue(segment.GetLabelValue())
    copy.AddRepresentation(_LABELMAP, segment.GetRepresentation(_LABELMAP))
    alone.AddSegment(copy, "segment")
    alone.CreateRepresentation(_SURFACE)
    segment.AddRepresentation(_SURFACE, copy.GetRepresentation(_SURFACE))
