"""qMRMLNodeComboBox follows the scene."""

from __future__ import annotations

from typing import Any

import pytest

VOLUME, LABELS = "vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode"


def selector(**properties: Any) -> Any:
    import slicer

    box = slicer.qMRMLNodeComboBox()
    settings = {"nodeTypes": [VOLUME], "addEnabled": False, "removeEnabled": False, **properties}
    for name, value in settings.items():
        setattr(box, name, value)
    box.setMRMLScene(slicer.mrmlScene)
    return box


def entries(box: Any) -> list[str]:
    inner = box.findChildren("QComboBox")[0]
    return [inner.itemText(row) for row in range(inner.count)]


def add(kind: str = VOLUME, name: str = "T1") -> Any:
    import slicer

    return slicer.mrmlScene.AddNewNodeByClass(kind, name)


def run(box: Any, entry: str) -> None:
    """Click on an entry in the open list."""
    inner = box.findChildren("QComboBox")[0]
    inner.view().clicked(inner.model().index(entries(box).index(entry), 0))


def press(inner: Any, key: str) -> None:
    """Press a key in the closed box."""
    from PySide6 import QtCore
    from PySide6.QtTest import QTest

    from embedded_slicer.gui.pythonqt import unwrap

    QTest.keyClick(unwrap(inner), getattr(QtCore.Qt.Key, key))


def test_it_lists_nodes_that_come_are_renamed_and_go() -> None:
    import slicer

    box = selector(noneEnabled=True)
    first, second = add(name="first"), add(name="second")
    assert entries(box) == ["None", "first", "second"]
    first.SetName("renamed")
    assert entries(box) == ["None", "renamed", "second"]
    first.SetHideFromEditors(True)
    assert entries(box) == ["None", "second"]
    slicer.mrmlScene.RemoveNode(second)
    assert entries(box) == ["None"]
    assert box.nodeCount() == 0


def test_label_maps_are_scalar_volumes_unless_child_types_are_off() -> None:
    add(VOLUME, "image")
    add(LABELS, "labels")
    assert entries(selector()) == ["image", "labels"]
    assert entries(selector(showChildNodeTypes=False)) == ["image"]
    assert entries(selector(nodeTypes=[LABELS])) == ["labels"]


def test_without_a_none_entry_the_first_node_is_selected() -> None:
    box = selector()
    assert box.currentNode() is None
    node = add()
    add(name="other")
    assert box.currentNode() is node
    assert selector().currentNode() is node
    assert selector(noneEnabled=True).currentNode() is None


def test_with_nothing_selected_it_says_what_to_select() -> None:
    box = selector()
    assert box.findChildren("QComboBox")[0].placeholderText == "Select a Volume"
    assert box.nodeCount() == 0


def test_a_new_name_of_the_selected_node_is_told() -> None:
    node = add(name="first")
    box = selector()
    heard: list[Any] = []
    box.currentNodeChanged.connect(lambda changed: heard.append(changed))
    node.SetName("renamed")
    node.SetDescription("of no interest to the list")
    assert heard == [node]


def test_selecting_tells_the_node_its_id_and_whether_there_is_one() -> None:
    node = add()
    box = selector(noneEnabled=True)
    heard: list[Any] = []
    box.currentNodeChanged.connect(lambda changed: heard.append(changed))
    box.connect("currentNodeChanged(bool)", lambda valid: heard.append(valid))
    box.connect("currentNodeIDChanged(QString)", lambda nodeID: heard.append(nodeID))
    box.setCurrentNode(node)
    box.setCurrentNode(node)
    box.currentNodeID = ""
    assert heard == [node, True, node.GetID(), None, False, ""]


def test_removing_the_selected_node_selects_another_entry() -> None:
    import slicer

    first, second = add(name="first"), add(name="second")
    box = selector(noneEnabled=True)
    box.setCurrentNode(second)
    heard: list[Any] = []
    box.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: heard.append(node))
    slicer.mrmlScene.RemoveNode(second)
    assert box.currentNode() is first
    slicer.mrmlScene.RemoveNode(first)
    assert box.currentNode() is None
    assert heard == [first, None]


def test_the_neighbour_is_selected_before_the_node_has_gone_past_the_actions_below_it() -> None:
    import slicer

    nodes = [add(name=name) for name in ("first", "second", "third")]
    box = selector(noneEnabled=True, addEnabled=True, removeEnabled=True)
    heard: list[Any] = []
    box.setCurrentNode(nodes[2])
    box.currentNodeChanged.connect(lambda node: heard.append(node))
    tag = slicer.mrmlScene.AddObserver(slicer.mrmlScene.NodeAboutToBeRemovedEvent, lambda *_: heard.append("about to"))
    slicer.mrmlScene.RemoveNode(nodes[2])
    slicer.mrmlScene.RemoveObserver(tag)
    assert heard == ["about to", nodes[1]]
    box.setCurrentNode(nodes[0])
    slicer.mrmlScene.RemoveNode(nodes[0])
    assert box.currentNode() is nodes[1]


def test_between_nodes_of_one_name_only_the_choice_is_told() -> None:
    first, second = add(name="T1"), add(name="T1")
    box = selector(noneEnabled=True)
    box.setCurrentNode(first)
    heard: list[Any] = []
    box.currentNodeChanged.connect(lambda node: heard.append(("changed", node)))
    box.nodeActivated.connect(lambda node: heard.append(("activated", node)))
    inner = box.findChildren("QComboBox")[0]
    press(inner, "Key_Down")
    assert box.currentNode() is second
    assert heard == [("activated", second)]
    box.setCurrentNode(first)
    assert box.currentNode() is first
    assert heard == [("activated", second), ("activated", first)]


def test_nodes_are_hidden_by_their_ids() -> None:
    first, _ = add(name="first"), add(name="second")
    box = selector(noneEnabled=True)
    box.sortFilterProxyModel().hiddenNodeIDs = [first.GetID()]
    assert entries(box) == ["None", "second"]
    box.sortFilterProxyModel().hiddenNodeIDs = []
    assert entries(box) == ["None", "first", "second"]


def test_closing_the_scene_empties_it(host: Any) -> None:
    add()
    box = selector()
    host.clear_scene()
    assert box.nodeCount() == 0
    assert box.currentNode() is None
    assert box.enabled
    box.setMRMLScene(None)
    assert not box.enabled


def test_its_entries_create_rename_and_delete_nodes() -> None:
    import slicer

    box = selector(noneEnabled=True, addEnabled=True, removeEnabled=True, renameEnabled=True)
    created: list[Any] = []
    box.nodeAddedByUser.connect(lambda node: created.append(node))
    assert entries(box)[1:] == [
        "",
        "Rename current Volume",
        "Create new Volume",
        "Create new Volume as...",
        "Delete current Volume",
    ]
    box.baseName = "Importance"
    run(box, "Create new Volume")
    run(box, "Create new Volume")
    assert [node.GetName() for node in created] == ["Importance", "Importance_1"]
    assert box.currentNode() is created[-1]
    run(box, "Delete current Volume")
    assert slicer.mrmlScene.GetNumberOfNodesByClass(VOLUME) == 1


def test_attributes_narrow_the_list_and_mark_new_nodes() -> None:
    add(name="plain")
    add(name="marked").SetAttribute("role", "importance")
    box = selector(noneEnabled=True)
    box.addAttribute(VOLUME, "role", "importance")
    assert entries(box) == ["None", "marked"]
    assert box.addNode().GetAttribute("role") == "importance"
    assert box.addNode("vtkMRMLModelNode") is None


def test_a_node_asked_for_before_there_is_a_scene_is_selected_then() -> None:
    import slicer

    node = add(name="first"), add(name="second")
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = [VOLUME]
    box.setCurrentNodeID(node[1].GetID())
    box.setMRMLScene(slicer.mrmlScene)
    assert box.currentNode() is node[1]


def test_a_batch_of_changes_is_shown_at_once_and_an_import_at_its_end() -> None:
    import slicer

    box = selector()
    for state, before in ((slicer.vtkMRMLScene.BatchProcessState, 1), (slicer.vtkMRMLScene.ImportState, 1)):
        slicer.mrmlScene.StartState(state)
        node = add()
        assert box.nodeCount() == before
        slicer.mrmlScene.EndState(state)
        assert box.nodeFromIndex(box.nodeCount() - 1) is node


def test_node_types_must_be_a_list() -> None:
    import slicer

    with pytest.raises(AttributeError, match="QStringList"):
        slicer.qMRMLNodeComboBox().nodeTypes = VOLUME
