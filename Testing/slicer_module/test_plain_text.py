"""Names and descriptions from outside are shown as they are: Qt guesses what is HTML, and loads what that names."""

from __future__ import annotations

import json
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from embedded_slicer.gui.pythonqt import unwrap
from SCDSegmentationLib.device_list import DeviceList
from SCDSegmentationLib.plain_text import plain
from SCDSegmentationLib.results import REPORT_ATTRIBUTE
from SCDSegmentationLib.token_html import writeHtml
from SCDSegmentationLib.token_tables import TABLES, tableOf
from slicer_module.helpers import add_volume, apply, choose

EVIL = '<img src="//evil/x"> & <b>bold</b> &lt;i&gt;'
TEXTS = (EVIL, "<b>x</b>", "a < b and c > d", "&lt;b&gt;", "<?xml version='1.0'?>", "first\n<b>second</b>", "1 <2>")


def shown(text: str) -> str:
    """What a tool tip or a message box shows of a text that it takes for mark-up."""
    document = QtGui.QTextDocument()
    document.setHtml(text)
    return document.toPlainText()


@pytest.mark.parametrize("text", TEXTS)
def test_mark_up_is_shown_as_it_is(text: str) -> None:
    made = plain(text)
    assert made.startswith("<qt>")  # so nobody has to guess
    assert "<img" not in made
    assert shown(made) == text


@pytest.mark.parametrize("text", ["The volume 'head' is empty", "R&D", "Größe 体积", ""])
def test_text_without_mark_up_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


@pytest.fixture
def evil_model(widget: Any, tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The panel with a model whose every text is mark-up."""
    folder = tmp_path / ("models" if sys.platform == "win32" else "<b>models")
    shutil.copytree(tiny_models / "tiny", folder / "evil")
    path = folder / "evil" / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata |= {"name": EVIL, "description": EVIL}
    metadata["scd"]["channels"] = [EVIL]
    for label in metadata["scd"]["labels"]:
        label["name"] = EVIL
    path.write_text(json.dumps(metadata), encoding="utf-8")
    monkeypatch.setenv("SCDSEG_MODELS", str(folder))
    widget.panel._refreshModels()
    return widget


def labels_and_tool_tips(widget: Any) -> tuple[list[QtWidgets.QLabel], list[str]]:
    root = unwrap(widget.panel.ui.SCDSegmentation)
    widgets = [root, *root.findChildren(QtWidgets.QWidget)]
    tips = [w.toolTip() for w in widgets]
    for view in root.findChildren(QtWidgets.QListWidget):
        tips += [view.item(row).toolTip() for row in range(view.count())]
    return [w for w in widgets if isinstance(w, QtWidgets.QLabel)], [tip for tip in tips if tip]


def assert_nothing_is_rendered(widget: Any) -> None:
    labels, tips = labels_and_tool_tips(widget)
    outside = [label for label in labels if "<" in label.text()]
    assert not [label.objectName() for label in outside if label.textFormat() != QtCore.Qt.TextFormat.PlainText]
    assert not [tip for tip in tips if "<" in tip and not (tip.startswith("<qt>") and "<img" not in tip)]


def test_a_models_texts_are_not_rendered(evil_model: Any) -> None:
    volume = add_volume(EVIL)
    choose(evil_model, volume, "evil")
    ui = evil_model.panel.ui
    assert EVIL in ui.modelDescriptionLabel.text
    assert "<img" in ui.modelDescriptionLabel.text
    assert_nothing_is_rendered(evil_model)


def test_a_name_of_a_volume_is_not_rendered(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: boxes.append(text))
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", EVIL)
    choose(widget, empty, "tiny")
    assert "<" in widget.panel.ui.applyButton.toolTip
    assert_nothing_is_rendered(widget)
    widget.panel.onApply()
    assert len(boxes) == 1
    assert "<img" not in boxes[0]
    assert f"The volume '{EVIL}' has no image data" in shown(boxes[0])
    assert f"The volume '{EVIL}' has no image data" in widget.panel.ui.statusLabel.text
    assert_nothing_is_rendered(widget)


def test_every_label_whose_text_is_made_by_the_program_is_plain(widget: Any) -> None:
    for name in (
        *("inputLabel", "inputLabel2", "inputLabel3", "inputLabel4"),
        *("modelDescriptionLabel", "keepRatioInfoLabel", "statusLabel"),
    ):
        assert unwrap(getattr(widget.panel.ui, name)).textFormat() == QtCore.Qt.TextFormat.PlainText
    for ui, names in (
        (widget.panel.inspector.ui, ("runLabel", "stageInfoLabel", "cursorLabel")),
        (widget.panel.explorer.ui, ("suggestionLabel",)),
    ):
        for name in names:
            assert unwrap(getattr(ui, name)).textFormat() == QtCore.Qt.TextFormat.PlainText


def test_the_problem_of_a_device_is_not_rendered(host: Any) -> None:
    import qt

    box = qt.QComboBox()
    DeviceList(box).show([{"name": "cuda:0", "title": EVIL, "works": False, "problem": EVIL}])
    assert "<img" not in box.toolTip
    assert shown(box.toolTip) == f"{EVIL} does not work: {EVIL}"


_OWN_ELEMENTS = "html head meta title style body h1 h2 table tr th td p figure img figcaption"


class Elements(HTMLParser):
    """Collects the elements of a page, none of which may load anything or run anything."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        assert not [
            value for name, value in attrs if name.startswith("on") or (name == "src" and "evil" in (value or ""))
        ]


def test_the_exported_page_has_no_elements_but_its_own(widget: Any, tmp_path: Path) -> None:
    choose(widget, add_volume(EVIL), "tiny")
    apply(widget)
    maps = widget.panel.inspector.maps
    report = json.loads(maps.importance.GetAttribute(REPORT_ATTRIBUTE))
    report["model"] |= {"name": EVIL, "version": EVIL}
    report["device"]["name"] = EVIL
    report["versions"] = {EVIL: EVIL}
    report["precision"] = report["keep_ratio"] = EVIL
    table = tableOf(maps, TABLES[0])
    table.SetLocked(False)
    table.SetCellText(0, 0, EVIL)
    table.GetTable().GetColumn(1).SetName(EVIL)
    (tmp_path / "picture.png").write_bytes(b"")
    writeHtml(
        tmp_path / "page.html",
        {EVIL: {f"{EVIL}' onload='x": tmp_path / "picture.png"}},
        {EVIL: table},
        report,
        EVIL,
    )
    elements = Elements()
    elements.feed((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert elements.found == {*_OWN_ELEMENTS.split()}
