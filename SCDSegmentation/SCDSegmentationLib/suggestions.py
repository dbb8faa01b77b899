"""The keep ratio that a user's own comparisons suggest, remembered for each model in the user's settings."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import slicer

from SCDSegmentationLib.models import Model

_KEY = "SCDSegmentation/SuggestedKeepRatio"


@dataclass(frozen=True)
class Suggestion:
    """What the last comparison of a model suggested. Names of volumes are not kept: they may be those of patients.

    Args:
        keepRatio: the smallest whose mean agreement is at least the tolerance.
        tolerance: mean Dice with the densest run.
        agreement: that was reached.
        sha256: of the model's weights; others make it void.
        date: of the comparison.
    """

    keepRatio: float
    tolerance: float
    agreement: float
    sha256: str
    date: str


def remember(model: str, suggestion: Suggestion) -> None:
    """Keep a suggestion for the model of this name, in place of the one before."""
    slicer.app.userSettings().setValue(f"{_KEY}/{model}", json.dumps(asdict(suggestion)))


def suggestionFor(model: Model) -> Suggestion | None:
    """What was suggested for a model; None if nothing was, or for other weights."""
    text = slicer.app.userSettings().value(f"{_KEY}/{model.name}")
    try:
        values = json.loads(text)
        suggestion = Suggestion(
            float(values["keepRatio"]), float(values["tolerance"]), float(values["agreement"]),
            str(values["sha256"]), str(values["date"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return None
    return suggestion if suggestion.sha256 == model.sha256 and 0 < suggestion.keepRatio <= 1 else None
