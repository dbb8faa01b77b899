"""Panels are built from .ui files by slicer.util.loadUI."""

from __future__ import annotations

from pathlib import Path

import pytest

PANEL = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0">
 <class>Panel</class>
 <widget class="qMRMLWidget" name="Panel">
  <layout class="QVBoxLayout" name="verticalLayout">
   <item><widget class="ctkCollapsibleButton" name="inputsButton">
     <property name="text"><string>Inputs</string></property>
     <layout class="QFormLayout" name="formLayout">
      <item row="0" column="1"><widget class="qMRMLNodeComboBox" name="inputSelector">
        <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
        <property name="noneEnabled"><bool>true</bool></property>
        <property name="SlicerParameterName" stdset="0"><string>inputVolume</string></property>
      </widget></item>
      <item row="1" column="1"><widget class="ctkSliderWidget" name="keepRatioSlider">
        <property name="maximum"><double>1.0</double></property>
        <property name="SlicerParameterName" stdset="0"><string>keepRatio</string></property>
      </widget></item>
     </layout>
   </widget></item>
   <item><widget class="QPushButton" name="applyButton">
     <property name="text"><string>Apply</string></property>
   </widget></item>
  </layout>
 </widget>
 <connections>
  <connection>
   <sender>Panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
   <receiver>inputSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot>
  </connection>
  <connection>
   <sender>inputsButton</sender><signal>contentsCollapsed(bool)</signal>
   <receiver>applyButton</receiver><slot>setDisabled(bool)</slot>
  </connection>
 </connections>
</ui>
"""


def load(tmp_path: Path, text: str) -> object:
    import slicer.util

    path = tmp_path / "Panel.ui"
    path.write_text(text, encoding="utf-8")
    return slicer.util.loadUI(str(path))


def test_a_panel_has_the_widgets_properties_and_connections_of_its_file(tmp_path: Path) -> None:
    import ctk
    import slicer

    panel = load(tmp_path, PANEL)
    ui = slicer.util.childWidgetVariables(panel)
    assert type(panel) is slicer.qMRMLWidget
    assert type(ui.keepRatioSlider) is ctk.ctkSliderWidget
    assert ui.keepRatioSlider.maximum == 1.0
    assert ui.inputSelector.nodeTypes == ("vtkMRMLScalarVolumeNode",)
    assert ui.inputSelector.property("SlicerParameterName") == "inputVolume"
    panel.setMRMLScene(slicer.mrmlScene)
    assert ui.inputSelector.mrmlScene() is slicer.mrmlScene
    ui.inputsButton.collapsed = True
    assert not ui.applyButton.enabled


def test_widgets_keep_their_state_when_nothing_in_python_holds_them(tmp_path: Path) -> None:
    import gc

    import slicer

    panel = load(tmp_path, PANEL)
    gc.collect()
    panel.setMRMLScene(slicer.mrmlScene)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    assert slicer.util.findChild(panel, "inputSelector").nodeCount() == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("ctkSliderWidget", "ctkSlideWidget"), "there is no widget class ctkSlideWidget"),
        (('name="maximum"', 'name="maximun"'), r"ctkSliderWidget \(keepRatioSlider\) has no property maximun"),
        (("<receiver>inputSelector", "<receiver>inputSelektor"), "no object named inputSelektor"),
        (("setMRMLScene(vtk", "setScene(vtk"), "inputSelector has no slot setScene"),
        (("contentsCollapsed(bool)", "collapsed(bool)"), r"signal 'collapsed\(bool\)' does not exist"),
    ],
)
def test_what_slicer_could_not_build_is_refused(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises((RuntimeError, ValueError), match=message):
        load(tmp_path, PANEL.replace(*change))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    import slicer.util

    with pytest.raises(RuntimeError, match=r"file not found .*nowhere\.ui"):
        slicer.util.loadUI(str(tmp_path / "nowhere.ui"))
