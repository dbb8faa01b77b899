"""What the choice of tokens decides in a model, as its metadata says, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MOST_ROWS = 16  # as the worker allows (``scdseg.bundle.schema``)
_MATTERS = 0.02  # of Dice: less may be chance


@dataclass(frozen=True)
class TokenChoice:
    """Mean Dice against reference labels at one keep ratio, by the way in which tokens were chosen.

    Args:
        keepRatio: share of the tokens kept at each stage.
        subject: what was segmented, and compared with what.
        learned: as the model does it.
        random: at random.
        inverted: those that it scores lowest; None: not measured.
    """

    keepRatio: float
    subject: str
    learned: float
    random: float
    inverted: float | None


def readTokenChoices(quality: Mapping[str, Any]) -> tuple[TokenChoice, ...]:
    """The rows that a model's measured quality has; none if that was not measured.

    Raises:
        AttributeError, LookupError, TypeError, ValueError: they are of another form.
    """
    table = quality.get("token_choice")
    if table is None:
        return ()
    if len(table["rows"]) > _MOST_ROWS:
        raise ValueError("its table of token choices is too long")
    return tuple(_row(row, str(table["subject"])[:200]) for row in table["rows"])


def _row(row: Mapping[str, Any], subject: str) -> TokenChoice:
    inverted = row.get("inverted")
    dice = [float(row["learned"]), float(row["random"]), None if inverted is None else float(inverted)]
    if not all(value is None or 0 <= value <= 1 for value in dice):
        raise ValueError("its table of token choices has a Dice that is not from 0 to 1")
    return TokenChoice(float(row["keep_ratio"]), subject, *dice)


def tokenChoiceText(choices: Sequence[TokenChoice], keepRatio: float) -> str:
    """What importance decides in a model at the keep ratio that was measured nearest to this one."""
    if not choices:
        return "Importance is the method's own score. What it decides in this model was not measured."
    found = min(choices, key=lambda choice: abs(choice.keepRatio - keepRatio))
    inverted = "" if found.inverted is None else f", the lowest-scored {found.inverted:.3f}"
    verdict = "importance matters" if found.learned - found.random >= _MATTERS else "importance decides little"
    return (
        f"Importance is the method's own score. In this model the learned choice of tokens scores {found.learned:.3f}, "
        f"a random one {found.random:.3f}{inverted} (mean Dice, {found.subject}, keep ratio {found.keepRatio:g}): "
        f"{verdict} here."
    )
