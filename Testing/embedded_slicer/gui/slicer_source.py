"""Slicer's own Python code instead of the stand-ins, to check a module against it by hand."""

from __future__ import annotations

import importlib.util
import os
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import slicer

ENVIRONMENT_VARIABLE = "SCDSEG_SLICER_SOURCE"

# Only named in comparisons with a widget's type, never made.
_NAMED_WIDGETS = {
    "ctk": (
        *("ctkCheckBox", "ctkCheckablePushButton", "ctkColorPickerButton", "ctkComboBox", "ctkDirectoryButton"),
        *("ctkDoubleRangeSlider", "ctkDoubleSlider", "ctkDoubleSpinBox", "ctkPathLineEdit", "ctkRangeWidget"),
    ),
    "slicer": ("qMRMLRangeWidget", "qMRMLSliderWidget", "qMRMLSpinBox"),
}


def checkout() -> Path | None:
    """Return the folder of Slicer's Python package if the environment names a checkout.

    Raises:
        FileNotFoundError: the environment names a folder that is no checkout of Slicer.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if not named:
        return None
    folder = Path(named) / "Base" / "Python" / "slicer"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{ENVIRONMENT_VARIABLE}={named} is no checkout of Slicer: it has no Base/Python/slicer"
        )
    return folder


class _NotInHost:
    def __init__(self, *_: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} is not in the embedded host")


def nameMissingWidgets(ctk: ModuleType) -> None:
    """Give `ctk` and `slicer` the widget classes that Slicer's code compares with."""
    for module, names in ((ctk, _NAMED_WIDGETS["ctk"]), (slicer, _NAMED_WIDGETS["slicer"])):
        for name in names:
            setattr(module, name, type(name, (_NotInHost,), {}))


def find(folder: Path, name: str) -> ModuleSpec | None:
    """Find a module or package of Slicer's Python package, which is imported as `slicer.<name>`."""
    path = folder / name / "__init__.py" if (folder / name).is_dir() else folder / f"{name}.py"
    locations = [str(path.parent)] if path.name == "__init__.py" else None
    return importlib.util.spec_from_file_location(f"slicer.{name}", path, submodule_search_locations=locations)
