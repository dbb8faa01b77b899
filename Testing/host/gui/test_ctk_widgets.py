"""CTK's stand-ins show and change what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_slider_and_spin_box_show_one_value() -> None:
    import ctk
    import qt

    slider = ctk.ctkSliderWidget()
    slider.minimum, slider.maximum, slider.singleStep, slider.decimals = 0.01, 1.0, 0.01, 2
    values: list[float] = []
    slider.valueChanged.connect(lambda value: values.append(value))
    slider.value = 0.25
    slider.value = 0.25
    spin = slider.findChildren("QDoubleSpinBox")[0]
    bar = slider.findChildren("QSlider")[0]
    assert spin.value == 0.25
    assert bar.value / bar.maximum == pytest.approx(0.24 / 0.99, abs=1e-3)
    spin.setValue(0.5)
    bar.setValue(bar.maximum)
    slider.setValue(7)
    assert values == [0.25, 0.5, 1.0]
    assert type(slider) is ctk.ctkSliderWidget
    assert slider.inherits("QWidget")
    assert qt.QWidget is not ctk.ctkSliderWidget


def test_slider_keeps_its_value_in_the_range() -> None:
    import ctk

    slider = ctk.ctkSliderWidget()
    slider.value = 80
    slider.maximum = 50
    assert slider.value == 50
    slider.minimum = 60
    assert (slider.minimum, slider.maximum, slider.value) == (60, 60, 60)


def test_setters_that_python_cannot_call_in_slicer_are_not_there() -> None:
    import ctk
    import slicer

    with pytest.raises(AttributeError):
        ctk.ctkSliderWidget().setMinimum(0)
    with pytest.raises(AttributeError):
        ctk.ctkCollapsibleButton().setCollapsed(True)
    with pytest.raises(AttributeError):
        slicer.qMRMLNodeComboBox().setNodeTypes(["vtkMRMLNode"])


def test_collapsible_button_hides_its_contents_and_shows_them_again() -> None:
    import ctk
    import qt

    button = ctk.ctkCollapsibleButton("Advanced")
    layout = qt.QVBoxLayout(button)
    shown, hidden = qt.QLabel("shown"), qt.QLabel("hidden by the module")
    layout.addWidget(shown)
    layout.addWidget(hidden)
    hidden.visible = False
    button.show()
    changes: list[bool] = []
    button.contentsCollapsed.connect(lambda collapsed: changes.append(collapsed))
    opened = button.sizeHint.height()
    button.collapsed = True
    assert not shown.visible
    assert button.sizeHint.height() < opened
    button.click()
    assert shown.visible
    assert not hidden.visible
    assert not button.collapsed
    assert changes == [True, False]
    button.hide()


def test_contents_shown_or_hidden_while_folded_appear_so_when_opened() -> None:
    import ctk
    import qt

    button = ctk.ctkCollapsibleButton("Advanced")
    button.collapsed = True
    layout = qt.QVBoxLayout(button)
    first, second = qt.QLabel("first"), qt.QLabel("second")
    layout.addWidget(first)
    layout.addWidget(second)
    button.show()
    qt.QApplication.processEvents()
    assert not first.visible
    first.visible = True
    second.visible = False
    assert not first.visible
    button.collapsed = False
    assert first.visible
    assert not second.visible
    button.hide()


def test_directory_button_tells_what_was_chosen_and_does_not_ask_in_testing_mode(tmp_path: Path) -> None:
    import ctk

    button = ctk.ctkDirectoryButton()
    changed: list[str] = []
    selected: list[str] = []
    button.directoryChanged.connect(lambda path: changed.append(path))
    button.directorySelected.connect(lambda path: selected.append(path))
    button.directory = str(tmp_path)
    button.directory = str(tmp_path)
    assert button.directory == str(tmp_path)
    assert (changed, selected) == ([str(tmp_path)], [str(tmp_path)] * 2)
    button.findChildren("QPushButton")[0].click()
    assert button.browse() == ""
    assert len(selected) == 2
    button.text = "Export…"
    assert button.findChildren("QPushButton")[0].text == "Export…"
