"""What a comparison suggests, to a user and to a script."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import slicer

from SCDSegmentationLib import suggestions
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.sweep_table import KEEP_RATIO, MEAN, readSweepTable
from slicer_module.helpers import add_volume, choose, wait_until
from slicer_module.sweep_helpers import columns, compare, explorer


def test_the_suggestion_follows_the_tolerance_and_is_remembered_for_the_model(widget: Any) -> None:
    button = widget.panel.ui.suggestedButton
    slicer.app.userSettings().remove("SCDSegmentation/SuggestedKeepRatio")
    choose(widget, add_volume())
    widget.exit()
    widget.enter()
    assert not button.isVisibleTo(widget.panel.ui.inputsCollapsibleButton)
    widget.panel.parameters.tolerance = 0.0
    compare(widget, "1, 0.5, 0.25")
    assert button.isVisibleTo(widget.panel.ui.inputsCollapsibleButton)
    assert "(0.25)" in button.text
    means = dict(zip(columns(widget)[KEEP_RATIO], columns(widget)[MEAN], strict=True))
    assert means[0.5] < 1.0, "random weights agree with themselves only"
    explorer(widget).ui.toleranceSpinBox.setValue(1.0)
    assert "(1)" in button.text
    assert explorer(widget).ui.suggestionLabel.text == (
        "Suggested keep ratio: 1. No smaller one agrees with it by at least 1."
    )
    explorer(widget).ui.toleranceSpinBox.setValue(0.0)
    widget.panel.parameters.keepRatio = 0.6
    button.click()
    assert widget.panel.parameters.keepRatio == 0.25
    model = widget.panel.model
    remembered = suggestions.suggestionFor(model)
    assert (remembered.keepRatio, remembered.tolerance, remembered.agreement) == (0.25, 0.0, means[0.25])
    choose(widget, widget.panel.parameters.inputVolume, "tiny4")
    assert not button.isVisibleTo(widget.panel.ui.inputsCollapsibleButton), "it is another model"
    assert suggestions.suggestionFor(replace(model, sha256="0" * 64)) is None, "other weights"


def test_a_script_gets_the_rows_and_the_table(widget: Any) -> None:
    from SCDSegmentation import SCDSegmentationLogic

    volume = add_volume()
    rows: list[float] = []
    logic = SCDSegmentationLogic()
    sweep = logic.sweep(volume, keepRatios=(0.5, 1.0), tolerance=0.0, model="tiny")
    assert [row.keepRatio for row in sweep.rows] == [1.0, 0.5]
    assert sweep.suggestedKeepRatio(0.0) == 0.5
    assert sweep.table is readSweepTable(volume).node
    assert sweep.row(0.5).files["labels"].is_file()
    folder = sweep.row(0.5).files["labels"].parent
    sweep.discard()
    assert not folder.exists()
    with pytest.raises(SegmentationError, match="are gone: compare again"):
        logic.prepareLoad(sweep, sweep.row(0.5))
    ended: list[Any] = []
    logic.startSweep(
        volume, (1.0, 0.5), model="tiny", onRow=lambda row: rows.append(row.keepRatio), onFinished=ended.append
    )
    wait_until(lambda: ended, 60)
    assert rows == [1.0, 0.5]
    with pytest.raises(SegmentationError, match="The tolerance 2 is out of range"):
        logic.sweep(volume, tolerance=2, model="tiny")
    ended[0].discard()
