"""Missing packages are asked for once, with sizes; whatever the answer, the panel stays usable."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import slicer.packaging

from scdseg.resources import resource_dir
from SCDSegmentationLib import dependencies
from SCDSegmentationLib.dependencies import PACKAGES, PYTORCH, consentText, missing
from SCDSegmentationLib.errors import SegmentationError
from slicer_module.helpers import add_volume, apply, choose, scene_state

ABSENT = dependencies.Dependency("scdseg-no-such-package", "1", "7 MB", "this test")
TOO_NEW = dependencies.Dependency("torch", "99", "8 MB", "this test")


class Installer:
    """Notes what would be installed; what is noted counts as installed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: bool = True) -> None:
        self.asked: list[str] = []
        self.installed: list[Any] = []
        monkeypatch.setattr(dependencies, "_testing", lambda: False)
        monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", self._ask)
        monkeypatch.setattr(slicer.packaging, "pip_install", self._install)
        self._answer = answer

    def _ask(self, text: str, **_: Any) -> bool:
        self.asked.append(text)
        return self._answer

    def _install(self, requirements: list[str], constraints: str, requester: str) -> None:
        with open(constraints, encoding="utf-8") as file:  # noqa: PTH123
            self.installed.append((requirements, file.read().split(), requester))


_SEGMENT = """
import sys
sys.path[:0] = sys.argv[1:3]
import scdseg.worker.service
from scdseg import segment
assert segment(sys.argv[3], model=sys.argv[4], device="cpu").labels.array.size
"""


def test_the_worker_runs_on_what_slicer_has_and_what_is_listed(tiny_models: Path, tmp_path: Path) -> None:
    """In an environment that holds nothing else."""
    listed = {d.name for d in (PYTORCH, *PACKAGES)}
    in_slicer = {"numpy", "scipy", "SimpleITK", "packaging", "setuptools"}
    environment = tmp_path / "site-packages"
    environment.mkdir()
    for name in _with_requirements(listed | in_slicer):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}:
            link = environment / top
            if not link.exists():
                link.symlink_to(distribution.locate_file(top))
    assert not (environment / "rich").exists()
    image = tmp_path / "head.nrrd"
    slicer.util.exportNode(add_volume(), str(image), {})
    engine = str(resource_dir().parent)
    command = [sys.executable, "-I", "-S", "-c", _SEGMENT, engine, str(environment), str(image)]
    done = subprocess.run([*command, str(tiny_models / "tiny")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _with_requirements(names: set[str]) -> set[str]:
    from packaging.requirements import Requirement

    found: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop().lower().replace("-", "_")
        if name in found:
            continue
        found.add(name)
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        pending += [r.name for r in map(Requirement, requirements) if r.marker is None or r.marker.evaluate()]
    return found


def test_minimum_versions_are_those_of_the_engine() -> None:
    wanted = {dependency.requirement for dependency in (PYTORCH, *PACKAGES)}
    requirements = {
        r.partition(";")[0].strip() for r in importlib.metadata.requires("scdseg") or [] if "extra" not in r
    }
    assert wanted <= requirements


def test_here_nothing_is_missing() -> None:
    assert missing() == []


def test_slicers_packaging_is_imported_by_who_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(slicer, "packaging")
    monkeypatch.delitem(sys.modules, "slicer.packaging")
    assert missing() == []


def test_a_slicer_without_packaging_is_told_to_scripts_as_to_users(
    widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(slicer, "packaging")
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    with pytest.raises(SegmentationError, match=r"install Slicer 5\.12 or newer"):
        widget.logic.segment(add_volume(), model="tiny")


def test_an_old_version_counts_as_missing() -> None:
    assert not TOO_NEW.satisfied


def test_one_dialog_lists_every_package_with_its_size_and_purpose() -> None:
    text = consentText([PYTORCH, *PACKAGES])
    for dependency in (PYTORCH, *PACKAGES):
        assert f"{dependency.name} ({dependency.megabytes}): {dependency.purpose}" in text


def test_what_is_missing_is_installed_after_consent_without_touching_others(
    widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installer = Installer(monkeypatch)
    monkeypatch.setattr(dependencies, "PACKAGES", (*PACKAGES, ABSENT))
    choose(widget, add_volume())
    assert apply(widget).startswith("Found")
    assert len(installer.asked) == 1
    assert "scdseg-no-such-package (7 MB)" in installer.asked[0]
    [(requirements, constraints, requester)] = installer.installed
    assert requirements == ["scdseg-no-such-package>=1"]
    assert f"torch=={importlib.metadata.version('torch')}" in constraints
    assert f"numpy=={importlib.metadata.version('numpy')}" in constraints
    assert requester == "SCDSegmentation"


def test_declining_leaves_a_usable_panel_that_says_what_to_do(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    installer = Installer(monkeypatch, answer=False)
    monkeypatch.setattr(dependencies, "PACKAGES", (*PACKAGES, ABSENT))
    choose(widget, add_volume())
    nodes = scene_state()
    widget.panel.ui.applyButton.click()
    assert widget.logic.run is None
    assert "Nothing was installed. Segmentation needs scdseg-no-such-package" in widget.panel.ui.statusLabel.text
    assert installer.installed == []
    assert widget.panel.ui.applyButton.enabled
    assert scene_state() == nodes


def test_a_failed_install_leaves_a_usable_panel_that_says_what_to_do(
    widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Installer(monkeypatch)
    monkeypatch.setattr(dependencies, "PACKAGES", (*PACKAGES, ABSENT))

    def fail(*_: Any, **__: Any) -> None:
        raise subprocess.CalledProcessError(1, ["pip", "install"])

    monkeypatch.setattr(slicer.packaging, "pip_install", fail)
    choose(widget, add_volume())
    widget.panel.ui.applyButton.click()
    assert "Installing scdseg-no-such-package failed" in widget.panel.ui.statusLabel.text
    assert "Check the internet connection and proxy settings" in widget.panel.ui.statusLabel.text
    assert widget.panel.ui.applyButton.enabled


class PyTorchUtilsLogic:
    """Of the PyTorch extension's logic what is used, and what must not be: it imports torch into the application."""

    @staticmethod
    def _installLightTheTorch() -> None:
        steps.append("light-the-torch")

    @staticmethod
    def _getPipInstallArguments(
        forceComputationBackend: str | None = None,
        torchVersionRequirement: str | None = None,
        torchvisionVersionRequirement: str | None = None,
    ) -> list[str]:
        return ["install", f"torch{torchVersionRequirement}", "torchvision"]

    def installTorch(self, *_: Any, **__: Any) -> None:
        raise AssertionError("torch would be imported into the application")


steps: list[Any] = []


def test_pytorch_is_installed_by_its_own_extension_and_neither_by_pip_nor_into_this_process(
    widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installer = Installer(monkeypatch)
    absent = dependencies.Dependency("scdseg-no-torch", "2.8", "200 MB", "the network")
    monkeypatch.setattr(dependencies, "PYTORCH", absent)
    utils = ModuleType("PyTorchUtils")
    utils.PyTorchUtilsLogic = PyTorchUtilsLogic
    utils.__spec__ = importlib.util.spec_from_loader("PyTorchUtils", None)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", utils)

    def execute(module: str, arguments: list[str]) -> None:
        steps.append((module, arguments))
        monkeypatch.setattr(dependencies.Dependency, "satisfied", True)

    monkeypatch.setattr(slicer.util, "executePythonModule", execute)
    dependencies.ensure()
    assert steps == ["light-the-torch", ("light_the_torch", ["install", "torch>=2.8", "torchvision"])]
    assert installer.installed == []
    assert "torch" not in sys.modules


def test_without_the_pytorch_extension_the_user_is_told_to_install_it(
    widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installer = Installer(monkeypatch)
    monkeypatch.setattr(dependencies, "PYTORCH", dependencies.Dependency("scdseg-no-torch", "2.8", "200 MB", "it"))
    choose(widget, add_volume())
    widget.panel.ui.applyButton.click()
    assert "install 'PyTorch' in the Extensions Manager, start Slicer again" in widget.panel.ui.statusLabel.text
    assert installer.asked == []


def test_a_pytorch_that_is_too_old_is_named(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Installer(monkeypatch)
    monkeypatch.setattr(dependencies, "PYTORCH", TOO_NEW)
    utils = ModuleType("PyTorchUtils")
    utils.__spec__ = importlib.util.spec_from_loader("PyTorchUtils", None)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", utils)
    choose(widget, add_volume())
    widget.panel.ui.applyButton.click()
    version = importlib.metadata.version("torch")
    assert f"PyTorch {version} is too old (needed: 99 or newer)" in widget.panel.ui.statusLabel.text
    assert widget.panel.ui.applyButton.enabled


def test_in_tests_of_the_application_nothing_is_installed(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "PACKAGES", (*PACKAGES, ABSENT))
    choose(widget, add_volume())
    widget.panel.ui.applyButton.click()
    assert "These packages are missing: scdseg-no-such-package" in widget.panel.ui.statusLabel.text
