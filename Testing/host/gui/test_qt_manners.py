"""`qt` behaves as PythonQt's, also in what it refuses."""

from __future__ import annotations

import sys

import pytest


def test_properties_are_attributes() -> None:
    import qt

    label = qt.QLabel("first")
    assert label.text == "first"
    label.text = "second"
    label.setToolTip("tip")
    label.name = "nameOfLabel"
    assert (label.text, label.toolTip, label.objectName) == ("second", "tip", "nameOfLabel")
    label.enabled = False
    assert not label.isEnabled()


def test_a_property_cannot_be_called() -> None:
    import qt

    with pytest.raises(TypeError, match="'str' object is not callable"):
        qt.QLabel("text").text()


def test_nothing_unknown_is_read_or_written() -> None:
    import qt

    button = qt.QPushButton()
    with pytest.raises(AttributeError, match="QPushButton has no attribute named 'txt'"):
        _ = button.txt
    with pytest.raises(AttributeError, match="creating new attributes on C"):
        button.txt = "Apply"
    with pytest.raises(AttributeError, match="Slot 'click' can not be overwritten"):
        button.click = print
    with pytest.raises(AttributeError, match="Signal 'clicked' can not be overwritten"):
        button.clicked = print
    with pytest.raises(AttributeError, match="has no attribute named 'set_text'"):
        button.set_text("snake case is Qt for Python's")


def test_values_that_do_not_fit_a_property_are_refused() -> None:
    import qt

    slider = qt.QSlider()
    slider.value = 7.9
    assert slider.value == 7
    with pytest.raises(AttributeError, match=r"Property 'value' of type 'int' does not accept .* str"):
        slider.value = "seven"
    with pytest.raises(AttributeError, match="Property 'width' of QSlider object is not writable"):
        slider.width = 10


def test_keyword_arguments_are_refused() -> None:
    import qt

    with pytest.raises(ValueError, match="does not support kwargs"):
        qt.QLabel(text="text")
    with pytest.raises(ValueError, match="does not support kwargs"):
        qt.QLabel().setText(text="text")


def test_enumerations_are_integers_on_class_and_instance() -> None:
    import qt

    process = qt.QProcess()
    assert process.state() == qt.QProcess.NotRunning == process.NotRunning == 0
    assert int(qt.QProcess.Running) == 2
    with pytest.raises(AttributeError):
        _ = qt.QProcess.ProcessState.Running
    label = qt.QLabel()
    label.alignment = qt.Qt.AlignRight | qt.Qt.AlignTop
    assert label.alignment == 0x22
    item = qt.QListWidgetItem("item")
    item.setFlags(item.flags() & ~qt.Qt.ItemIsEnabled)
    assert not item.flags() & qt.Qt.ItemIsEnabled
    assert item.flags() & qt.Qt.ItemIsSelectable


def test_what_crashes_slicer_or_is_unknown_is_not_there() -> None:
    import qt

    with pytest.raises(AttributeError, match="it crashes Slicer"):
        _ = qt.Signal
    with pytest.raises(AttributeError, match="qt has no class 'QWidgit'"):
        _ = qt.QWidgit


def test_signals_pass_functions_as_many_arguments_as_they_take() -> None:
    import qt

    button = qt.QPushButton()
    button.checkable = True
    received: list = []
    button.clicked.connect(lambda: received.append("none"))
    button.clicked.connect(lambda checked: received.append(checked))
    button.connect("toggled(bool)", lambda *arguments: received.append(arguments))
    button.click()
    assert received == [(True,), "none", True]


def test_disconnecting_a_method_ends_its_calls() -> None:
    import qt

    class Counter:
        count = 0

        def increase(self) -> None:
            self.count += 1

    counter, timer = Counter(), qt.QTimer()
    timer.timeout.connect(counter.increase)
    timer.timeout.emit()
    assert timer.timeout.disconnect(counter.increase)
    assert not timer.timeout.disconnect(counter.increase)
    timer.timeout.emit()
    assert counter.count == 1


def test_connecting_to_a_signal_that_does_not_exist_is_refused() -> None:
    import qt

    with pytest.raises(ValueError, match=r"signal 'pushed\(\)' does not exist on QPushButton"):
        qt.QPushButton().connect("pushed()", print)
    with pytest.raises(AttributeError):
        qt.QPushButton().pushed.connect(print)


def test_an_exception_in_a_slot_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    import qt

    from embedded_slicer.gui.pythonqt import failures

    button = qt.QPushButton()
    button.clicked.connect(lambda: 1 / 0)
    button.click()
    assert [type(failure) for failure in failures] == [ZeroDivisionError]
    assert "ZeroDivisionError" in capsys.readouterr().err
    failures.clear()


def test_the_same_widget_has_equal_wrappers() -> None:
    import qt

    panel = qt.QWidget()
    layout = qt.QVBoxLayout(panel)
    button = qt.QPushButton()
    button.name = "applyButton"
    layout.addWidget(button)
    assert panel.findChildren(qt.QPushButton) == (button,)
    assert panel.findChild("QWidget", "applyButton") is button
    assert panel.applyButton == button
    assert layout.itemAt(0).widget() == button
    assert button.parent() == panel
    assert type(button) is qt.QPushButton
    assert not isinstance(button, qt.QWidget)
    assert button.inherits("QWidget")


def test_a_deleted_widget_is_false_and_refuses_everything() -> None:
    import qt

    panel = qt.QWidget()
    label = qt.QLabel("text", panel)
    panel.delete()
    assert not label
    assert label == None  # noqa: E711 (PythonQt's way to ask)
    with pytest.raises(ValueError, match="from a destroyed QLabel object"):
        _ = label.text


def test_dynamic_properties_are_read_by_property_and_as_attributes() -> None:
    import qt

    widget = qt.QWidget()
    assert widget.property("SlicerParameterName") is None
    widget.setProperty("SlicerParameterName", "keepRatio")
    assert widget.property("SlicerParameterName") == widget.SlicerParameterName == "keepRatio"


def test_python_subclasses_override_virtual_methods_and_keep_attributes() -> None:
    import qt

    class Square(qt.QWidget):
        def __init__(self, parent: object = None) -> None:
            super().__init__(parent)
            self.side = 12

        def sizeHint(self) -> object:
            return qt.QSize(self.side, self.side)

    panel = qt.QWidget()
    layout = qt.QHBoxLayout(panel)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(Square(panel))
    assert layout.sizeHint().width() == 12
    assert panel.findChildren(qt.QWidget)[0].side == 12


def test_a_process_talks_over_its_channels() -> None:
    import qt

    process, lines, ends = qt.QProcess(), [], []
    environment = qt.QProcessEnvironment.systemEnvironment()
    environment.insert("GREETING", "größer")
    process.setProcessEnvironment(environment)
    process.readyReadStandardOutput.connect(
        lambda: lines.append(process.readAllStandardOutput().data().decode("utf-8"))
    )
    process.finished.connect(lambda code, status: ends.append((code, status)))
    script = "import os, sys; sys.stdout.buffer.write((sys.stdin.read() + os.environ['GREETING']).encode())"
    process.start(sys.executable, ["-c", script])
    assert process.waitForStarted(10000)
    assert process.processId() > 0
    process.write(b"bigger, ")
    process.closeWriteChannel()
    assert process.waitForFinished(20000)
    assert "".join(lines) == "bigger, größer"
    assert ends == [(0, qt.QProcess.NormalExit)]


def test_a_program_that_is_not_there_is_reported() -> None:
    import qt

    process, errors = qt.QProcess(), []
    process.errorOccurred.connect(lambda error: errors.append(error))
    process.start("no-such-program-anywhere", [])
    process.waitForStarted(1000)
    assert errors == [qt.QProcess.FailedToStart]


def test_single_shot_runs_once_the_events_are_worked_off() -> None:
    import qt
    import slicer

    calls: list[str] = []
    qt.QTimer.singleShot(0, lambda: calls.append("now"))
    assert calls == []
    slicer.app.processEvents()
    assert calls == ["now"]


def test_a_cancelled_file_dialog_gives_an_empty_name_and_no_filter() -> None:
    import qt

    def cancel() -> None:
        qt.QApplication.activeModalWidget().reject()

    qt.QTimer.singleShot(100, cancel)
    assert qt.QFileDialog.getOpenFileName(None, "Choose a volume", "", "NRRD (*.nrrd)") == ""
