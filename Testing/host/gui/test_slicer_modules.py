"""slicer.util's dialogs, slicer.packaging, slicer.i18n and SampleData."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def test_error_display_is_logged_and_does_not_wait(caplog: pytest.LogCaptureFixture) -> None:
    import slicer.util

    with caplog.at_level(logging.ERROR):
        slicer.util.errorDisplay("The model is missing")
    assert "The model is missing" in caplog.text


def test_an_exception_passes_through_try_with_error_display() -> None:
    import qt
    import slicer.util

    with pytest.raises(KeyError), slicer.util.tryWithErrorDisplay("Failed", waitCursor=True):
        raise KeyError("volume")
    assert qt.QApplication.overrideCursor() is None


def test_the_wait_cursor_is_taken_back() -> None:
    import qt
    import slicer.util

    with slicer.util.WaitCursor():
        assert qt.QApplication.overrideCursor().shape() == qt.Qt.WaitCursor
    assert qt.QApplication.overrideCursor() is None


def test_settings_are_kept_but_not_the_users() -> None:
    import qt
    import slicer.util

    assert slicer.util.settingsValue("SCDSegmentation/device", "auto") == "auto"
    qt.QSettings().setValue("SCDSegmentation/device", "cpu")
    assert slicer.util.settingsValue("SCDSegmentation/device", "auto") == "cpu"
    assert "embedded-slicer" in qt.QSettings().fileName()
    qt.QSettings().remove("SCDSegmentation/device")


def test_a_message_box_can_be_answered_for_good() -> None:
    import ctk
    import qt

    box = ctk.ctkMessageBox()
    box.text = "Install?"
    box.standardButtons = qt.QMessageBox.Ok | qt.QMessageBox.Cancel
    box.dontShowAgainSettingsKey = "SCDSegmentation/askInstall"
    assert box.dontShowAgainVisible
    qt.QSettings().setValue("SCDSegmentation/askInstall", int(qt.QMessageBox.Ok))
    assert box.exec_() == qt.QMessageBox.Ok
    qt.QSettings().remove("SCDSegmentation/askInstall")


def test_installed_packages_are_found_with_their_versions(tmp_path: Path) -> None:
    import slicer.packaging

    assert slicer.packaging.pip_check("numpy>=1.20")
    assert not slicer.packaging.pip_check("numpy>=99")
    assert not slicer.packaging.pip_check(["numpy", "no-such-package-here"])
    assert slicer.packaging.pip_check(["no-such-package-here; python_version < '3'"])
    path = tmp_path / "requirements.txt"
    path.write_text("# comment\n-r other.txt\n\nnumpy>=1.20\n", encoding="utf-8")
    assert [str(requirement) for requirement in slicer.packaging.load_requirements(path)] == ["numpy>=1.20"]
    assert not slicer.packaging.isPipInstallInProgress()


def test_nothing_is_installed_in_testing_mode() -> None:
    import slicer.packaging

    assert slicer.packaging.pip_ensure("no-such-package-here", requester="Test") is None


def test_text_is_english() -> None:
    from slicer.i18n import tr, translate

    assert tr("Apply") == "Apply"
    assert translate("qSlicerAbstractCoreModule", "Segmentation") == "Segmentation"


@pytest.fixture
def sample_file(tmp_path: Path) -> Any:
    import slicer

    volume = slicer.util.addVolumeFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    path = tmp_path / "sample.nrrd"
    slicer.util.saveNode(volume, str(path))
    slicer.mrmlScene.RemoveNode(volume)
    return path


def test_a_registered_sample_is_listed_once_and_loaded_by_name(sample_file: Path) -> None:
    import SampleData
    import slicer

    logic = SampleData.SampleDataLogic
    for _ in range(2):
        logic.registerCustomSampleDataSource(
            category="Test", sampleName="Small", uris=sample_file.as_uri(), fileNames="sample.nrrd", nodeNames="Small"
        )
    assert [source.sampleName for source in logic.sampleDataSourcesByCategory("Test")] == ["Small"]
    node = logic().downloadSample("Small")
    assert node.GetName() == "Small"
    assert slicer.util.arrayFromVolume(node).shape == (2, 3, 4)


def test_a_sample_without_uris_is_refused_as_in_slicer() -> None:
    import SampleData

    with pytest.raises(TypeError):
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="Test", sampleName="Own", customDownloader=print
        )
