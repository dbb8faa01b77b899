"""What a keep ratio means for a model, in a line that a user understands."""

from __future__ import annotations

from dataclasses import dataclass

from scdseg.window_cost import dense_window_macs, keep_counts, window_macs, window_tokens
from SCDSegmentationLib.models import Model
from SCDSegmentationLib.suggestions import Suggestion


@dataclass(frozen=True)
class Preset:
    """A keep ratio with a name."""

    name: str
    keepRatio: float
    toolTip: str


def presets(model: Model, suggestion: Suggestion | None = None) -> tuple[Preset, ...]:
    """The fewest tokens that the model is good for, its own default, the most; and what a comparison suggested."""
    low, high = model.keepRatioRange
    found = (
        Preset("Fast", low, f"The fewest tokens that this model is meant for: keep ratio {low:g}"),
        Preset("Default", model.keepRatio, f"What the model's makers recommend: keep ratio {model.keepRatio:g}"),
        Preset("Thorough", high, f"The most tokens: keep ratio {high:g}"),
    )
    if suggestion is None:
        return found
    toolTip = (
        f"Suggested by your comparison of {suggestion.date}: the smallest keep ratio whose labels agree with the "
        f"densest run's to {suggestion.tolerance:g} (mean Dice {suggestion.agreement:.3f})"
    )
    return (*found, Preset("Suggested by your comparison", suggestion.keepRatio, toolTip))


def describe(model: Model, keepRatio: float) -> str:
    """Tokens that are left after each stage, and the work compared with the dense network."""
    count = window_tokens(model.network)
    kept = keep_counts(count, [keepRatio] * len(model.network["prune_after"]))
    line = f"keeps {keepRatio:.0%} of tokens a stage: {' → '.join(str(k) for k in kept)} of {count}, "
    line = line.replace("%", " %", 1) + _work(dense_window_macs(model.network) / window_macs(model.network, keepRatio))
    low, high = model.keepRatioRange
    if not low <= keepRatio <= high:
        line += f" (outside the model's useful range {low:g}…{high:g})"
    return line


def _work(times: float) -> str:
    """Dense work over this work, as text."""
    if times >= 1.05:
        return f"about {times:.1f}× less work than dense"
    if times > 0.95:
        return "about as much work as dense"
    return f"about {1 / times:.1f}× the work of dense"
