"""Files go in and out through the real slicer.util: volumes, segmentations, colour tables, scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedded_slicer

SAMPLE = Path(__file__).resolve().parents[2] / "SCDSegmentation" / "Resources" / "SampleData" / "colin27_t1.nii.gz"


def test_the_sample_volume_loads_with_its_geometry_and_is_shown(host: embedded_slicer.Host) -> None:
    import slicer

    node = slicer.util.loadVolume(SAMPLE)
    assert node.GetName() == "colin27_t1"
    assert node.GetImageData().GetDimensions() == (181, 217, 181)
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == node.GetID()


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz"])
def test_a_volume_survives_writing_and_reading(volume: Any, tmp_path: Path, suffix: str) -> None:
    import slicer

    path = tmp_path / f"bäll{suffix}"
    assert slicer.util.exportNode(volume, str(path), {})
    assert volume.GetStorageNode() is None or volume.GetStorageNode().GetFileName() is None
    loaded = slicer.util.loadVolume(path, {"show": False})
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(loaded), slicer.util.arrayFromVolume(volume))
    np.testing.assert_allclose(_ijk_to_ras(loaded), _ijk_to_ras(volume), atol=1e-5)


def test_save_node_sets_the_file_name_and_refuses_a_path_object(volume: Any, tmp_path: Path) -> None:
    import slicer

    assert slicer.util.saveNode(volume, str(tmp_path / "ball.nrrd"), {})
    assert volume.GetStorageNode().GetFileName() == str(tmp_path / "ball.nrrd")
    # Slicer cannot turn a pathlib.Path into a string here.
    assert not slicer.util.saveNode(volume, tmp_path / "other.nrrd", {})


def test_an_export_in_world_coordinates_hardens_the_copy_only(volume: Any, tmp_path: Path) -> None:
    import slicer

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shift = np.eye(4)
    shift[:3, 3] = (10, 20, 30)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    assert slicer.util.exportNode(volume, str(tmp_path / "world.nrrd"), {}, world=True)
    loaded = slicer.util.loadVolume(tmp_path / "world.nrrd", {"show": False})
    np.testing.assert_allclose(_ijk_to_ras(loaded), shift @ _ijk_to_ras(volume), atol=1e-5)
    assert volume.GetParentTransformNode() is transform


def test_a_label_volume_loads_as_labels(volume: Any, tmp_path: Path) -> None:
    import slicer

    slicer.util.exportNode(volume, str(tmp_path / "labels.nrrd"), {})
    loaded = slicer.util.loadLabelVolume(str(tmp_path / "labels.nrrd"), {})
    assert loaded.IsA("vtkMRMLLabelMapVolumeNode")
    assert loaded.GetDisplayNode().GetColorNodeID() == "vtkMRMLColorTableNodeFileGenericColors.txt"


def test_a_segmentation_file_is_recognised_and_keeps_names_colours_and_codes(segmentation: Any, tmp_path: Path) -> None:
    import slicer

    path = str(tmp_path / "structures.seg.nrrd")
    assert slicer.util.exportNode(segmentation, path, {})
    assert slicer.app.coreIOManager().fileType(path) == "SegmentationFile"
    loaded = slicer.util.loadSegmentation(path, {})
    _assert_is_the_thalamus(loaded)


def test_a_segmentation_is_recognised_by_its_header_where_its_name_is_a_volumes(
    segmentation: Any, tmp_path: Path
) -> None:
    import slicer

    path = tmp_path / "structures.seg.nrrd"
    slicer.util.exportNode(segmentation, str(path), {})
    plain = path.rename(tmp_path / "structures.nrrd")
    assert slicer.app.coreIOManager().fileType(str(plain)) == "SegmentationFile"


def test_a_colour_table_with_codes_loads(host: embedded_slicer.Host, tmp_path: Path) -> None:
    import slicer

    path = tmp_path / "colours.csv"
    path.write_text(
        "LabelValue,Name,Color_R,Color_G,Color_B,Color_A,Category_CodingScheme,Category_CodeValue,"
        "Category_CodeMeaning,Type_CodingScheme,Type_CodeValue,Type_CodeMeaning\n"
        "7,thalamus,255,128,0,255,SCT,123037004,Anatomical Structure,SCT,42695009,Thalamus\n",
        encoding="utf-8",
    )
    table = slicer.util.loadColorTable(path)
    assert table.GetColorName(7) == "thalamus"
    assert "SCT^42695009^Thalamus" in table.GetTerminologyAsString(7)


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(host: embedded_slicer.Host, tmp_path: Path) -> None:
    import slicer

    path = tmp_path / "broken.nrrd"
    path.write_bytes(b"NRRD0004\nno header")
    with pytest.raises(RuntimeError, match=r"broken\.nrrd"):
        slicer.util.loadVolume(path, {})


@pytest.mark.parametrize("name", ["scene.mrb", "scene.mrml"])
def test_a_scene_keeps_everything_that_a_result_consists_of(segmentation: Any, tmp_path: Path, name: str) -> None:
    import slicer

    volume = slicer.util.getNode("ball")
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "patient")
    for node in (volume, segmentation):
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), folder)
    volume.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeFileInferno.txt")
    parameters = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "settings")
    parameters.SetParameter("keepRatio", "0.25")
    parameters.SetNodeReferenceID("inputVolume", volume.GetID())
    pixels = slicer.util.arrayFromVolume(volume).copy()
    if name.endswith(".mrml"):  # holds no data itself
        slicer.util.saveNode(volume, str(tmp_path / "ball.nrrd"), {})
        slicer.util.saveNode(segmentation, str(tmp_path / "structures.seg.nrrd"), {})
    assert slicer.util.saveScene(str(tmp_path / name), {})

    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / name), {})

    volume, segmentation = slicer.util.getNode("ball"), slicer.util.getNode("structures")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), pixels)
    assert volume.GetDisplayNode().GetColorNodeID() == "vtkMRMLColorTableNodeFileInferno.txt"
    _assert_is_the_thalamus(segmentation)
    assert segmentation.GetDisplayNode() is not None
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    for node in (volume, segmentation):
        assert hierarchy.GetItemName(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))) == "patient"
    parameters = slicer.util.getNode("settings")
    assert parameters.GetParameter("keepRatio") == "0.25"
    assert parameters.GetNodeReference("inputVolume") is volume


def _ijk_to_ras(volume: Any) -> np.ndarray:
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return np.array(slicer.util.arrayFromVTKMatrix(matrix))


def _assert_is_the_thalamus(segmentation: Any) -> None:
    import vtk

    segment = segmentation.GetSegmentation().GetNthSegment(0)
    assert segment.GetName() == "thalamus"
    assert segment.GetColor() == (1, 0, 0)
    codes = vtk.mutable("")
    segment.GetTag(segment.GetTerminologyEntryTagName(), codes)
    assert "SCT^42695009^Thalamus~SCT^7771000^Left" in str(codes)
