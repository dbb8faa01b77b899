"""Modules write pictures of views, and models are drawn in the 3-D view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PySide6 import QtGui

import embedded_slicer
from embedded_slicer.gui.pythonqt import unwrap


def write_picture(window: Any, path: Path) -> np.ndarray:
    """Write a PNG of a window as scripts of Slicer do; its colours (height, width, 3)."""
    import vtk

    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.ReadFrontBufferOff()
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputConnection(grabber.GetOutputPort())
    writer.Write()
    return colors(QtGui.QImage(str(path)))


def colors(image: QtGui.QImage) -> np.ndarray:
    image = image.convertToFormat(QtGui.QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(int)


def test_a_picture_of_a_slice_view_is_what_the_window_shows(
    host: embedded_slicer.Host, volume: Any, tmp_path: Path
) -> None:
    import slicer
    import vtk

    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    view.forceRender()
    picture = write_picture(view.renderWindow(), tmp_path / "red.png")
    np.testing.assert_array_equal(picture, colors(unwrap(view)._picture))
    ras_to_xy = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(view.mrmlSliceNode().GetXYToRAS(), ras_to_xy)
    for ijk, expected in (((11, 14, 17), 255), ((2, 14, 17), 0)):
        ras = np.array(volume.GetOrigin()) + 2 * np.array(ijk)
        column, up, *_ = ras_to_xy.MultiplyPoint([*ras, 1])
        assert (picture[picture.shape[0] - 1 - round(up), round(column)] == expected).all()


def test_boxes_are_drawn_in_3d_with_the_colours_of_their_cells(host: embedded_slicer.Host, tmp_path: Path) -> None:
    import slicer
    import vtk

    cube = vtk.vtkCubeSource()
    cube.SetBounds(-20, 20, -20, 20, -20, 20)
    cube.Update()
    stage = vtk.vtkFloatArray()
    stage.SetName("stage")
    for _ in range(6):
        stage.InsertNextValue(2)
    cube.GetOutput().GetCellData().AddArray(stage)
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode")
    table.SetTypeToUser()
    table.SetNumberOfColors(4)
    for value, color in enumerate(((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))):
        table.SetColor(value, f"stage {value}", *color)
    display = slicer.modules.models.logic().AddModel(cube.GetOutput()).GetDisplayNode()
    display.SetActiveScalar("stage", vtk.vtkAssignAttribute.CELL_DATA)
    display.SetAndObserveColorNodeID(table.GetID())
    display.SetScalarRangeFlag(display.UseManualScalarRange)
    display.SetScalarRange(0, 3)
    display.SetScalarVisibility(True)
    display.SetVisibility2D(False)
    slicer.util.resetThreeDViews()
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()

    def at_the_middle() -> np.ndarray:
        view.forceRender()
        picture = write_picture(view.renderWindow(), tmp_path / "boxes.png")
        np.testing.assert_array_equal(picture, colors(unwrap(view)._picture))
        return picture[picture.shape[0] // 2, picture.shape[1] // 2]

    opaque = at_the_middle()
    assert opaque[1] > 150
    assert max(opaque[0], opaque[2]) < 60
    display.SetOpacity(0.3)
    assert (at_the_middle()[[0, 2]] > opaque[[0, 2]] + 40).all()
    display.SetVisibility(False)
    assert at_the_middle().min() > 100  # the background, which is light
    display.SetVisibility(True)
    display.SetOpacity(1)
    display.SetEdgeVisibility(True)
    display.SetEdgeColor(1, 1, 1)
    view.forceRender()
    picture = colors(unwrap(view)._picture)
    assert (picture.min(-1) > 200).sum() > 50
