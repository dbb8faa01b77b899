"""What a fault is, and what is asked of whoever suffers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faults.world import World


class Violation(AssertionError):
    """Something that must not be.

    Args:
        kind: "lost", "between", "orphan", "leftover", "stuck", "message" or "error".
        text: what was seen.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True)
class Fault:
    """One way in which something goes wrong.

    Args:
        family: faults of one kind, as the table lists them.
        name: what happens, unique within the family.
        strike: lets it happen to a world; returns what the user is told.
        told: whether somebody is left to be told.
    """

    family: str
    name: str
    strike: Callable[[World], str]
    told: bool = True
