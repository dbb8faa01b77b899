"""Which keep ratio a comparison of several suggests. Without PyTorch, so that a user interface can ask, too."""

from __future__ import annotations

from collections.abc import Mapping


def suggested_keep_ratio(agreement: Mapping[float, float | None], tolerance: float) -> float:
    """The smallest keep ratio at which, as at all larger ones, the mean Dice is at least the tolerance.

    Where the densest run found no label there is nothing that could agree, and the densest ratio is suggested.

    Args:
        agreement: mean Dice with the densest run by keep ratio, at least one; None or NaN where nothing was found.
        tolerance: mean Dice, 0…1.
    """
    densest, *others = sorted(agreement, reverse=True)
    suggested = densest
    for keep_ratio in others:
        mean = agreement[keep_ratio]
        # NaN is not at least anything.
        if mean is None or not mean >= tolerance:
            break
        suggested = keep_ratio
    return suggested
