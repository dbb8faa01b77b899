"""Views show what is in the scene, when they are asked to render."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtTest import QTest

import embedded_slicer
from embedded_slicer.gui.pythonqt import unwrap

RED, THREED = 0, 3  # in the order of the layout manager


def pixels(host: embedded_slicer.Host, view: int) -> np.ndarray:
    """Colours (height, width, 3) that a view shows, its corner text left out."""
    widget = host.layout_manager._views()[view]
    widget.forceRender()
    image = widget._picture.convertToFormat(QtGui.QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    shown = rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(int)
    return shown[: image.height() * 9 // 10]


def red(shown: np.ndarray) -> np.ndarray:
    """Where the colours are clearly red, also if it is laid over white."""
    return shown[..., 0] - shown[..., 1:].max(-1) > 60


def test_a_slice_view_shows_the_background_volume_in_its_middle(host: embedded_slicer.Host, volume: Any) -> None:
    shown = pixels(host, RED)
    rows, columns = np.nonzero(shown.sum(-1) > 600)
    height, width = host.layout_manager._views()[RED].height(), shown.shape[1]
    assert abs(rows.mean() - height / 2) < 6
    assert abs(columns.mean() - width / 2) < 6
    assert not shown[:20].any()


def test_a_foreground_volume_blends_with_its_opacity(host: embedded_slicer.Host, volume: Any) -> None:
    import slicer

    foreground = slicer.modules.volumes.logic().CloneVolume(volume, "heat")
    slicer.util.updateVolumeFromArray(foreground, np.ones((36, 30, 24), np.float32))
    display = foreground.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, 1)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeFileInferno.txt")
    centre = {}
    for opacity in (0.0, 0.5, 1.0):
        slicer.util.setSliceViewerLayers(background=volume, foreground=foreground, foregroundOpacity=opacity, fit=True)
        shown = pixels(host, RED)
        centre[opacity] = shown[shown.shape[0] // 2, shown.shape[1] // 2]
    np.testing.assert_allclose(centre[0.0], (255, 255, 255), atol=2)
    np.testing.assert_allclose(centre[1.0], (252, 255, 164), atol=4)
    np.testing.assert_allclose(centre[0.5], (centre[0.0] + centre[1.0]) / 2, atol=3)


def test_a_volume_under_a_transform_is_shown_where_the_transform_puts_it(
    host: embedded_slicer.Host, volume: Any
) -> None:
    import slicer

    before = np.argwhere(pixels(host, RED).sum(-1) > 600).mean(0)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shift = np.eye(4)
    shift[0, 3] = 10  # to the right of the patient, which is the left of the view
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    after = np.argwhere(pixels(host, RED).sum(-1) > 600).mean(0)
    assert after[1] < before[1] - 30
    assert abs(after[0] - before[0]) < 2


def test_segments_are_drawn_over_slices_and_as_surfaces(host: embedded_slicer.Host, segmentation: Any) -> None:
    import slicer

    shown = pixels(host, RED)
    assert red(shown).sum() > 2000
    assert not red(pixels(host, THREED)).any()
    segmentation.CreateClosedSurfaceRepresentation()
    slicer.util.resetThreeDViews()
    assert red(pixels(host, THREED)).sum() > 500


def test_segments_are_shown_again_after_the_scene_was_saved_and_loaded(
    host: embedded_slicer.Host, segmentation: Any, tmp_path: Path
) -> None:
    import slicer

    before = pixels(host, RED)
    slicer.util.saveScene(str(tmp_path / "scene.mrb"), {})
    slicer.mrmlScene.Clear(0)
    assert not pixels(host, RED).any()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), {})
    np.testing.assert_allclose(pixels(host, RED), before, atol=3)


def test_a_colour_legend_is_drawn_for_a_shown_volume(host: embedded_slicer.Host, volume: Any) -> None:
    import slicer

    volume.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeFileInferno.txt")
    without = pixels(host, RED)
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(volume)
    assert legend.GetVisibility()
    width = without.shape[1]
    changed = np.argwhere((pixels(host, RED) != without).any(-1))
    assert len(changed) > 500
    assert changed[:, 1].min() > width / 2


def test_moving_a_slice_changes_what_is_shown_and_the_bar(host: embedded_slicer.Host, volume: Any) -> None:
    import slicer

    widget = slicer.app.layoutManager().sliceWidget("Red")
    middle = (pixels(host, RED).sum(-1) > 600).sum()
    widget.sliceController().setSliceOffsetValue(14.0)
    assert 0 < (pixels(host, RED).sum(-1) > 600).sum() < middle
    slider = unwrap(widget.sliceController()).findChild(QtWidgets.QSlider)
    assert slider.value() == 7  # steps of 2 mm
    slider.setValue(0)
    assert widget.sliceLogic().GetSliceOffset() == pytest.approx(0)


def test_nothing_renders_until_somebody_asks(host: embedded_slicer.Host, volume: Any) -> None:
    import slicer

    view = host.layout_manager._views()[RED]
    view.forceRender()
    renderings = []
    view.renderWindow().AddObserver("StartEvent", lambda *_: renderings.append(1))
    volume.GetDisplayNode().SetWindowLevelMinMax(0, 10)
    slicer.util.resetSliceViews()
    for _ in range(5):
        slicer.app.processEvents()
    assert not renderings
    view.forceRender()
    assert renderings == [1]


def test_the_views_the_panel_and_the_window_are_written_as_pictures(
    host: embedded_slicer.Host, volume: Any, tmp_path: Path
) -> None:
    host.screenshot(tmp_path / "window.png")
    host.views_screenshot(tmp_path / "views.png")
    window, views = QtGui.QImage(str(tmp_path / "window.png")), QtGui.QImage(str(tmp_path / "views.png"))
    assert (window.width(), window.height()) == (1400, 900)
    assert window.width() > views.width() > 900
    with pytest.raises(OSError, match="missing"):
        host.screenshot(tmp_path / "missing" / "window.png")


def test_a_shown_window_follows_the_scene_and_the_mouse(host: embedded_slicer.Host, segmentation: Any) -> None:
    import slicer

    slice_view, threed_view = host.layout_manager._views()[RED], host.layout_manager._views()[THREED]
    segmentation.CreateClosedSurfaceRepresentation()
    host.show()
    try:
        _run_until(lambda: not slice_view._dirty and not threed_view._dirty)
        slicer.app.pauseRender()
        segmentation.GetDisplayNode().SetVisibility(False)
        before = slice_view._picture.copy()
        QTest.qWait(150)
        assert slice_view._picture == before
        slicer.app.resumeRender()
        _run_until(lambda: slice_view._picture != before)

        offset, position = slice_view._logic.GetSliceOffset(), threed_view.cameraNode().GetPosition()
        _turn_wheel(slice_view)
        assert slice_view._logic.GetSliceOffset() == pytest.approx(offset + 2)
        QTest.mousePress(threed_view, QtCore.Qt.MouseButton.LeftButton, pos=QtCore.QPoint(100, 100))
        QTest.mouseMove(threed_view, QtCore.QPoint(160, 120))
        QTest.mouseRelease(threed_view, QtCore.Qt.MouseButton.LeftButton, pos=QtCore.QPoint(160, 120))
        turned = threed_view.cameraNode().GetPosition()
        assert np.linalg.norm(np.subtract(turned, position)) > 10
        assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(position), rel=0.05)
    finally:
        host.window.hide()


def _run_until(condition: Callable[[], bool]) -> None:
    import slicer

    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        slicer.app.processEvents()


def _turn_wheel(widget: QtWidgets.QWidget) -> None:
    place = QtCore.QPointF(50, 50)
    event = QtGui.QWheelEvent(
        place,
        place,
        QtCore.QPoint(),
        QtCore.QPoint(0, 120),
        QtCore.Qt.MouseButton.NoButton,
        QtCore.Qt.KeyboardModifier.NoModifier,
        QtCore.Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QtWidgets.QApplication.sendEvent(widget, event)


def test_the_crosshair_node_knows_where_the_mouse_is_over_a_slice(host: embedded_slicer.Host, volume: Any) -> None:
    import slicer

    view = host.layout_manager._views()[RED]
    view.forceRender()
    crosshair = slicer.mrmlScene.GetSingletonNode("default", "vtkMRMLCrosshairNode")
    places = []

    def note(node: Any, _event: str) -> None:
        place = [0.0, 0.0, 0.0]
        places.append(place if node.GetCursorPositionRAS(place) else None)

    tag = crosshair.AddObserver(crosshair.CursorPositionModifiedEvent, note)
    shown = pixels(host, RED).sum(-1) > 600
    left = np.argwhere(shown)[:, 1].min()
    QTest.mouseMove(view, QtCore.QPoint(int(left), view.height() // 2))
    xyz = [0.0, 0.0, 0.0]
    assert crosshair.GetCursorPositionXYZ(xyz) is view.mrmlSliceNode()
    QtWidgets.QApplication.sendEvent(view, QtCore.QEvent(QtCore.QEvent.Type.Leave))
    crosshair.RemoveObserver(tag)
    # The ball's radius is 16 mm; the view shows the patient's right side at its left.
    centre = np.array(volume.GetOrigin()) + 2 * np.array((11.5, 14.5, 17.5))
    np.testing.assert_allclose(places[0] - centre, (16, 0, 0), atol=2)
    assert places[1:] == [None]


def test_the_crosshair_node_outlives_the_scene(host: embedded_slicer.Host) -> None:
    import slicer

    crosshair = slicer.mrmlScene.GetSingletonNode("default", "vtkMRMLCrosshairNode")
    host.clear_scene()
    assert slicer.mrmlScene.GetSingletonNode("default", "vtkMRMLCrosshairNode") is crosshair
    assert slicer.util.getNode("Crosshair") is crosshair


def test_a_legend_names_each_colour_of_a_discrete_table_once(host: embedded_slicer.Host) -> None:
    import slicer

    names = ("pruned after block 3", "pruned after block 6", "pruned after block 9", "kept")
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode")
    table.SetTypeToUser()
    table.SetNumberOfColors(5)  # value 0 has no colour, and does not appear in the legend
    colors = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))
    for value, (name, color) in enumerate(zip(names, colors, strict=True), 1):
        table.SetColor(value, name, *(part / 255 for part in color))
    stages = np.tile(np.repeat(np.arange(1, 5, dtype=np.float32), 2)[:, None], (2, 1, 2))  # a narrow strip
    volume = slicer.util.addVolumeFromArray(stages)
    volume.CreateDefaultDisplayNodes()
    display = volume.GetDisplayNode()
    display.SetInterpolate(False)
    display.SetAndObserveColorNodeID(table.GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, 4)
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(volume)
    legend.SetSize(0.4, 0.4)

    shown = pixels(host, RED)
    width = shown.shape[1]
    assert set(_runs_of_colors(shown[:, width // 2], colors)) == set(colors)
    assert _runs_of_colors(shown[:, width * 9 // 10], colors) == [*reversed(colors)]
    manager = host.layout_manager._views()[RED].displayableManagerByClassName("vtkMRMLColorLegendDisplayableManager")
    actor = manager.GetColorLegendActor(legend)
    assert [actor.GetLookupTable().GetAnnotation(label) for label in range(4)] == list(names)
    assert actor.GetNumberOfLabels() == 4


def _runs_of_colors(line: np.ndarray, known: tuple[tuple[int, int, int], ...]) -> list[tuple[int, ...]]:
    """The known colours along a line of pixels, neighbours that are equal counted once."""
    found = [color for color in map(tuple, line.tolist()) if color in known]
    return [color for color, before in zip(found, [None, *found], strict=False) if color != before]
