"""The share folder of the application: colour tables and terminologies, which slicer-core does not carry."""

from __future__ import annotations

import colorsys
import json
from pathlib import Path

SHARE_DIRECTORY = "share"
_MATPLOTLIB_TABLES = ("Cividis", "Inferno", "Magma", "Plasma", "Viridis")
_LABEL_TABLES = ("GenericColors", "GenericAnatomyColors")
_SEGMENT_CONTEXTS = {
    "SegmentationCategoryTypeModifier-DICOM-Master": "Segmentation category and type - DICOM master list",
    "SegmentationCategoryTypeModifier-SlicerGeneralAnatomy": (
        "Segmentation category and type - 3D Slicer General Anatomy list"
    ),
}


def write_share(home: Path) -> None:
    """Write what the logics read at start below ``home``, under the names that Slicer's own share folder has.

    Args:
        home: the application's home folder.
    """
    _write_colors(home / SHARE_DIRECTORY / "ColorFiles")
    _write_terminologies(terminologies_directory(home))


def terminologies_directory(home: Path) -> Path:
    """Share folder of the module Terminologies."""
    return home / SHARE_DIRECTORY / "qt-loadable-modules" / "Terminologies"


def _write_colors(folder: Path) -> None:
    import matplotlib

    folder.mkdir(parents=True)
    for name in _MATPLOTLIB_TABLES:
        colors = matplotlib.colormaps[name.lower()](range(256), bytes=True)
        rows = [f"{value} {value} {red} {green} {blue} 255" for value, (red, green, blue, _) in enumerate(colors)]
        (folder / f"{name}.txt").write_text("\n".join(["# 256 values", *rows, ""]), encoding="utf-8")
    for name in _LABEL_TABLES:
        rows = ["0 Background 0 0 0 0", *(f"{value} Label_{value} {_distinct(value)} 255" for value in range(1, 256))]
        (folder / f"{name}.txt").write_text("\n".join(["# label colors", *rows, ""]), encoding="utf-8")


def _distinct(value: int) -> str:
    """Red, green and blue of a label: hues by the golden ratio lie far apart for neighbouring values."""
    return " ".join(str(round(255 * part)) for part in colorsys.hsv_to_rgb(value * 0.618034 % 1, 0.55, 0.9))


def _write_terminologies(folder: Path) -> None:
    """Contexts with their categories but almost no types: a module must not count on a type being listed."""
    folder.mkdir(parents=True)
    tissue = {"CodeMeaning": "Tissue", "CodingSchemeDesignator": "SCT", "CodeValue": "85756007"}
    anatomy = {"CodeMeaning": "Anatomical Structure", "CodingSchemeDesignator": "SCT", "CodeValue": "123037004"}
    categories = [
        {**tissue, "showAnatomy": True, "Type": [{**tissue, "recommendedDisplayRGBValue": [128, 174, 128]}]},
        {**anatomy, "showAnatomy": False, "Type": [{**anatomy, "recommendedDisplayRGBValue": [177, 122, 101]}]},
    ]
    for file, name in _SEGMENT_CONTEXTS.items():
        context = {
            "SegmentationCategoryTypeContextName": name,
            "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/segment-context-schema.json#",
            "SegmentationCodes": {"Category": categories},
        }
        (folder / f"{file}.term.json").write_text(json.dumps(context), encoding="utf-8")
    regions = {
        "AnatomicContextName": "Anatomic codes - DICOM master list",
        "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/anatomic-context-schema.json#",
        "AnatomicCodes": {
            "AnatomicRegion": [{"CodeMeaning": "Brain", "CodingSchemeDesignator": "SCT", "CodeValue": "12738006"}]
        },
    }
    (folder / "AnatomicRegionAndModifier-DICOM-Master.term.json").write_text(json.dumps(regions), encoding="utf-8")
