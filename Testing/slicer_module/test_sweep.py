"""Comparing keep ratios: in the panel as a user does it, and whatever goes wrong, nothing that is complete is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from SCDSegmentationLib import suggestions
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.results import REPORT_ATTRIBUTE
from SCDSegmentationLib.sweep_table import KEEP_RATIO, LABEL, MEAN, PLOT_REFERENCE, SECONDS, TOKENS, readSweepTable
from SCDSegmentationLib.token_maps import tokenMapsOf
from slicer_module.helpers import add_volume, apply, choose, scene_state, wait_until
from slicer_module.sweep_helpers import begin, columns, compare, explorer, select
from slicer_module.test_faults import misbehaving, posix, worker_pid


def maps_and_labels(widget: Any) -> list[np.ndarray]:
    parameters = widget.panel.parameters
    arrays = [slicer.util.arrayFromVolume(node).copy() for node in tokenMapsOf(parameters.importance).nodes]
    segmentation = parameters.segmentation
    for segment in segmentation.GetSegmentation().GetSegmentIDs():
        arrays.append(slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, parameters.inputVolume))
    return arrays


def slow(widget: Any) -> Any:
    """Choose what the tiny model needs a while for."""
    volume = add_volume("slow", (70, 70, 70))
    choose(widget, volume, "tiny", 0.5)
    widget.panel.parameters.overlap = 0.75
    return volume


def after_first_row(widget: Any) -> Any:
    """Start a slow comparison and wait until its first row is there."""
    slow(widget)
    run = begin(widget, "1, 0.9, 0.8, 0.7, 0.6, 0.5")
    wait_until(lambda: run.sweep.rows or widget.logic.run is None, 90)
    assert widget.logic.run is run
    return run


def test_a_comparison_fills_the_table_that_the_rows_are_read_from(widget: Any) -> None:
    choose(widget, add_volume(), keep_ratio=0.5)
    seen: list[int] = []
    run = begin(widget, "0.25; 1 0.5")
    run.row.connect(lambda row: seen.append(len(columns(widget)[KEEP_RATIO])))
    wait_until(lambda: widget.logic.run is None, 90)
    assert widget.panel.ui.statusLabel.text.startswith("Compared 3 keep ratios in ")
    assert seen == [1, 2, 3], "rows appear as they are done"
    found, rows = columns(widget), explorer(widget).sweep.rows
    assert found[KEEP_RATIO] == [1.0, 0.5, 0.25]
    assert found[MEAN] == pytest.approx([row.meanDice for row in rows], abs=1e-4)
    assert found[MEAN][0] == 1.0
    assert found[SECONDS] == pytest.approx([row.secondsTotal for row in rows], abs=1e-3)
    assert found[TOKENS] == [row.tokensScored for row in rows]
    assert found[LABEL] == ["keep 1", "keep 0.5", "keep 0.25"]
    for row, ratio in zip(rows, (1.0, 0.5, 0.25), strict=True):
        assert row.report["keep_ratio"] == ratio
        assert sum(row.report["tokens_per_stage"]["scored"]) * row.report["windows"]["count"] == row.tokensScored
    names = {2: "white matter", 17: "hippocampus"}
    for value in {value for row in rows for value in row.dice}:
        assert found[names[value]] == pytest.approx(
            [row.dice.get(value, np.nan) for row in rows], abs=1e-4, nan_ok=True
        )
    assert explorer(widget).ui.suggestionLabel.text.startswith("Suggested keep ratio: ")


def test_the_current_keep_ratio_is_compared_too_once(widget: Any) -> None:
    choose(widget, add_volume(), keep_ratio=0.3)
    ui = explorer(widget).ui
    ui.ratiosLineEdit.setText("1")
    ui.currentCheckBox.setChecked(True)
    ui.compareButton.click()
    wait_until(lambda: widget.logic.run is None, 60)
    assert columns(widget)[KEEP_RATIO] == [1.0, 0.3]
    ui.ratiosLineEdit.setText("1, 0.3")
    ui.compareButton.click()
    wait_until(lambda: widget.logic.run is None, 60)
    assert columns(widget)[KEEP_RATIO] == [1.0, 0.3]


def test_loading_a_row_gives_what_apply_gives_at_its_keep_ratio(widget: Any) -> None:
    choose(widget, add_volume(), keep_ratio=0.5)
    compare(widget)
    select(widget, 0.5)
    explorer(widget).ui.loadButton.click()
    wait_until(lambda: widget.logic.run is None, 30)
    parameters = widget.panel.parameters
    assert parameters.keepRatio == 0.5
    loaded, segmentation = maps_and_labels(widget), parameters.segmentation
    assert '"keep_ratio": 0.5' in segmentation.GetAttribute(REPORT_ATTRIBUTE)
    assert apply(widget).startswith("Found")
    assert parameters.segmentation is segmentation
    for ours, theirs in zip(loaded, maps_and_labels(widget), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    select(widget, 0.25)
    explorer(widget).ui.sweepTableView.doubleClicked.emit(explorer(widget).ui.sweepTableView.currentIndex())
    wait_until(lambda: widget.logic.run is None, 30)
    assert parameters.keepRatio == 0.25
    assert parameters.segmentation is segmentation, "outputs are replaced as with Apply"


def test_cancelling_keeps_what_is_complete_and_it_can_be_loaded(widget: Any) -> None:
    remembered = suggestions.suggestionFor(widget.logic.findModel("tiny"))
    run = after_first_row(widget)
    assert explorer(widget).ui.compareButton.text == "Cancel"
    assert widget.panel.ui.applyButton.toolTip == "Stop the comparison; rows that are complete stay."
    assert widget.panel.ui.applyButton.text == "Cancel"
    explorer(widget).ui.compareButton.click()
    wait_until(lambda: widget.logic.run is None, 5)
    assert widget.panel.ui.statusLabel.text == "The comparison was cancelled; rows that were complete stay."
    assert suggestions.suggestionFor(widget.panel.model) == remembered, "what is not complete suggests nothing"
    done = len(run.sweep.rows)
    assert 1 <= done < 6
    assert columns(widget)[KEEP_RATIO] == [row.keepRatio for row in run.sweep.rows]
    assert explorer(widget).ui.compareButton.text == "Compare keep ratios"
    select(widget, 1.0)
    explorer(widget).ui.loadButton.click()
    wait_until(lambda: widget.logic.run is None, 30)
    assert widget.panel.ui.statusLabel.text.startswith("Loaded the result at keep ratio 1: ")


@pytest.mark.slow
def test_a_row_that_is_complete_before_the_worker_hears_of_the_cancelling_is_kept(widget: Any) -> None:
    slow(widget)

    def cancel_at_the_first_row(event: dict[str, Any]) -> None:
        if event.get("partial") and widget.logic.run is not None:
            widget.logic.cancel()

    # Heard before the run hears of the row.
    widget.logic.worker.event.connect(cancel_at_the_first_row)
    try:
        run = begin(widget, "1, 0.9, 0.8, 0.7, 0.6, 0.5")
        wait_until(lambda: widget.logic.run is None, 90)
    finally:
        widget.logic.worker.event.disconnect(cancel_at_the_first_row)
    assert run.sweep.rows[0].keepRatio == 1.0
    assert columns(widget)[KEEP_RATIO] == [row.keepRatio for row in run.sweep.rows]
    choose(widget, add_volume())
    assert apply(widget).startswith("Found"), "the worker was still busy with the comparison"


@pytest.mark.slow
@posix
def test_a_worker_that_is_killed_takes_nothing_with_it_that_was_complete(widget: Any) -> None:
    run = after_first_row(widget)
    os.kill(worker_pid(widget), signal.SIGKILL)
    wait_until(lambda: widget.logic.run is None, 5)
    assert "ended unexpectedly" in widget.panel.ui.statusLabel.text
    assert columns(widget)[KEEP_RATIO] == [row.keepRatio for row in run.sweep.rows]
    select(widget, 1.0)
    assert explorer(widget).ui.loadButton.enabled


@pytest.mark.slow
def test_a_scene_that_is_closed_ends_the_comparison_and_takes_its_files(widget: Any) -> None:
    run = after_first_row(widget)
    folder = run._folder
    assert folder.is_dir()
    slicer.mrmlScene.Clear(0)
    wait_until(lambda: widget.logic.run is None, 5)
    assert not folder.exists()
    assert explorer(widget).ui.sweepTableView.mrmlTableNode() is None


def test_a_volume_that_is_deleted_takes_the_files_of_its_comparison(widget: Any) -> None:
    choose(widget, add_volume())
    compare(widget, "1, 0.5")
    explorer(widget).ui.plotButton.click()
    folder = explorer(widget).sweep.rows[0].files["labels"].parent
    table = readSweepTable(widget.panel.parameters.inputVolume).node
    slicer.mrmlScene.RemoveNode(widget.panel.parameters.inputVolume)
    assert not folder.exists()
    slicer.mrmlScene.RemoveNode(table)
    wait_until(lambda: slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotChartNode") is None, 2)
    assert slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotSeriesNode") is None


def test_comparison_and_apply_exclude_each_other(widget: Any) -> None:
    volume = slow(widget)
    begin(widget, "1, 0.5")
    with pytest.raises(SegmentationError, match="A segmentation is running"):
        widget.logic.segment(volume, model="tiny")
    widget.panel.ui.applyButton.click()  # it is Cancel now
    wait_until(lambda: widget.logic.run is None, 5)
    nodes = scene_state()
    widget.panel.ui.applyButton.click()
    assert not explorer(widget).ui.compareButton.enabled
    assert explorer(widget).ui.loadButton.toolTip in ("Select a row first.", "Wait for the run, or cancel it.")
    widget.panel.ui.applyButton.click()
    wait_until(lambda: widget.logic.run is None, 5)
    assert scene_state() == nodes


BAD_RATIOS = {
    "1, half": "The keep ratios '1, half' are no list of numbers",
    "": "Give at least two keep ratios",
    "0.5": "Give at least two keep ratios",
    "0,5": "The keep ratio 0 is out of range: give numbers above 0 and at most 1. Decimals are written with a point",
    "1, 1.5": "The keep ratio 1.5 is out of range",
    "0.5, 0.50": "A keep ratio is given twice",
    "nan": "The keep ratio nan is out of range",
}


@pytest.mark.parametrize("text", BAD_RATIOS)
def test_bad_keep_ratios_are_one_clear_error(widget: Any, text: str) -> None:
    choose(widget, add_volume())
    nodes = scene_state()
    ui = explorer(widget).ui
    ui.ratiosLineEdit.setText(text)
    ui.currentCheckBox.setChecked(False)
    ui.compareButton.click()
    assert widget.logic.run is None
    assert BAD_RATIOS[text] in widget.panel.ui.statusLabel.text
    assert scene_state() == nodes


def test_a_row_that_cannot_be_understood_ends_in_a_message(widget: Any) -> None:
    choose(widget, add_volume())
    nodes = scene_state()
    with misbehaving(widget, "wrong row"):
        assert "sent an event that cannot be understood" in compare(widget)
        assert scene_state() == nodes
    assert compare(widget, "1, 0.5").startswith("Compared 2")


def test_a_later_comparison_replaces_the_table_and_one_that_fails_does_not(widget: Any) -> None:
    choose(widget, add_volume())
    compare(widget, "1, 0.5")
    node, folder = readSweepTable(widget.panel.parameters.inputVolume).node, explorer(widget).sweep.rows[0].files
    with misbehaving(widget, "exits"):
        compare(widget, "1, 0.25")
    assert columns(widget)[KEEP_RATIO] == [1.0, 0.5]
    select(widget, 0.5)
    assert explorer(widget).ui.loadButton.enabled, "its files are still there"
    compare(widget, "1, 0.25")
    assert readSweepTable(widget.panel.parameters.inputVolume).node is node
    assert columns(widget)[KEEP_RATIO] == [1.0, 0.25]
    assert not folder["labels"].exists()


def test_every_volume_has_a_comparison_of_its_own(widget: Any) -> None:
    first, second = add_volume("first"), add_volume("second", seed=1)
    choose(widget, first)
    compare(widget, "1, 0.5")
    of_first = readSweepTable(first).node
    choose(widget, second)
    assert explorer(widget).ui.sweepTableView.mrmlTableNode() is None
    assert not explorer(widget).ui.plotButton.enabled
    choose(widget, first)
    assert explorer(widget).ui.sweepTableView.mrmlTableNode() is of_first


def test_a_comparison_made_with_another_model_is_not_taken_for_this_ones(widget: Any) -> None:
    choose(widget, add_volume())
    compare(widget, "1, 0.5")
    select(widget, 0.5)
    ui = explorer(widget).ui
    choose(widget, widget.panel.parameters.inputVolume, "tiny4")
    assert ui.sweepTableView.mrmlTableNode() is None
    assert ui.suggestionLabel.text == "The last comparison of this volume was made with the model tiny."
    assert not ui.loadButton.enabled
    assert not ui.useButton.enabled
    assert ui.compareButton.toolTip == "T2: Select an input volume."
    choose(widget, widget.panel.parameters.inputVolume, "tiny")
    select(widget, 0.5)
    assert ui.loadButton.enabled


def test_a_saved_scene_brings_the_table_back_without_the_results(widget: Any, tmp_path: Path) -> None:
    choose(widget, add_volume())
    compare(widget, "1, 0.5, 0.25")
    explorer(widget).ui.plotButton.click()
    before, text = columns(widget), explorer(widget).ui.suggestionLabel.text
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    after = columns(widget)
    assert after[KEEP_RATIO] == before[KEEP_RATIO]
    assert after[MEAN] == pytest.approx(before[MEAN])
    ui = explorer(widget).ui
    assert ui.suggestionLabel.text == text
    select(widget, 0.25)
    assert not ui.loadButton.enabled
    assert "were not kept with the scene: use the keep ratio and press Apply" in ui.loadButton.toolTip
    ui.useButton.click()
    assert widget.panel.parameters.keepRatio == 0.25
    ui.plotButton.click()
    chart = readSweepTable(widget.panel.parameters.inputVolume).node.GetNodeReference(PLOT_REFERENCE)
    assert chart.GetNumberOfPlotSeriesNodes() == 1 + len(readSweepTable(widget.panel.parameters.inputVolume).structures)


def test_the_plot_shows_mean_and_structures_against_what_is_chosen(widget: Any) -> None:
    choose(widget, add_volume())
    compare(widget, "1, 0.5")
    ui = explorer(widget).ui
    for choice, column in (("against tokens", TOKENS), ("against time", SECONDS)):
        ui.plotAxisComboBox.setCurrentText(choice)
        ui.plotButton.click()
        table = readSweepTable(widget.panel.parameters.inputVolume)
        chart = table.node.GetNodeReference(PLOT_REFERENCE)
        series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
        assert {node.GetYColumnName() for node in series} == {MEAN, *table.structures}
        assert {node.GetXColumnName() for node in series} == {column}
        assert {node.GetLabelColumnName() for node in series} == {LABEL}
        assert slicer.app.applicationLogic().GetSelectionNode().GetActivePlotChartID() == chart.GetID()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLPlotSeriesNode") == len(series), "none are left over"
