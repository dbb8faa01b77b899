"""The panel as a user meets it: what it offers, says and remembers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import slicer

from scdseg.threads import usable_cores
from SCDSegmentationLib import sample_data, worker_run
from SCDSegmentationLib.errors import SegmentationError
from slicer_module.helpers import add_volume, apply, choose, wait_until


def test_an_empty_scene_says_what_is_missing(widget: Any) -> None:
    button = widget.panel.ui.applyButton
    assert not button.enabled
    assert button.toolTip == "Select an input volume."


def test_the_sample_button_loads_the_sample_once_and_selects_it(widget: Any) -> None:
    ui = widget.panel.ui
    ui.sampleDataButton.click()
    volume = ui.inputSelector.currentNode()
    assert volume.GetName() == sample_data.NAME
    assert volume.GetImageData().GetDimensions() == (181, 217, 181)
    ui.inputSelector.setCurrentNode(add_volume("other"))
    ui.sampleDataButton.click()
    assert ui.inputSelector.currentNode() is volume
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 2


def test_the_sample_is_in_slicers_sample_data_module(widget: Any) -> None:
    import SampleData

    volume = SampleData.SampleDataLogic().downloadSample(sample_data.NAME)
    assert volume.GetName() == sample_data.NAME
    assert volume.GetImageData().GetDimensions() == (181, 217, 181)


def test_a_loaded_volume_is_selected_when_the_module_is_opened(widget: Any) -> None:
    widget.exit()
    volume = add_volume()
    widget.enter()
    assert widget.panel.ui.inputSelector.currentNode() is volume
    assert widget.panel.ui.applyButton.enabled


def test_the_gallery_lists_models_with_a_sentence_and_can_be_searched(widget: Any) -> None:
    ui = widget.panel.ui
    listed = [ui.modelListWidget.item(row).text() for row in range(ui.modelListWidget.count)]
    assert listed[0] == "Tiny\nRandom weights, for tests"
    assert listed[-1].endswith("32 brain structures, left and right, in T1-weighted head MRI")
    ui.modelSearchLineEdit.setText("amygdala t1")
    hidden = [ui.modelListWidget.item(row).isHidden() for row in range(ui.modelListWidget.count)]
    assert hidden == [True, True, False]
    ui.modelSearchLineEdit.setText("")


def test_a_model_brings_its_own_keep_ratio_overlap_and_presets(widget: Any) -> None:
    ui = widget.panel.ui
    choose(widget, add_volume(), "brain-structures")
    choose(widget, widget.panel.parameters.inputVolume, "tiny")
    assert widget.panel.parameters.keepRatio == pytest.approx(0.5)
    assert [b.text for b in (ui.fastButton, ui.defaultButton, ui.thoroughButton)] == [
        "Fast (0.25)",
        "Default (0.5)",
        "Thorough (1)",
    ]
    assert ui.keepRatioSlider.toolTip.endswith("This model is meant for 0.25 to 1.")
    ui.thoroughButton.click()
    assert ui.keepRatioSlider.value == pytest.approx(1.0)
    assert "keeps 100 % of tokens a stage: 8 → 8 of 8" in ui.keepRatioInfoLabel.text
    ui.fastButton.click()
    assert "keeps 25 % of tokens a stage: 2 → 0 of 8" in ui.keepRatioInfoLabel.text
    ui.keepRatioSlider.setValue(0.1)
    assert "outside the model's useful range 0.25…1" in ui.keepRatioInfoLabel.text


def test_the_state_is_saved_with_the_scene_and_survives_closing_it(widget: Any, host: Any, tmp_path: Path) -> None:
    ui = widget.panel.ui
    choose(widget, add_volume("kept"), "tiny", 0.75)
    ui.overlapSlider.setValue(0.25)
    ui.precisionComboBox.setCurrentText("fp32")
    ui.opacitySlider.setValue(0.35)
    ui.legendCheckBox.setChecked(False)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    host.clear_scene()
    assert not ui.applyButton.enabled
    assert ui.inputSelector.currentNode() is None
    choose(widget, add_volume("new"), "tiny4", 0.3)
    host.clear_scene()
    assert slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    parameters = widget.panel.parameters
    assert parameters.inputVolume.GetName() == "kept"
    assert (parameters.model, parameters.precision) == ("tiny", "fp32")
    assert [parameters.keepRatio, parameters.overlap, parameters.opacity] == pytest.approx([0.75, 0.25, 0.35])
    assert ui.modelListWidget.currentItem().text().startswith("Tiny")
    assert not ui.legendCheckBox.checked
    assert ui.keepRatioSlider.value == pytest.approx(0.75)
    assert apply(widget).startswith("Found")


def test_what_the_panel_says_reaches_the_worker(widget: Any) -> None:
    ui = widget.panel.ui
    choose(widget, add_volume(), "tiny", 0.25)
    ui.overlapSlider.setValue(0.75)
    ui.precisionComboBox.setCurrentText("fp32")
    ui.deviceComboBox.setCurrentIndex(ui.deviceComboBox.findData("cpu"))
    ui.threadsSpinBox.setValue(1)
    results = []
    run = widget.logic.prepare(widget.panel._request())
    run.finished.connect(results.append)
    run.start()
    wait_until(lambda: widget.logic.run is None, 60)
    report = results[0].report
    assert (report["keep_ratio"], report["windows"]["overlap"]) == (0.25, 0.75)
    assert (report["precision"], report["device"]["type"]) == ("fp32", "cpu")
    assert report["threads"] == {"least": 1, "most": 1, "automatic": False}


def test_threads_of_a_larger_computer_are_as_many_as_this_one_lets_be_used(
    widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker refuses more: those that affinity and a container's quota leave, which may be fewer than there are."""
    for cores in (usable_cores(), 1):
        monkeypatch.setattr(worker_run, "usable_cores", lambda cores=cores: cores)
        results = widget.logic.segment(add_volume(), model="tiny", threads=256)
        assert results.report["threads"] == {"least": cores, "most": cores, "automatic": False}
    with pytest.raises(SegmentationError, match="-1 threads cannot be used"):
        widget.logic.segment(add_volume(), model="tiny", threads=-1)


def test_the_devices_are_named_with_their_free_memory(widget: Any) -> None:
    ui = widget.panel.ui
    wait_until(lambda: ui.deviceComboBox.findData("cpu") >= 0, 60)
    text = ui.deviceComboBox.itemText(ui.deviceComboBox.findData("cpu"))
    assert "(cpu, " in text
    assert text.endswith(" GB free)")
    assert ui.deviceComboBox.currentIndex == 0


def test_progress_tells_step_windows_and_time_left(widget: Any) -> None:
    ui = widget.panel.ui
    choose(widget, add_volume(shape=(60, 60, 60)), "tiny", 1.0)
    said: list[str] = []
    ui.applyButton.click()
    assert ui.progressBar.isVisibleTo(widget.parent)
    run = widget.logic.run
    run.progress.connect(lambda *_: said.append(ui.statusLabel.text))
    wait_until(lambda: widget.logic.run is None, 60)
    assert any(text.startswith("Segmenting: window ") and text.endswith(" s left") for text in said), said
    assert not ui.progressBar.isVisibleTo(widget.parent)
    assert "first window" in ui.logTextEdit.plainText


def test_results_are_named_after_their_volume_and_reported(widget: Any) -> None:
    choose(widget, add_volume("patient 7"), "tiny")
    message = apply(widget)
    parameters = widget.panel.parameters
    assert parameters.segmentation.GetName() == "patient 7 segmentation"
    assert parameters.importance.GetName() == "patient 7 token importance"
    assert message.startswith("Found ")
    assert " of 2 structures in " in message


def test_warnings_of_the_engine_are_in_the_log(widget: Any) -> None:
    choose(widget, add_volume(), "tiny", 0.1)
    apply(widget)
    assert "outside the model's useful range" in widget.panel.ui.logTextEdit.plainText


def test_a_run_goes_on_when_the_module_is_left_and_is_there_on_return(widget: Any) -> None:
    choose(widget, add_volume(shape=(60, 60, 60)), "tiny", 1.0)
    widget.panel.ui.applyButton.click()
    widget.exit()
    wait_until(lambda: widget.logic.run is None, 60)
    widget.enter()
    assert widget.panel.parameters.segmentation.GetName() == "head segmentation"
    assert widget.panel.ui.segmentationSelector.currentNode() is widget.panel.parameters.segmentation


def test_an_image_is_not_offered_as_output_of_the_importance(widget: Any) -> None:
    choose(widget, add_volume(), "tiny")
    apply(widget)
    selector = widget.panel.ui.importanceSelector
    assert selector.nodeCount() == 1
    selector.setCurrentNode(widget.panel.parameters.inputVolume)
    assert selector.currentNode() is not widget.panel.parameters.inputVolume


def test_the_panel_fits_on_one_screen(widget: Any) -> None:
    assert widget.parent.sizeHint.height() <= 1000
    assert widget.parent.sizeHint.width() <= 600


def test_a_script_gets_progress_and_results_by_callbacks(widget: Any) -> None:
    steps: list[str] = []
    ended: list[Any] = []
    volume = add_volume()
    run = widget.logic.startSegmentation(
        volume,
        model="tiny",
        keepRatio=0.5,
        onProgress=lambda step, done, total, left: steps.append(step),
        onFinished=ended.append,
        onFailed=ended.append,
    )
    assert widget.logic.run is run
    wait_until(lambda: ended, 60)
    assert "windows" in steps
    assert ended[0].segmentation.GetSegmentation().GetNumberOfSegments() >= 1
    assert ended[0].report["keep_ratio"] == 0.5


def test_a_script_can_cancel(widget: Any) -> None:
    ended: list[Any] = []
    volume = add_volume(shape=(120, 120, 120))
    widget.logic.startSegmentation(volume, model="tiny", overlap=0.9, onFailed=ended.append)
    widget.logic.cancel()
    wait_until(lambda: ended, 2)
    assert ended[0].code == "cancelled"
    assert widget.logic.run is None


def test_panel_and_scripts_share_one_worker(widget: Any) -> None:
    from SCDSegmentation import SCDSegmentationLogic

    assert SCDSegmentationLogic().worker is widget.logic.worker


def test_with_its_sections_closed_the_panel_fits_on_one_screen(widget: Any) -> None:
    ui = widget.panel.ui
    closed = ("inspectionCollapsibleButton", "explorerCollapsibleButton", "advancedCollapsibleButton")
    assert all(getattr(ui, name).collapsed for name in (*closed, "logCollapsibleButton"))
    size = ui.SCDSegmentation.sizeHint
    assert size.height() <= 850
    assert size.width() <= 420
