"""What the worker tells of a result, checked whole before anything of it gets into the scene."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import slicer

from scdseg.strict_json import no_constant
from SCDSegmentationLib.models import Model
from SCDSegmentationLib.results import REPORT_ATTRIBUTE, RESULT_FILES
from SCDSegmentationLib.worker_events import MAX_TEXT, isCount, isNumber

_MAX_ITEMS = 1000  # of a list
_MAX_IN_TABLE = 2**31 - 1  # whole numbers of a table's cells have 32 bits
_MAX_NUMBER = 1e12
_Check = Callable[[Any], bool]


def _isText(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _isAmount(value: Any) -> bool:
    return isNumber(value, _MAX_NUMBER)


def _isCell(value: Any) -> bool:
    return isCount(value, _MAX_IN_TABLE)


def _isVoxels(value: Any) -> bool:
    return isCount(value, _MAX_NUMBER)


def _isShare(value: Any) -> bool:
    return isNumber(value, 1 + 1e-6)


def _isTextByName(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_isText, [*value, *value.values()]))


def _isAmountByName(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_isText, value)) and all(map(_isAmount, value.values()))


# An object has at least these fields, a list any number of items of its one kind.
_FATE = {"tokens": _isCell, "importance": _isAmount, "kept": [_isShare]}
_REPORT = {
    "model": {"name": _isText, "version": _isText, "sha256": _isText},
    "device": {"type": _isText, "name": _isText},
    "precision": _isText,
    "keep_ratio": _isShare,
    "windows": {"count": _isCell, "size": [_isCell], "overlap": _isShare},
    "versions": _isTextByName,
    "seconds": _isAmountByName,
    "warnings": [_isText],
    "labels": [{"value": _isCell, "name": _isText, "voxels": _isVoxels, "ml": _isAmount}],
    "tokens_per_stage": {"scored": [_isCell], "kept": [_isCell]},
    "tokens": {
        "stages": [{"after_block": _isCell, "in": _isCell, "kept": _isCell, "pruned": _isCell}],
        "labels": [{"value": _isCell, "name": _isText, **_FATE}],
        "outside": _FATE,
    },
}
_ROW = {
    "keep_ratio": _isShare,
    "tokens_kept": [_isCell],
    "tokens_scored": _isCell,
    "seconds_windows": _isAmount,
    "seconds_total": _isAmount,
    "agreement": {"labels": {}},
    "outputs": dict.fromkeys(RESULT_FILES, _isText),
}


def checkedReport(event: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """The report of an event, which has all that tables, panel and exports are made of.

    Raises:
        ValueError: it lacks something, or something in it does not fit the model; names the field.
    """
    report = event.get("report")
    _check(report, _REPORT, "report")
    stages, tokens, window = list(model.network["prune_after"]), report["tokens"], report["tokens_per_stage"]
    fates = [*tokens["labels"], tokens["outside"]]
    _require([stage["after_block"] for stage in tokens["stages"]] == stages, "report.tokens.stages")
    _require(
        all(len(counts) == len(stages) for counts in (window["scored"], window["kept"])), "report.tokens_per_stage"
    )
    _require(all(len(fate["kept"]) == len(stages) for fate in fates), "report.tokens.labels")
    values = [label["value"] for label in report["labels"]]
    _require(set(values) <= {label.value for label in model.labels}, "report.labels")
    _require(len(set(values)) == len(values), "report.labels")
    _require({label["value"] for label in tokens["labels"]} <= set(values), "report.tokens.labels")
    return report


def storedReport(node: slicer.vtkMRMLNode) -> dict[str, Any]:
    """The report that a node of a run has; {} if it has none, or one that is damaged: scenes come from anywhere."""
    try:
        report = json.loads(node.GetAttribute(REPORT_ATTRIBUTE) or "", parse_constant=no_constant)
        _check(report, _REPORT, "report")
    except (RecursionError, ValueError):
        return {}
    return report


def checkRow(event: Mapping[str, Any], model: Model, folder: Path) -> None:
    """Check the fields of a sweep's row but for its report.

    Args:
        event: that tells it.
        model: that ran.
        folder: that all files are in.

    Raises:
        ValueError: a field is missing or wrong; names it.
    """
    _check(event, _ROW, "row")
    agreement = event["agreement"]
    _require(agreement.get("mean") is None or _isShare(agreement["mean"]), "row.agreement.mean")
    known = {str(label.value) for label in model.labels}
    _require(set(agreement["labels"]) <= known, "row.agreement.labels")
    _require(all(map(_isShare, agreement["labels"].values())), "row.agreement.labels")
    _require(all(Path(event["outputs"][name]).parent == folder for name in RESULT_FILES), "row.outputs")


def _check(value: Any, shape: _Check | list | dict, name: str) -> None:
    if isinstance(shape, dict):
        _require(isinstance(value, Mapping), name)
        for key, inner in shape.items():
            _require(key in value, f"{name}.{key}")
            _check(value[key], inner, f"{name}.{key}")
    elif isinstance(shape, list):
        _require(isinstance(value, list) and len(value) <= _MAX_ITEMS, name)
        for item in value:
            _check(item, shape[0], name)
    else:
        _require(shape(value), name)


def _require(holds: bool, name: str) -> None:
    if not holds:
        raise ValueError(repr(name))
