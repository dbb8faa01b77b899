"""Segments of an existing segmentation are replaced one event at a time, which is how Slicer follows without errors."""

from __future__ import annotations

from typing import Any

import pytest
import slicer

from embedded_slicer.gui import pythonqt
from SCDSegmentationLib.results import PreparedResults
from slicer_module.helpers import add_volume, apply, choose


@pytest.fixture
def segmentation(widget: Any) -> Any:
    """The user's own, with a segment that no model knows, shown in 3-D, and chosen as the output."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    node.CreateDefaultDisplayNodes()
    node.GetSegmentation().AddEmptySegment("drawn by hand")
    node.GetDisplayNode().SetVisibility3D(True)
    choose(widget, add_volume())
    widget.panel.ui.segmentationSelector.setCurrentNode(node)
    return node


def test_no_item_of_a_segment_is_left_behind_and_3d_is_off_meanwhile(widget: Any, segmentation: Any) -> None:
    """The host complains of items that are left behind; see ``embedded_slicer.segment_items``."""
    visible: list[bool] = []
    swaps = slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved
    for event in swaps:
        segmentation.AddObserver(event, lambda node, _: visible.append(bool(node.GetDisplayNode().GetVisibility3D())))
    apply(widget)
    ids = segmentation.GetSegmentation().GetSegmentIDs()
    assert "drawn by hand" not in ids
    assert visible == [False] * (1 + len(ids))
    assert segmentation.GetDisplayNode().GetVisibility3D()
    apply(widget)
    assert segmentation.GetSegmentation().GetSegmentIDs() == ids
    assert len(visible) == 1 + 3 * len(ids)


def test_no_voxels_of_the_old_segments_are_copied(widget: Any, segmentation: Any) -> None:
    """Each segment that is removed from a shared label map would take a label map of its own out of it, all of it."""
    apply(widget)
    labelmap = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segments = segmentation.GetSegmentation()
    old = [segments.GetSegment(segmentId) for segmentId in segments.GetSegmentIDs()]
    assert len(old) > 1
    apply(widget)
    assert [segment.GetRepresentation(labelmap).GetNumberOfPoints() for segment in old] == [1] * len(old)


def test_3d_is_on_again_when_the_swap_fails(widget: Any, segmentation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(PreparedResults, "_swapSegments", fail)
    assert apply(widget).startswith("Internal error: RuntimeError: no room")
    assert segmentation.GetDisplayNode().GetVisibility3D()
    assert isinstance(pythonqt.failures.pop(), RuntimeError)
