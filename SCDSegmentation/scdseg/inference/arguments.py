"""Keep ratio and overlap as a user may ask for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scdseg.errors import InputError

if TYPE_CHECKING:
    from scdseg.bundle import Bundle


def check_keep_ratio(keep_ratio: float | Sequence[float], bundle: Bundle) -> float | list[float]:
    """A keep ratio that the model's stages can use.

    Raises:
        InputError: not in (0, 1], or not one for each stage.
    """
    ratios = list(keep_ratio) if isinstance(keep_ratio, Sequence) else [keep_ratio]
    if not all(math.isfinite(ratio) and 0 < ratio <= 1 for ratio in ratios):
        raise InputError(f"keep ratio {keep_ratio} is out of range: give a number above 0 and at most 1")
    if not isinstance(keep_ratio, Sequence):
        return float(keep_ratio)
    stages = len(bundle.network["prune_after"])
    if len(ratios) != stages:
        raise InputError(
            f"{len(ratios)} keep ratios given, but model {bundle.name} prunes {stages} times: give 1 or {stages}"
        )
    return [float(ratio) for ratio in ratios]


def check_overlap(overlap: float) -> float:
    """An overlap of windows.

    Raises:
        InputError: not in 0…0.9.
    """
    if not 0 <= overlap <= 0.9:
        raise InputError(f"overlap {overlap} is out of range: give a number from 0 to 0.9")
    return float(overlap)


def keep_ratio_warnings(keep_ratio: float | Sequence[float], bundle: Bundle) -> list[str]:
    """A warning if the model was not made for this keep ratio."""
    low, high = bundle.keep_ratio_range
    ratios = keep_ratio if isinstance(keep_ratio, Sequence) else [keep_ratio]
    if all(low <= ratio <= high for ratio in ratios):
        return []
    return [f"keep ratio {keep_ratio} is outside the model's useful range {low:g} to {high:g}: expect worse labels"]
