"""Typed parameter nodes; the same tests pass with Slicer's own code (SCDSEG_SLICER_SOURCE)."""

import enum
from pathlib import Path
from typing import Annotated, Any

import pytest

import embedded_slicer

embedded_slicer.start()

import qt  # noqa: E402
import slicer  # noqa: E402
from slicer.parameterNodeWrapper import (  # noqa: E402
    Choice,
    Decimals,
    Default,
    Minimum,
    WithinRange,
    isParameterNodeWrapper,
    parameterNodeWrapper,
)


class Mode(enum.Enum):
    FAST = 1
    THOROUGH = 2

    def label(self) -> str:
        return self.name.title()


@parameterNodeWrapper
class Parameters:
    inputVolume: slicer.vtkMRMLScalarVolumeNode
    keepRatio: Annotated[float, WithinRange(0.01, 1.0), Decimals(2)] = 0.25
    overlap: Annotated[float, Default(0.5)]
    count: Annotated[int, WithinRange(0, 10)] = 3
    least: Annotated[float, Minimum(0.0)] = 1.0
    legend: bool = True
    model: str = "brain-structures"
    precision: Annotated[str, Choice(["auto", "bf16", "fp32"])] = "auto"
    mode: Mode = Mode.THOROUGH
    structures: list[str]


def parameters() -> Parameters:
    return Parameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))


def test_defaults_are_written_when_the_node_is_first_wrapped() -> None:
    node = parameters()
    stored = {name: node.parameterNode.GetParameter(name) for name in node.parameterNode.GetParameterNames()}
    assert stored == {
        "inputVolume": "",
        "keepRatio": "0.25",
        "overlap": "0.5",
        "count": "3",
        "least": "1.0",
        "legend": "True",
        "model": "brain-structures",
        "precision": "auto",
        "mode": "THOROUGH",
        "structures.len": "0",
    }


def test_values_are_stored_as_slicer_stores_them() -> None:
    node = parameters()
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    node.inputVolume, node.keepRatio, node.legend, node.mode = volume, 0.5, False, Mode.FAST
    node.structures = ["thalamus", "caudate"]
    node.structures.append("putamen")
    node.structures[0] = "pallidum"
    raw = node.parameterNode
    assert raw.GetNodeReferenceID("inputVolume") == volume.GetID()
    assert [raw.GetParameter(name) for name in ("keepRatio", "legend", "mode")] == ["0.5", "False", "FAST"]
    assert [raw.GetParameter(f"structures.{name}") for name in ("len", 0, 1, 2)] == [
        "3",
        "pallidum",
        "caudate",
        "putamen",
    ]
    again = Parameters(raw)
    assert again.inputVolume is volume
    assert (again.keepRatio, again.legend, again.mode) == (0.5, False, Mode.FAST)
    assert list(again.structures) == ["pallidum", "caudate", "putamen"]
    node.inputVolume = None
    assert again.inputVolume is None


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("keepRatio", 1.5, ValueError),
        ("keepRatio", "0.5", TypeError),
        ("count", 2.5, TypeError),
        ("least", -1.0, ValueError),
        ("legend", 1, TypeError),
        ("model", None, ValueError),
        ("precision", "fp8", ValueError),
        ("mode", 1, TypeError),
        ("structures", ["a", 1], TypeError),
    ],
)
def test_values_that_do_not_fit_are_refused_and_change_nothing(name: str, value: Any, problem: type) -> None:
    node = parameters()
    before = node.getValue(name)
    with pytest.raises(problem):
        setattr(node, name, value)
    assert node.getValue(name) == before


def test_a_node_of_another_class_is_refused() -> None:
    node = parameters()
    with pytest.raises(TypeError):
        node.inputVolume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")


def test_a_change_is_one_modified_event_and_several_can_be() -> None:
    node = parameters()
    events: list[str] = []
    node.AddObserver("ModifiedEvent", lambda caller, event: events.append(event))
    node.keepRatio = 0.5
    assert len(events) == 1
    with slicer.util.NodeModify(node):
        node.keepRatio = 0.75
        node.legend = False
    assert len(events) == 2


def widgets() -> Any:
    ui = type("Ui", (), {})()
    import ctk

    made = {
        "inputVolume": slicer.qMRMLNodeComboBox(),
        "keepRatio": ctk.ctkSliderWidget(),
        "count": qt.QSpinBox(),
        "least": qt.QDoubleSpinBox(),
        "legend": qt.QCheckBox(),
        "model": qt.QLineEdit(),
        "precision": qt.QComboBox(),
        "mode": qt.QComboBox(),
    }
    for name, widget in made.items():
        widget.setProperty("SlicerParameterName", name)
        setattr(ui, name, widget)
    ui.inputVolume.noneEnabled = True
    ui.inputVolume.setMRMLScene(slicer.mrmlScene)
    return ui


def test_widgets_show_the_parameters_and_their_limits() -> None:
    ui, node = widgets(), parameters()
    node.connectGui(ui)
    assert ui.inputVolume.nodeTypes == ("vtkMRMLScalarVolumeNode",)
    assert (ui.keepRatio.minimum, ui.keepRatio.maximum, ui.keepRatio.value) == (0.01, 1.0, 0.25)
    assert (ui.count.minimum, ui.count.maximum, ui.count.value) == (0, 10, 3)
    assert ui.legend.checked
    assert ui.model.text == "brain-structures"
    assert [ui.precision.itemText(row) for row in range(ui.precision.count)] == ["auto", "bf16", "fp32"]
    assert [ui.mode.itemText(row) for row in range(ui.mode.count)] == ["Fast", "Thorough"]
    assert (ui.precision.currentText, ui.mode.currentText) == ("auto", "Thorough")


def test_widgets_and_parameters_follow_each_other_until_disconnected() -> None:
    ui, node = widgets(), parameters()
    tag = node.connectGui(ui)
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    ui.inputVolume.setCurrentNode(volume)
    ui.keepRatio.value = 0.5
    ui.legend.click()
    ui.model.text = "other"
    ui.precision.setCurrentText("fp32")
    ui.mode.setCurrentIndex(0)
    changed = [node.inputVolume, node.keepRatio, node.legend, node.model, node.precision, node.mode]
    assert changed == [volume, 0.5, False, "other", "fp32", Mode.FAST]
    node.keepRatio, node.inputVolume, node.mode = 0.75, None, Mode.THOROUGH
    assert ui.keepRatio.value == 0.75
    assert ui.inputVolume.currentNode() is None
    assert ui.mode.currentText == "Thorough"
    node.disconnectGui(tag)
    ui.keepRatio.value = 0.1
    node.legend = True
    assert node.keepRatio == 0.75
    assert not ui.legend.checked


def test_a_widget_that_cannot_show_its_parameter_is_refused() -> None:
    import ctk

    node = parameters()
    with pytest.raises(RuntimeError, match="Unable to create GUI connector"):
        node.connectParametersToGui({"legend": qt.QLineEdit()})
    with pytest.raises(RuntimeError, match="Choice"):
        node.connectParametersToGui({"model": qt.QComboBox()})
    with pytest.raises(RuntimeError, match="unbounded"):
        node.connectParametersToGui({"overlap": ctk.ctkSliderWidget()})
    with pytest.raises(ValueError, match="Cannot find a param with the given name: keep"):
        node.connectParametersToGui({"keep": qt.QLineEdit()})


def test_names_that_the_wrapper_needs_are_refused() -> None:
    class Clash:
        default: str = "x"

    with pytest.raises(ValueError, match="Cannot use reserved name 'default'"):
        parameterNodeWrapper(Clash)


def test_a_type_that_cannot_be_kept_is_refused() -> None:
    class Odd:
        value: bytes

    with pytest.raises(Exception, match=r"bytes|Unable to create serializer"):
        parameterNodeWrapper(Odd)


def test_a_wrapper_is_told_from_other_classes() -> None:
    assert isParameterNodeWrapper(Parameters)
    assert isParameterNodeWrapper(parameters())
    assert not isParameterNodeWrapper(Path)


def test_a_scene_that_is_closed_leaves_the_panel_usable(host: Any) -> None:
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    logic = ScriptedLoadableModuleLogic()
    logic.moduleName = "Example"
    node = Parameters(logic.getParameterNode())
    node.keepRatio = 0.75
    assert logic.getParameterNode() is node.parameterNode
    host.clear_scene()
    fresh = Parameters(logic.getParameterNode())
    assert fresh.keepRatio == 0.25
    assert fresh.parameterNode.GetAttribute("ModuleName") == "Example"
