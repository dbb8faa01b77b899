"""The scene is as Slicer makes it: default nodes, colours, logics, subject hierarchy."""

from __future__ import annotations

from typing import Any

import numpy as np

import embedded_slicer


def test_a_second_start_returns_the_same_host(host: embedded_slicer.Host) -> None:
    assert embedded_slicer.start() is host


def test_default_nodes_and_colours_have_the_ids_that_slicer_gives_them(host: embedded_slicer.Host) -> None:
    for node_id in (
        "vtkMRMLSliceNodeRed",
        "vtkMRMLSliceCompositeNodeGreen",
        "vtkMRMLViewNode1",
        "vtkMRMLCameraNode1",
        "vtkMRMLLayoutNodevtkMRMLLayoutNode",
        "vtkMRMLSelectionNodeSingleton",
        "vtkMRMLInteractionNodeSingleton",
        "vtkMRMLCrosshairNodedefault",
        "vtkMRMLColorTableNodeGrey",
        "vtkMRMLColorTableNodeLabels",
        "vtkMRMLColorTableNodeFileInferno.txt",
        "vtkMRMLColorTableNodeFileViridis.txt",
        "vtkMRMLColorTableNodeFileGenericColors.txt",
    ):
        assert host.scene.GetNodeByID(node_id) is not None, node_id


def test_inferno_runs_from_black_to_light_yellow(host: embedded_slicer.Host) -> None:
    table = host.scene.GetNodeByID("vtkMRMLColorTableNodeFileInferno.txt").GetLookupTable()
    assert table.GetNumberOfTableValues() == 256
    np.testing.assert_allclose(table.GetTableValue(0)[:3], (0, 0, 3 / 255), atol=2 / 255)
    np.testing.assert_allclose(table.GetTableValue(255)[:3], (252 / 255, 1, 164 / 255), atol=2 / 255)


def test_closing_the_scene_removes_data_and_keeps_views_and_colours(host: embedded_slicer.Host, volume: Any) -> None:
    events = []
    for event in (host.scene.StartCloseEvent, host.scene.EndCloseEvent):
        host.scene.AddObserver(event, lambda *_, event=event: events.append(event))
    host.clear_scene()
    assert host.scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == 0
    assert host.scene.GetNumberOfNodesByClass("vtkMRMLSliceNode") == 3
    assert host.scene.GetNumberOfNodesByClass("vtkMRMLSubjectHierarchyNode") == 1
    assert host.scene.GetNodeByID("vtkMRMLColorTableNodeFileInferno.txt") is not None
    assert host.scene.GetNodeByID("vtkMRMLColorTableNodeFileInferno.txt_1") is None
    assert events == [host.scene.StartCloseEvent, host.scene.EndCloseEvent]


def test_data_nodes_come_and_go_in_the_subject_hierarchy(host: embedded_slicer.Host, volume: Any) -> None:
    hierarchy = host.scene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(volume)
    assert hierarchy.GetItemOwnerPluginName(item) == "Volumes"
    assert hierarchy.GetItemParent(item) == hierarchy.GetSceneItemID()
    host.scene.RemoveNode(volume)
    assert hierarchy.GetItemDataNode(item) is None


def test_hidden_nodes_stay_out_of_the_subject_hierarchy(host: embedded_slicer.Host) -> None:
    import slicer

    node = slicer.vtkMRMLScalarVolumeNode()
    node.HideFromEditorsOn()
    host.scene.AddNode(node)
    assert host.scene.GetSubjectHierarchyNode().GetItemByDataNode(node) == 0


def test_module_logics_observe_the_scene_and_are_found_by_name(host: embedded_slicer.Host) -> None:
    import slicer

    for name in ("volumes", "segmentations", "colors", "models", "plots", "subjecthierarchy", "terminologies"):
        assert getattr(slicer.modules, name).logic().GetMRMLScene() is host.scene, name
    assert slicer.util.getModuleLogic("Volumes") is slicer.modules.volumes.logic()
    assert slicer.app.moduleLogic("Colors") is slicer.modules.colors.logic()
    assert "Segmentations" in slicer.util.moduleNames()


def test_terminology_contexts_have_slicers_names(host: embedded_slicer.Host) -> None:
    import slicer

    logic = slicer.modules.terminologies.logic()
    for context in (
        "Segmentation category and type - DICOM master list",
        "Segmentation category and type - 3D Slicer General Anatomy list",
    ):
        category = slicer.vtkSlicerTerminologyCategory()
        assert logic.GetNthCategoryInTerminology(context, 1, category), context
        assert category.GetCodeMeaning() == "Anatomical Structure"


def test_the_application_tells_what_modules_ask(host: embedded_slicer.Host) -> None:
    import slicer

    assert (slicer.app.majorVersion, slicer.app.minorVersion) >= (5, 12)
    assert slicer.app.testingEnabled()
    assert slicer.app.commandOptions().testingEnabled
    assert slicer.app.mrmlScene() is slicer.mrmlScene
    assert slicer.app.applicationLogic().GetMRMLScene() is slicer.mrmlScene


def test_settings_are_the_hosts_own(host: embedded_slicer.Host) -> None:
    import slicer

    slicer.app.userSettings().setValue("embedded/test", "kept")
    assert slicer.util.settingsValue("embedded/test", "") == "kept"
    assert slicer.app.userSettings().fileName().startswith(slicer.app.slicerHome)
    slicer.app.userSettings().remove("embedded/test")
