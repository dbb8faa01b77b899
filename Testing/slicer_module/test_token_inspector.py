"""The section of the panel that looks inside a run, used as a user uses it; and its export."""

from __future__ import annotations

import base64
import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qt
import slicer
import vtk

from SCDSegmentationLib.parameters import BOTH, INFLUENCE_MAP, KEPT, STAGES, TOKEN_MAP_CHOICES
from SCDSegmentationLib.table_nodes import columnsOf, sortTable
from SCDSegmentationLib.token_maps import tokenMapsOf
from SCDSegmentationLib.token_readout import readToken
from SCDSegmentationLib.token_tables import OUTSIDE, STAGE_TABLE, STRUCTURE_TABLE, tableOf
from SCDSegmentationLib.volume_files import matrixOf
from slicer_module.helpers import add_volume, apply, choose, scene_state, wait_until


@pytest.fixture
def ran(widget: Any) -> Any:
    choose(widget, add_volume(shape=(26, 32, 40)), keep_ratio=0.6)
    widget.panel.parameters.overlap = 0.0
    assert apply(widget).startswith("Found")
    inspection(widget).tableComboBox.setCurrentIndex(0)
    return widget


def inspection(widget: Any) -> Any:
    return widget.panel.inspector.ui


def stages(widget: Any) -> np.ndarray:
    return slicer.util.arrayFromVolume(tokenMapsOf(widget.panel.parameters.importance).stage)


def test_without_a_run_the_section_says_what_to_do(widget: Any) -> None:
    ui = inspection(widget)
    assert ui.runLabel.text == "none yet: press Apply"
    for name in ("tokenMapComboBox", "stageSlider", "boxesCheckBox", "exportButton", "copyTableButton"):
        assert not getattr(ui, name).enabled


def test_the_stage_slider_scrubs_through_the_stages_of_the_model(ran: Any) -> None:
    ui, stage = inspection(ran), stages(ran)
    assert (ui.stageSlider.minimum, ui.stageSlider.maximum) == (1, 2)
    ui.tokenMapComboBox.setCurrentText(KEPT)
    for number in (1, 2):
        ui.stageSlider.setValue(number)
        kept = (stage > number).sum()
        assert ui.stageInfoLabel.text.startswith(f"after block {number}: {kept} of {stage.size} tokens kept")
        maps = tokenMapsOf(ran.panel.parameters.importance)
        assert maps.stage.GetDisplayNode().GetLowerThreshold() == number + 1


def test_what_can_do_nothing_is_off_and_the_run_is_named(ran: Any) -> None:
    ui, parameters = inspection(ran), ran.panel.parameters
    assert ui.runLabel.text == "tiny at keep ratio 0.6"
    assert ran.panel.ui.thresholdSlider.enabled
    assert not ui.stageSlider.enabled
    parameters.boxes = True
    assert ui.stageSlider.enabled
    parameters.boxes, parameters.tokenMap = False, KEPT
    assert ui.stageSlider.enabled
    assert not ran.panel.ui.thresholdSlider.enabled
    parameters.shown = "Segments"
    assert not ui.stageSlider.enabled
    assert not ui.tokenMapComboBox.enabled
    assert "see Overlay" in ui.stageInfoLabel.text


def test_choices_of_the_section_reach_the_views(ran: Any) -> None:
    ui, parameters = inspection(ran), ran.panel.parameters
    assert [ui.tokenMapComboBox.itemText(n) for n in range(ui.tokenMapComboBox.count)] == list(TOKEN_MAP_CHOICES)
    ui.tokenMapComboBox.setCurrentText(STAGES)
    ui.colorsComboBox.setCurrentText("Cividis")
    ui.boxesCheckBox.click()
    assert (parameters.tokenMap, parameters.colors, parameters.boxes) == (STAGES, "Cividis", True)
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetForegroundVolumeID() == tokenMapsOf(parameters.importance).stage.GetID()
    model = slicer.mrmlScene.GetFirstNodeByName(f"{parameters.importance.GetName()} boxes")
    assert model.GetDisplayNode().GetVisibility()


def test_the_line_follows_the_cursor(ran: Any) -> None:
    parameters, label = ran.panel.parameters, inspection(ran).cursorLabel
    maps = tokenMapsOf(parameters.importance)
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    ras = (matrixOf(maps.importance) @ (2, 1, 0, 1))[:3]
    crosshair.SetCursorPositionRAS(ras.tolist())
    expected = readToken(maps, parameters.segmentation, ras)
    assert expected.index == (2, 1, 0)
    assert label.text == expected.text(maps)
    crosshair.SetCursorPositionRAS([1e4, 0, 0])
    assert label.text == "Move the mouse over a slice."
    ran.exit()
    crosshair.SetCursorPositionRAS(ras.tolist())
    assert label.text == "Move the mouse over a slice.", "a closed module follows nothing"


def test_tables_are_shown_sorted_as_numbers_and_copied_with_their_titles(ran: Any) -> None:
    ui = inspection(ran)
    maps = tokenMapsOf(ran.panel.parameters.importance)
    table = tableOf(maps, STRUCTURE_TABLE)
    assert ui.tableView.mrmlTableNode() is table
    assert columnsOf(table)[0].values[-1] == OUTSIDE
    number = [column.name for column in columnsOf(table)].index("tokens")
    header = ui.tableView.horizontalHeader()
    header.sectionClicked.emit(number)
    counts = columnsOf(table)[number].values
    assert counts == sorted(counts, reverse=True)
    header.sectionClicked.emit(number)
    assert columnsOf(table)[number].values == sorted(counts)
    header.sectionClicked.emit(0)
    assert columnsOf(table)[0].values == sorted(columnsOf(table)[0].values)
    sizes = dict(zip(columnsOf(table)[0].values, columnsOf(table)[number].values, strict=True))
    assert sorted(sizes.values()) == sorted(counts), "rows stay together"
    ui.tableComboBox.setCurrentIndex(1)
    assert ui.tableView.mrmlTableNode() is tableOf(maps, STAGE_TABLE)
    ui.copyTableButton.click()
    rows = [line.split("\t") for line in slicer.app.clipboard().text().splitlines()]
    assert rows[0][:4] == ["stage", "tokens in", "kept", "pruned"]
    stage = stages(ran)
    assert rows[1][:4] == ["after block 1", *(str(n) for n in (stage.size, (stage > 1).sum(), (stage == 1).sum()))]


def test_rows_without_a_value_come_last_in_both_orders(ran: Any) -> None:
    table = tableOf(tokenMapsOf(ran.panel.parameters.importance), STRUCTURE_TABLE)
    number = [column.name for column in columnsOf(table)].index("volume [ml]")
    for descending in (True, False):
        sortTable(table, number, descending)
        *volumes, last = columnsOf(table)[number].values
        assert volumes == sorted(volumes, reverse=descending)
        assert np.isnan(last)


def test_tables_come_back_with_a_saved_scene(ran: Any, tmp_path: Path) -> None:
    before = columnsOf(tableOf(tokenMapsOf(ran.panel.parameters.importance), STRUCTURE_TABLE))
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert inspection(ran).tableView.mrmlTableNode() is None
    assert slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    table = inspection(ran).tableView.mrmlTableNode()
    assert [column.name for column in columnsOf(table)] == [column.name for column in before]
    for ours, theirs in zip(columnsOf(table), before, strict=True):
        assert [str(value) for value in ours.values] == [str(value) for value in theirs.values]


def export(widget: Any, folder: Path) -> list[Any]:
    """Export as the button does; what came of it."""
    ended: list[Any] = []
    inspector = widget.panel.inspector
    for signal in (inspector.exported, inspector.failed):
        signal.connect(ended.append)
    inspection(widget).exportDirectoryButton.directory = str(folder)
    inspection(widget).exportButton.click()
    wait_until(lambda: ended, 60)
    for signal in (inspector.exported, inspector.failed):
        signal.disconnect(ended.append)
    return ended


def views_state(widget: Any) -> tuple[Any, ...]:
    return views_state_of(widget.panel.parameters)


def views_state_of(parameters: Any) -> tuple[Any, ...]:
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    foreground = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
    display = foreground.GetDisplayNode()
    shown = (display.GetApplyThreshold(), display.GetLowerThreshold(), display.GetColorNodeID())
    segments = parameters.segmentation.GetDisplayNode().GetVisibility2D()
    return (foreground.GetName(), composite.GetForegroundOpacity(), segments, *shown)


def test_an_export_holds_pictures_tables_and_one_report_that_needs_nothing_else(ran: Any, tmp_path: Path) -> None:
    parameters = ran.panel.parameters
    parameters.shown, parameters.tokenMap, parameters.boxes = BOTH, KEPT, True
    before, nodes = views_state(ran), scene_state()
    assert export(ran, tmp_path) == [tmp_path / "token maps 1"]
    folder = tmp_path / "token maps 1"
    assert views_state(ran) == before, "the views show again what the panel says"
    assert [node for node in scene_state() if "Display" not in node[0]] == [n for n in nodes if "Display" not in n[0]]
    pictures = {path.name: path for path in folder.glob("*.png")}
    views = ("red", "yellow", "green")
    choices = ["Segments", *(choice for choice in TOKEN_MAP_CHOICES if choice != INFLUENCE_MAP)]
    names = [choice.lower().replace(" ", "_") for choice in choices]
    assert set(pictures) == {f"{name}_{view}.png" for name in names for view in views} | {"3d.png"}
    colors = {name: pixels(path) for name, path in pictures.items()}
    assert all(image.std() > 1 for image in colors.values()), "no picture is empty"
    reds = [colors[f"{name}_red.png"] for name in names]
    for number, image in enumerate(reds):
        assert all((image != other).any() for other in reds[:number]), "every map has a picture of its own"
    with (folder / "structure_table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    columns = columnsOf(tableOf(tokenMapsOf(parameters.importance), STRUCTURE_TABLE))
    values = zip(*(column.values for column in columns), strict=True)
    text = [["" if value != value else str(value) for value in row] for row in values]
    assert rows == [[column.name for column in columns], *text]
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["keep_ratio"] == 0.6
    html = (folder / "report.html").read_text(encoding="utf-8")
    embedded = re.findall(r"data:image/png;base64,([^']+)'", html)
    assert sorted(map(base64.b64decode, embedded)) == sorted(path.read_bytes() for path in pictures.values())
    assert not re.search(r"(src|href)=['\"](?!data:)", html)
    assert OUTSIDE in html
    assert all(words in html for words in ("Axial, ", "Coronal, ", "Sagittal, ", "research use only"))
    assert export(ran, tmp_path) == [tmp_path / "token maps 2"], "a second export replaces nothing"


def test_only_views_of_the_layout_are_exported(ran: Any, tmp_path: Path) -> None:
    manager = slicer.app.layoutManager()
    before = manager.layout
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    try:
        (folder,) = export(ran, tmp_path)
    finally:
        manager.setLayout(before)
    names = {path.name for path in folder.glob("*.png")}
    assert "importance_red.png" in names
    assert not any("green" in name or "3d" in name for name in names)


def pixels(path: Path) -> np.ndarray:
    image = qt.QImage(str(path))
    assert min(image.width(), image.height()) > 10
    values = [
        qt.QColor(image.pixel(x, y)).rgb() & 0xFFFFFF
        for x in range(0, image.width(), 7)
        for y in range(0, image.height(), 7)
    ]
    return np.array(values)


def test_an_export_that_cannot_be_written_says_so_and_leaves_nothing(ran: Any, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    (error,) = export(ran, missing)
    assert f"The folder {missing} cannot be written" in str(error)
    assert not missing.exists()
    assert inspection(ran).exportButton.enabled


def test_leaving_the_module_ends_an_export_and_puts_the_views_back(ran: Any, tmp_path: Path) -> None:
    before = views_state(ran)
    folder = tmp_path / "exports"
    folder.mkdir()
    ran.panel.inspector.export(folder)
    slicer.app.processEvents()
    slicer.app.processEvents()
    ran.exit()
    assert list(folder.iterdir()) == []
    assert views_state_of(ran.logic.getParameterNode()) == before
    ran.enter()
    assert inspection(ran).exportButton.enabled


def test_pictures_leave_out_what_the_views_write_into_their_corners(ran: Any, tmp_path: Path) -> None:
    annotation = slicer.app.layoutManager().sliceWidget("Red").sliceView().cornerAnnotation()
    pictures = []
    for text in ("", "Doe, Jane 1970-01-01"):
        annotation.SetText(vtk.vtkCornerAnnotation.UpperLeft, text)
        (folder,) = export(ran, tmp_path)
        pictures.append((folder / "segments_red.png").read_bytes())
        assert annotation.GetVisibility()
    annotation.SetText(vtk.vtkCornerAnnotation.UpperLeft, "")
    assert pictures[0] == pictures[1]


def test_maps_of_one_run_are_not_exported_with_the_segmentation_of_another(ran: Any, tmp_path: Path) -> None:
    first = ran.panel.parameters.segmentation
    ran.panel.parameters.segmentation, ran.panel.parameters.importance = None, None
    apply(ran)
    ran.panel.parameters.segmentation = first
    (error,) = export(ran, tmp_path)
    assert "select the segmentation and the importance of one run" in str(error)


def test_results_that_are_deleted_during_an_export_end_it(ran: Any, tmp_path: Path) -> None:
    ended: list[Any] = []
    folder = tmp_path / "exports"
    folder.mkdir()
    ran.panel.inspector.failed.connect(ended.append)
    ran.panel.inspector.export(folder)
    assert not inspection(ran).exportButton.enabled, "one export at a time"
    slicer.mrmlScene.RemoveNode(ran.panel.parameters.importance)
    wait_until(lambda: ended, 20)
    ran.panel.inspector.failed.disconnect(ended.append)
    assert "deleted or replaced during the export" in str(ended[0])
    assert list(folder.iterdir()) == []
