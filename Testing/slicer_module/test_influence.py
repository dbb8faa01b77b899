"""Influence in the panel: computed on request, shown, exported, and never left behind by another run."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.influence_map import ALL_STRUCTURES, checkInfluence, influenceOn
from SCDSegmentationLib.parameters import BOTH, IMPORTANCE_MAP, INFLUENCE_MAP, NOTHING, SEGMENTS, TOKENS
from SCDSegmentationLib.report_check import storedReport
from SCDSegmentationLib.results import INPUT_REFERENCE, REPORT_ATTRIBUTE
from SCDSegmentationLib.token_choice import TokenChoice, readTokenChoices, tokenChoiceText
from SCDSegmentationLib.token_maps import TokenMaps, tokenMapsOf
from SCDSegmentationLib.token_readout import readToken
from SCDSegmentationLib.volume_files import matrixOf
from slicer_module.helpers import add_volume, apply, choose, scene_state, wait_until


@pytest.fixture
def ran(widget: Any) -> Any:
    choose(widget, add_volume(shape=(26, 32, 40)), keep_ratio=0.6)
    widget.panel.parameters.overlap = 0.0
    assert apply(widget).startswith("Found")
    return widget


def maps_of(widget: Any) -> TokenMaps:
    return tokenMapsOf(widget.panel.parameters.importance)


def compute(widget: Any, structure: int = 0) -> str:
    """Choose a structure by number, click Compute, wait for the end, and return what the panel says."""
    ui = widget.panel.inspector.ui
    ui.influenceComboBox.setCurrentIndex(structure)
    ui.influenceButton.click()
    assert widget.logic.run is not None, widget.panel.ui.statusLabel.text
    wait_until(lambda: widget.logic.run is None, 60)
    return widget.panel.ui.statusLabel.text


def test_influence_is_computed_on_request_shown_and_told_under_the_cursor(ran: Any) -> None:
    ui, parameters = ran.panel.inspector.ui, ran.panel.parameters
    segments = parameters.segmentation.GetSegmentation()
    names = [segments.GetNthSegment(number).GetName() for number in range(segments.GetNumberOfSegments())]
    box = ui.influenceComboBox
    assert [box.itemText(number) for number in range(box.count)] == [ALL_STRUCTURES, *names]
    ui.tokenMapComboBox.setCurrentText(INFLUENCE_MAP)
    assert "press Compute" in ui.tokenMapInfoLabel.text
    assert compute(ran).startswith("Computed influence on all structures in")
    maps = maps_of(ran)
    array = slicer.util.arrayFromVolume(maps.influence)
    assert array.shape == slicer.util.arrayFromVolume(maps.importance).shape
    assert (array.min() >= 0, array.max()) == (True, 1)
    np.testing.assert_allclose(matrixOf(maps.influence), matrixOf(maps.importance), atol=1e-6)
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetForegroundVolumeID() == maps.influence.GetID()
    assert ui.tokenMapInfoLabel.text.startswith("Influence on all structures")
    token = readToken(maps, parameters.segmentation, (matrixOf(maps.importance) @ (1, 1, 1, 1))[:3])
    assert token.influence == pytest.approx(array[1, 1, 1])
    assert f"influence {array[1, 1, 1]:.2f}" in token.text(maps)
    # Again, of one structure: the same node, another map.
    nodes = scene_state()
    assert compute(ran, 1).startswith(f"Computed influence on {names[0]}")
    assert scene_state() == nodes
    assert influenceOn(maps_of(ran)) == names[0]
    assert not np.array_equal(slicer.util.arrayFromVolume(maps_of(ran).influence), array)


def test_the_map_is_named_after_the_volume_whatever_that_is_called(ran: Any) -> None:
    ran.panel.parameters.inputVolume.SetName("importance of sleep")
    compute(ran)
    assert maps_of(ran).influence.GetName() == "importance of sleep token influence"


def test_another_run_takes_influence_away_and_so_does_deleting_the_importance(ran: Any) -> None:
    compute(ran)
    influence = maps_of(ran).influence
    assert apply(ran).startswith("Found")
    assert influence.GetScene() is None
    assert maps_of(ran).influence is None
    compute(ran)
    influence = maps_of(ran).influence
    slicer.mrmlScene.RemoveNode(ran.panel.parameters.importance)
    wait_until(lambda: influence.GetScene() is None, 5)


def test_cancelling_leaves_the_scene_as_it_was_and_errors_are_told(ran: Any, host: Any) -> None:
    nodes, button = scene_state(), ran.panel.inspector.ui.influenceButton
    button.click()
    assert button.text == "Cancel"
    button.click()
    wait_until(lambda: ran.logic.run is None, 5)
    assert ran.panel.ui.statusLabel.text == "Computing influence was cancelled; the scene is as it was."
    assert (button.text, button.enabled) == ("Compute", True)
    assert scene_state() == nodes
    model, request, parameters = ran.panel.model, ran.panel._request(), ran.panel.parameters
    other = add_volume("other", shape=(26, 32, 40))
    for changed, message in (
        ({"volumes": (other,)}, "made of another volume"),
        ({"model": type(model)(**{**model.__dict__, "sha256": "0" * 64})}, "made with the model tiny"),
    ):
        with pytest.raises(SegmentationError, match=message):
            ran.logic.prepareInfluence(
                type(request)(**{**request.__dict__, **changed}), parameters.segmentation, maps_of(ran)
            )
    with pytest.raises(SegmentationError, match="no run"):
        ran.logic.prepareInfluence(request, None, maps_of(ran))
    assert ran.logic.run is None


def test_a_map_that_does_not_fit_the_run_is_refused(ran: Any) -> None:
    maps = maps_of(ran)
    good, matrix = slicer.util.arrayFromVolume(maps.importance), matrixOf(maps.importance)
    checkInfluence(maps, good, matrix)
    for array, where in ((good[1:], matrix), (good + 2, matrix), (good * np.nan, matrix), (good, matrix + 1)):
        with pytest.raises(SegmentationError, match="does not fit"):
            checkInfluence(maps, array, where)


def test_an_export_has_influence_if_it_was_computed(ran: Any, tmp_path: Path) -> None:
    compute(ran)
    ended: list[Any] = []
    ran.panel.inspector.exported.connect(ended.append)
    ran.panel.inspector.failed.connect(ended.append)
    ran.panel.inspector.export(tmp_path)
    wait_until(lambda: ended)
    (folder,) = ended
    assert (folder / "influence_red.png").is_file()
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["influence"] == {"on": ALL_STRUCTURES}
    with (folder / "influence.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    array = slicer.util.arrayFromVolume(maps_of(ran).influence)
    assert rows[0] == ["i", "j", "k", "importance", "influence on all structures"]
    assert len(rows) == 1 + array.size
    i, j, k = map(int, rows[5][:3])
    assert float(rows[5][4]) == pytest.approx(array[k, j, i], abs=1e-4)
    assert "Influence on all structures" in (folder / "report.html").read_text(encoding="utf-8")


def test_the_panel_says_what_importance_decides_in_the_model(ran: Any) -> None:
    ui, parameters = ran.panel.inspector.ui, ran.panel.parameters
    parameters.tokenMap = IMPORTANCE_MAP
    assert ui.tokenMapInfoLabel.text.endswith("in this model was not measured.")
    models = {model.name: model for model in ran.panel.models._models}
    shipped = models["brain-structures"].tokenChoices
    assert [choice.keepRatio for choice in shipped] == [0.25, 0.1]
    assert "importance decides little here" in tokenChoiceText(shipped, 0.25)
    text = tokenChoiceText([TokenChoice(0.5, "a head", 0.8, 0.7, None)], 0.1)
    assert "scores 0.800, a random one 0.700 (mean Dice, a head, keep ratio 0.5): importance matters here." in text
    with pytest.raises(ValueError, match="from 0 to 1"):
        readTokenChoices({"token_choice": {"subject": "", "rows": [{"keep_ratio": 1, "learned": 2, "random": 0}]}})


def test_a_structure_stays_the_same_however_the_segments_were_edited(ran: Any) -> None:
    """Slicer gives a segment another label value when it is edited, and the user another place in the list."""
    ui, segmentation = ran.panel.inspector.ui, ran.panel.parameters.segmentation
    segments = segmentation.GetSegmentation()
    first, second = segments.GetSegmentIDs()[:2]
    name = segments.GetSegment(second).GetName()
    compute(ran, 2)
    array = slicer.util.arrayFromVolume(maps_of(ran).influence).copy()
    segments.SeparateSegmentLabelmap(second)
    segments.SetSegmentIndex(second, 0)
    assert segments.GetSegment(second).GetLabelValue() == 1 != int(second.removeprefix("Segment_"))
    assert compute(ran, 2 if ui.influenceComboBox.itemText(2) == name else 1).startswith(
        f"Computed influence on {name}"
    )
    np.testing.assert_allclose(slicer.util.arrayFromVolume(maps_of(ran).influence), array, atol=1e-4)
    ui.influenceComboBox.setCurrentIndex(ui.influenceComboBox.findData(first))
    segments.RemoveSegment(first)
    ui.influenceButton.click()
    assert ran.panel.ui.statusLabel.text == "The structure is not in the segmentation any more: choose another one."
    assert ui.influenceComboBox.findData(first) == -1
    drawn = segments.AddEmptySegment("mine", "drawn by hand")
    with pytest.raises(SegmentationError, match="'drawn by hand' is none of the structures"):
        ran.logic.prepareInfluence(ran.panel._request(), segmentation, maps_of(ran), drawn)
    assert ran.logic.run is None


def test_a_damaged_report_of_a_scene_from_anywhere_is_as_none(ran: Any, tmp_path: Path) -> None:
    """It is read at every change, where an exception would reach nobody who could do anything about it."""
    parameters, ui = ran.panel.parameters, ran.panel.inspector.ui
    good = json.loads(parameters.importance.GetAttribute(REPORT_ATTRIBUTE))
    assert storedReport(parameters.importance) == good
    damaged = [good | change for change in ({"model": {}}, {"keep_ratio": "a"}, {"windows": []}, {"keep_ratio": None})]
    texts = ["", "{", "[]", "7", "null", "[" * 100_000, '{"keep_ratio": NaN}', *map(json.dumps, damaged)]
    for opacity, text in enumerate(texts):
        parameters.importance.SetAttribute(REPORT_ATTRIBUTE, text)
        assert storedReport(parameters.importance) == {}
        parameters.opacity = opacity / 100
        assert ui.tokenMapInfoLabel.text == ""
        assert ui.runLabel.text == parameters.importance.GetName()
    errors: list[SegmentationError] = []
    ran.panel.inspector.failed.connect(errors.append)
    ran.panel.inspector.export(tmp_path)
    ran.panel.inspector.failed.disconnect(errors.append)
    ui.influenceButton.click()
    for message in (str(errors[0]), ran.panel.ui.statusLabel.text):
        assert message.startswith("There is no run to ")


def test_influence_appears_whatever_was_shown_before(ran: Any) -> None:
    parameters = ran.panel.parameters
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    for before, after in ((SEGMENTS, BOTH), (NOTHING, BOTH), (TOKENS, TOKENS), (BOTH, BOTH)):
        parameters.shown, parameters.tokenMap = before, IMPORTANCE_MAP
        compute(ran)
        assert (parameters.shown, parameters.tokenMap) == (after, INFLUENCE_MAP)
        assert composite.GetForegroundVolumeID() == maps_of(ran).influence.GetID()


def test_all_inputs_of_a_run_must_be_selected_in_their_order(widget: Any) -> None:
    volumes = [add_volume(f"channel {number}", seed=number) for number in range(4)]
    results = widget.logic.segment(volumes, model="tiny4", keepRatio=0.6, overlap=0.0)
    maps = tokenMapsOf(results.importance)

    def refusal(*selected: Any) -> str:
        request = widget.logic.request(selected, model="tiny4")
        with pytest.raises(SegmentationError) as refused:
            widget.logic.prepareInfluence(request, results.segmentation, maps)
        return str(refused.value)

    a, b, c, d = volumes
    for selected in ((a, b, d, c), (a, b, c, add_volume("other"))):
        assert refusal(*selected).startswith("The run was made of other volumes")
    run = widget.logic.prepareInfluence(widget.logic.request(volumes, model="tiny4"), results.segmentation, maps)
    run.start()
    wait_until(lambda: widget.logic.run is None, 60)
    assert tokenMapsOf(results.importance).influence is not None
    # As in a scene from before the inputs were kept.
    results.segmentation.RemoveNodeReferenceIDs(INPUT_REFERENCE)
    assert "is not known: press Apply to run again" in refusal(*volumes)
