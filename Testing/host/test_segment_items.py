"""Items of segments that are left behind are errors, as in Slicer's log."""

from __future__ import annotations

from typing import Any

import pytest

from embedded_slicer.gui.pythonqt import failures


@pytest.fixture
def errors() -> Any:
    """What was noted, taken away."""
    failures.clear()
    yield failures
    failures.clear()


def test_segments_that_are_swapped_one_event_at_a_time_are_followed(segmentation: Any, errors: list[Any]) -> None:
    segmentation.GetSegmentation().RemoveAllSegments()
    segmentation.GetSegmentation().AddEmptySegment("other")
    segmentation.GetDisplayNode().SetVisibility2D(False)
    assert errors == []


def test_segments_that_are_swapped_in_one_event_leave_items_behind(segmentation: Any, errors: list[Any]) -> None:
    import slicer

    [before] = segmentation.GetSegmentation().GetSegmentIDs()
    with slicer.util.NodeModify(segmentation):
        segmentation.GetSegmentation().RemoveAllSegments()
        segmentation.GetSegmentation().AddEmptySegment("other")
    assert [str(error) for error in errors] == [f"Segmentation does not contain segment with given ID: {before}"]


def test_a_segmentation_that_changes_while_it_leaves_has_no_item(segmentation: Any, errors: list[Any]) -> None:
    import slicer

    display, scene = segmentation.GetDisplayNode(), slicer.mrmlScene
    tag = scene.AddObserver(scene.NodeAboutToBeRemovedEvent, lambda *_: display.SetVisibility2D(False))
    scene.RemoveNode(segmentation)
    scene.RemoveObserver(tag)
    assert [str(error) for error in errors] == [
        "Unable to find subject hierarchy item for segmentation structures",
    ]
