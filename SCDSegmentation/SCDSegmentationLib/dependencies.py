"""Packages that the worker needs beyond what Slicer has: found missing without importing them, installed when asked."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import slicer

from SCDSegmentationLib.errors import SegmentationError

_KEPT = ("torch", "numpy", "scipy", "SimpleITK")  # never replaced by another version on our behalf


@dataclass(frozen=True)
class Dependency:
    """A package.

    Args:
        name: as pip knows it.
        minimum: lowest version.
        megabytes: about what is downloaded, in words.
        purpose: what for.
    """

    name: str
    minimum: str
    megabytes: str
    purpose: str

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.name}>={self.minimum}"

    @property
    def satisfied(self) -> bool:
        """Whether it is installed in a version that will do."""
        return bool(_packaging().pip_check(self.requirement))


PYTORCH = Dependency("torch", "2.8", "200 MB, or 3 GB with CUDA", "the network; with torchvision and light-the-torch")
PACKAGES = (
    Dependency("monai", "1.5.2", "2 MB", "resampling and decoder blocks"),
    Dependency("nibabel", "5.2", "3 MB", "orientation of volumes"),
    Dependency("safetensors", "0.4.5", "0.5 MB", "weights that cannot run code"),
    Dependency("jsonschema", "4.20", "0.6 MB", "checks of a model's metadata"),
    Dependency("platformdirs", "4", "0.1 MB", "the folder of your models"),
    Dependency("psutil", "5.9", "0.2 MB", "free memory"),
)


def missing() -> list[Dependency]:
    """What is not installed, or too old."""
    return [dependency for dependency in (PYTORCH, *PACKAGES) if not dependency.satisfied]


def consentText(dependencies: list[Dependency]) -> str:
    """What the one dialog says before anything is installed."""
    lines = [f"{d.name} ({d.megabytes}): {d.purpose}" for d in dependencies]
    return (
        "SCDSegmentation needs these Python packages, which are not installed yet:\n\n"
        + "\n".join(lines)
        + "\n\nThey are downloaded and installed into Slicer. Install them now?"
    )


def ensure() -> None:
    """Install what is missing after asking once.

    Raises:
        SegmentationError: declined, not possible or failed; the message says what to do.
    """
    wanted = missing()
    if not wanted:
        return
    names = ", ".join(dependency.name for dependency in wanted)
    if _testing():
        # Tests must not change the Python environment of whoever runs them.
        raise SegmentationError(f"These packages are missing: {names}. Install them first.", "dependencies")
    if PYTORCH in wanted:
        _requirePyTorchExtension()
    if not slicer.util.confirmOkCancelDisplay(consentText(wanted), windowTitle="SCDSegmentation"):
        raise SegmentationError(
            f"Nothing was installed. Segmentation needs {names}: press Apply again to install them.", "dependencies"
        )
    try:
        if PYTORCH in wanted:
            _installPyTorch()
        _installPackages([dependency for dependency in wanted if dependency is not PYTORCH])
    except Exception as error:
        raise SegmentationError(
            f"Installing {names} failed ({error}). Check the internet connection and proxy settings, see the "
            "application's log, and press Apply to try again.",
            "dependencies",
        ) from error


def _packaging() -> ModuleType:
    """Slicer's own way to pip, which is not there until somebody imports it."""
    try:
        import slicer.packaging
    except ImportError as error:
        raise SegmentationError(
            f"This Slicer cannot manage Python packages ({error}): install Slicer 5.12 or newer.", "dependencies"
        ) from error
    return slicer.packaging


def _testing() -> bool:
    return bool(slicer.app.commandOptions().testingEnabled)


def _requirePyTorchExtension() -> None:
    if importlib.util.find_spec("PyTorchUtils") is None:
        raise SegmentationError(
            "PyTorch is missing, and it is installed by the PyTorch extension, which is missing too: install "
            "'PyTorch' in the Extensions Manager, start Slicer again and press Apply.",
            "dependencies",
        )
    try:
        installed = importlib.metadata.version(PYTORCH.name)
    except importlib.metadata.PackageNotFoundError:
        return
    raise SegmentationError(
        f"PyTorch {installed} is too old (needed: {PYTORCH.minimum} or newer): uninstall it in the module "
        "'PyTorch Utils', start Slicer again and press Apply.",
        "dependencies",
    )


def _installPyTorch() -> None:
    """Install the build that the PyTorch extension chooses for this computer's GPU and driver.

    Its ``installTorch`` would import torch into this process, which must stay free of it: on Windows a loaded library
    can neither be updated nor removed. So this takes the two steps of it that install.
    """
    from PyTorchUtils import PyTorchUtilsLogic

    if importlib.util.find_spec("light_the_torch") is None:
        PyTorchUtilsLogic._installLightTheTorch()
    arguments = PyTorchUtilsLogic._getPipInstallArguments(torchVersionRequirement=f">={PYTORCH.minimum}")
    slicer.util.executePythonModule("light_the_torch", arguments)
    importlib.invalidate_caches()
    if not PYTORCH.satisfied:
        raise RuntimeError("the PyTorch extension installed nothing")


def _installPackages(dependencies: list[Dependency]) -> None:
    if not dependencies:
        return
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(_pins()) + "\n", encoding="utf-8")
        _packaging().pip_install(
            [dependency.requirement for dependency in dependencies],
            constraints=str(constraints),
            requester="SCDSegmentation",
        )


def _pins() -> list[str]:
    """The present versions of what pip must not touch."""
    pins = []
    for name in _KEPT:
        try:
            pins.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return pins
