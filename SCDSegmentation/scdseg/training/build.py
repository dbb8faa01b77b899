"""The network that a recipe asks for."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from scdseg.networks import SCDUNETR, UNETR

KINDS = ("scd", "dense")


def build_network(network: Mapping[str, Any], channels: int) -> SCDUNETR | UNETR:
    """A network with fresh weights from a recipe's section ``network``.

    Args:
        network: arguments of ``SCDUNETR``, and ``kind``: ``"scd"``, or ``"dense"`` for the baseline with the same ViT
            and decoder, which leaves out what only pruning and assembly have.
        channels: channels of the logits.

    Raises:
        ValueError: for arguments that do not exist or do not fit together.
    """
    arguments = {key: value for key, value in network.items() if key != "kind"}
    kind = network.get("kind", "scd")
    if kind not in KINDS:
        raise ValueError(f"kind should be one of {', '.join(KINDS)}, not {kind!r}")
    known = inspect.signature(SCDUNETR).parameters
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; known are kind, {', '.join(sorted(known))}")
    arguments["out_channels"] = channels
    if kind == "dense":
        of_baseline = inspect.signature(UNETR).parameters
        return UNETR(**{key: value for key, value in arguments.items() if key in of_baseline})
    return SCDUNETR(**arguments)
