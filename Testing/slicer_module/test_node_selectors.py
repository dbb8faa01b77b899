"""What the selectors show is what is segmented and written over, and a deletion never chooses another node."""

from __future__ import annotations

from typing import Any

import pytest
import slicer
from PySide6 import QtCore
from PySide6.QtTest import QTest

from embedded_slicer.gui.pythonqt import unwrap
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.volume_files import TOKEN_MAP_ATTRIBUTE
from slicer_module.helpers import add_volume, apply, choose
from slicer_module.sweep_helpers import compare, explorer, select

INPUTS = ("inputSelector", "inputSelector2", "inputSelector3", "inputSelector4")
NEW, NONE = "Create new on Apply", "Select a volume"


def shown(selector: Any) -> str:
    """The text that the user reads."""
    return selector.findChildren("QComboBox")[0].currentText


def press_down(selector: Any) -> None:
    """Choose the next node with the keyboard."""
    QTest.keyClick(unwrap(selector.findChildren("QComboBox")[0]), QtCore.Qt.Key.Key_Down)


def add_segmentation(name: str) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.GetSegmentation().AddEmptySegment("drawn by hand")
    return node


def add_importance(name: str) -> Any:
    node = add_volume(name)
    node.SetAttribute(TOKEN_MAP_ATTRIBUTE, "importance")
    return node


def asked(widget: Any, monkeypatch: pytest.MonkeyPatch, method: str, press: Any) -> Any:
    """The arguments that a button calls the logic with; nothing runs."""
    calls: list[Any] = []

    def prepare(*arguments: Any) -> None:
        calls.append(arguments)
        raise SegmentationError("Nothing runs in this test.", "cancelled")

    with monkeypatch.context() as patch:
        patch.setattr(widget.logic, method, prepare)
        press()
    assert len(calls) == 1
    return calls[0]


def test_after_a_result_is_deleted_apply_makes_a_new_one_and_the_users_own_stays(widget: Any) -> None:
    before, after = add_segmentation("a: mine"), None
    choose(widget, add_volume("b"))
    apply(widget)
    ui, parameters = widget.panel.ui, widget.panel.parameters
    after = add_segmentation("z: mine too")
    other = add_importance("z: of another run")
    slicer.mrmlScene.RemoveNode(parameters.segmentation)
    slicer.mrmlScene.RemoveNode(parameters.importance)
    assert (shown(ui.segmentationSelector), shown(ui.importanceSelector)) == (NEW, NEW)
    assert (parameters.segmentation, parameters.importance) == (None, None)
    slicer.app.processEvents()
    voxels = slicer.util.arrayFromVolume(other).copy()
    assert apply(widget).startswith("Found")
    assert parameters.segmentation not in (before, after, None)
    for node in (before, after):
        assert node.GetSegmentation().GetSegmentIDs() == ("drawn by hand",)
    assert (slicer.util.arrayFromVolume(other) == voxels).all()


def test_after_its_volume_is_deleted_the_input_says_to_select_one(widget: Any) -> None:
    ui = widget.panel.ui
    volumes = [add_volume(name) for name in ("a", "b", "c")]
    add_importance("map")
    choose(widget, volumes[1])
    slicer.mrmlScene.RemoveNode(volumes[1])
    assert shown(ui.inputSelector) == NONE
    assert widget.panel.parameters.inputVolume is None
    assert not ui.applyButton.enabled
    assert ui.applyButton.toolTip == "Select an input volume."


def test_a_node_that_is_deleted_while_the_module_is_closed_leaves_no_neighbour(widget: Any) -> None:
    add_segmentation("a")
    mine = add_segmentation("b")
    choose(widget, add_volume())
    widget.panel.ui.segmentationSelector.setCurrentNode(mine)
    widget.exit()
    slicer.mrmlScene.RemoveNode(mine)
    widget.enter()
    assert shown(widget.panel.ui.segmentationSelector) == NEW


def test_token_maps_are_never_offered_as_inputs(widget: Any) -> None:
    volume = add_volume()
    choose(widget, volume)
    selectors = [getattr(widget.panel.ui, name) for name in INPUTS]

    def offered() -> list[Any]:
        return [[each.nodeFromIndex(index) for index in range(each.nodeCount())] for each in selectors]

    results = widget.logic.segment(volume, model="tiny")  # a script's, that the panel does not follow
    assert len(results.scores) == 2
    assert offered() == [[volume]] * 4
    widget.exit()
    add_importance("made elsewhere")
    widget.enter()
    assert offered() == [[volume]] * 4


def test_between_nodes_of_one_name_the_shown_ones_are_segmented_and_written_over(
    widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ui = widget.panel.ui
    volumes = [add_volume("T1", seed=number) for number in range(5)]
    segmentations = [add_segmentation("head") for _ in range(2)]
    importances = [add_importance("importance") for _ in range(2)]
    choose(widget, volumes[0], "tiny4")
    for number, name in enumerate(INPUTS):
        getattr(ui, name).setCurrentNode(volumes[number])
    ui.segmentationSelector.setCurrentNode(segmentations[0])
    ui.importanceSelector.setCurrentNode(importances[0])
    for name in (*reversed(INPUTS), "segmentationSelector", "importanceSelector"):
        press_down(getattr(ui, name))
    assert [getattr(ui, name).currentNode() for name in INPUTS] == volumes[1:]
    parameters = widget.panel.parameters
    assert (parameters.inputVolume, parameters.inputVolume4) == (volumes[1], volumes[4]), "the panel follows at once"
    # Another volume offers outputs of its own; here they are chosen again.
    for selector, nodes in ((ui.segmentationSelector, segmentations), (ui.importanceSelector, importances)):
        selector.setCurrentNode(nodes[0])
        press_down(selector)
    [request] = asked(widget, monkeypatch, "prepare", ui.applyButton.click)
    assert list(request.volumes) == volumes[1:]
    assert (request.segmentation, request.importance) == (segmentations[1], importances[1])
    request, *_ = asked(widget, monkeypatch, "prepareSweep", explorer(widget).ui.compareButton.click)
    assert list(request.volumes) == volumes[1:]


def test_what_is_shown_counts_also_where_no_signal_came(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ui = widget.panel.ui
    first, second = add_volume("T1", seed=1), add_volume("T1", seed=2)
    mine = [add_segmentation("head") for _ in range(2)]
    choose(widget, first)
    ui.segmentationSelector.setCurrentNode(mine[0])
    assert compare(widget, "1, 0.5").startswith("Compared")
    select(widget, 0.5)
    with QtCore.QSignalBlocker(unwrap(ui.segmentationSelector)):
        ui.segmentationSelector.setCurrentNode(mine[1])
    _, _, segmentation, _ = asked(widget, monkeypatch, "prepareLoad", explorer(widget).ui.loadButton.click)
    assert segmentation is mine[1]
    with QtCore.QSignalBlocker(unwrap(ui.inputSelector)):
        ui.inputSelector.setCurrentNode(second)
    [request] = asked(widget, monkeypatch, "prepare", ui.applyButton.click)
    assert request.volumes == (second,)
