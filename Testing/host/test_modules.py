"""A scripted module's file becomes a module and a panel as in Slicer, and goes away again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import embedded_slicer

SOURCE = """
import qt
import slicer
from slicer.ScriptedLoadableModule import *
from GreeterLib import GREETING


class Greeter(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Greeter module"
        parent.categories = ["Examples"]
        parent.dependencies = ["Volumes"]


class GreeterWidget(ScriptedLoadableModuleWidget):
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.happened = ["setup"]
        self.label = qt.QLabel(GREETING)
        self.layout.addWidget(self.label)
        self.logic = GreeterLogic()

    def enter(self):
        self.happened.append("enter")

    def exit(self):
        self.happened.append("exit")

    def cleanup(self):
        self.happened.append("cleanup")


class GreeterLogic(ScriptedLoadableModuleLogic):
    pass
"""


@pytest.fixture
def module_file(host: embedded_slicer.Host, tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "GreeterLib.py").write_text('GREETING = "good day"\n', encoding="utf-8")
    path = tmp_path / "Greeter.py"
    path.write_text(SOURCE, encoding="utf-8")
    yield path
    if "Greeter" in host._scripted:
        host.unload_module("Greeter")
    sys.modules.pop("GreeterLib", None)
    sys.path.remove(str(tmp_path))


def test_a_module_is_loaded_with_its_folder_on_the_path_and_its_panel_entered(
    host: embedded_slicer.Host, module_file: Path
) -> None:
    import slicer

    widget = host.load_module(module_file)
    assert widget.happened == ["setup", "enter"]
    assert widget.label.text == "good day"
    assert slicer.modules.GreeterWidget is widget
    assert slicer.modules.GreeterInstance.moduleName == "Greeter"
    assert slicer.modules.greeter.title == "Greeter module"
    assert slicer.modules.greeter.categories == ("Examples",)
    assert slicer.modules.greeter.name == slicer.moduleNames.Greeter == "Greeter"


def test_slicer_util_finds_the_module_its_panel_logic_and_path(host: embedded_slicer.Host, module_file: Path) -> None:
    import slicer

    widget = host.load_module(module_file)
    assert slicer.util.getModuleWidget("Greeter") is widget
    assert slicer.util.getModuleLogic("Greeter") is widget.logic
    assert slicer.util.modulePath("Greeter") == str(module_file)
    assert slicer.util.selectedModule() == "Greeter"
    assert slicer.util.mainWindow().windowTitle.startswith("Slicer")
    assert widget.parent.isEntered


def test_unloading_leaves_and_cleans_up_and_forgets_the_module(host: embedded_slicer.Host, module_file: Path) -> None:
    import slicer

    widget = host.load_module(module_file)
    host.unload_module("Greeter")
    assert widget.happened[-2:] == ["exit", "cleanup"]
    assert not widget.label  # deleted with its panel
    assert not hasattr(slicer.modules, "greeter")
    assert not hasattr(slicer.modules, "GreeterWidget")
    with pytest.raises(RuntimeError, match="Greeter"):
        slicer.util.getModule("Greeter")


def test_reloading_runs_the_changed_source_in_the_same_panel(host: embedded_slicer.Host, module_file: Path) -> None:
    import slicer

    widget = host.load_module(module_file)
    module_file.write_text(SOURCE.replace("qt.QLabel(GREETING)", 'qt.QLabel("good night")'), encoding="utf-8")
    slicer.util.reloadScriptedModule("Greeter")
    assert widget.happened[-1] == "cleanup"
    assert slicer.modules.GreeterWidget is not widget
    assert slicer.modules.GreeterWidget.label.text == "good night"
    assert slicer.modules.GreeterWidget.parent == widget.parent


def test_an_error_in_a_module_is_raised_and_leaves_nothing_behind(
    host: embedded_slicer.Host, module_file: Path
) -> None:
    import slicer

    module_file.write_text(SOURCE + "\nraise ValueError('broken module')\n", encoding="utf-8")
    with pytest.raises(ValueError, match="broken module"):
        host.load_module(module_file)
    assert not hasattr(slicer.modules, "greeter")
    assert "Greeter" not in slicer.util.moduleNames()


def test_what_the_module_object_does_not_have_in_slicer_cannot_be_set(
    host: embedded_slicer.Host, module_file: Path
) -> None:
    module_file.write_text(SOURCE.replace("parent.title", "parent.headline"), encoding="utf-8")
    with pytest.raises(AttributeError, match="headline"):
        host.load_module(module_file)


def test_a_panel_that_is_higher_than_the_window_scrolls_there_and_is_whole_on_its_own_picture(
    host: embedded_slicer.Host, module_file: Path, tmp_path: Path
) -> None:
    import ctk
    import qt
    from PySide6 import QtGui

    widget = host.load_module(module_file)
    sections = [ctk.ctkCollapsibleButton(f"section {number}") for number in range(3)]
    for section in sections:
        widget.layout.addWidget(section)
        contents = qt.QLabel("contents")
        contents.setMinimumHeight(500)
        qt.QVBoxLayout(section).addWidget(contents)
        section.collapsed = True
    last = qt.QLabel()
    last.setFixedHeight(20)
    last.setStyleSheet("background: #ff0000")
    widget.layout.addWidget(last)
    widget.layout.addStretch(1)

    def picture(name: str) -> QtGui.QImage:
        {"panel": host.panel_screenshot, "window": host.screenshot}[name](tmp_path / f"{name}.png")
        return QtGui.QImage(str(tmp_path / f"{name}.png"))

    def has_red(image: QtGui.QImage) -> bool:
        return any(image.pixelColor(200, row).getRgb() == (255, 0, 0, 255) for row in range(image.height()))

    folded = picture("panel")
    assert has_red(folded)
    assert has_red(picture("window"))
    assert host.window._panel.verticalScrollBar().maximum() == 0
    for section in sections:
        section.collapsed = False
    unfolded = picture("panel")
    assert unfolded.height() > 1500
    assert unfolded.width() == folded.width()
    assert has_red(unfolded)
    window = picture("window")
    assert window.height() == 900
    assert not has_red(window)
    assert host.window._panel.verticalScrollBar().maximum() > 600
