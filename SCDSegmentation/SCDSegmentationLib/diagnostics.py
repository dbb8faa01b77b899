"""One text that a user can send to the developers: versions, devices, settings and steps, nothing about a patient."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer

from scdseg import diagnostics
from SCDSegmentationLib.journal import Journal, modelText
from SCDSegmentationLib.models import findModels
from SCDSegmentationLib.parameters import SCDSegmentationParameters

COPIED = (
    "Copied: versions, devices and steps, without names of volumes, paths or images. "
    "Paste it into an e-mail or an issue."
)


def diagnosticsText(journal: Journal, parameters: SCDSegmentationParameters | None) -> str:
    """The text, of a hundred kilobytes at most.

    Args:
        journal: what happened.
        parameters: what is chosen in the panel; None: the panel is not open.
    """
    sections = {
        "Versions": diagnostics.software(_application()),
        "Packages": diagnostics.packages(),
        "Hardware": diagnostics.hardware(Path(slicer.app.temporaryPath)),
        "Devices": diagnostics.devices(journal.probed),
        "Environment variables": diagnostics.environment(),
        "Models": _models(journal),
        "Settings": _settings(parameters),
    }
    return diagnostics.compose(sections, journal.steps)


def _application() -> list[str]:
    app = slicer.app
    lines = [f"{app.mainApplicationName} {app.majorVersion}.{app.minorVersion}, revision {app.revision}"]
    # A function of PythonQt's own, which other bindings do not have.
    qtVersion = getattr(qt.Qt, "qVersion", None)
    return [*lines, f"Qt {qtVersion()}"] if qtVersion is not None else lines


def _models(journal: Journal) -> list[str]:
    models, problems = findModels()
    unreadable = (f"cannot be read: {journal.redacted(problem)}" for problem in problems)
    return [*(modelText(found) for found in models), *unreadable]


def _settings(parameters: SCDSegmentationParameters | None) -> list[str]:
    if parameters is None:
        return ["the panel is not open"]
    chosen = {
        "model": diagnostics.plain_name(parameters.model),
        "keep ratio": f"{parameters.keepRatio:g}",
        "overlap": f"{parameters.overlap:g}",
        "device": diagnostics.plain_name(parameters.device),
        "precision": parameters.precision,
        "threads": parameters.threads or "automatic",
        "shown": f"{parameters.shown}, opacity {parameters.opacity:g}",
        "token map": f"{parameters.tokenMap}, stage {parameters.stage}, {parameters.colors}, "
        f"threshold {parameters.threshold:g}, legend {_onOff(parameters.legend)}",
        "3-D": f"surfaces {_onOff(parameters.show3D)}, boxes {_onOff(parameters.boxes)} ({parameters.boxColors})",
    }
    return [f"{name}: {value}" for name, value in chosen.items()]


def _onOff(switch: bool) -> str:
    return "on" if switch else "off"
