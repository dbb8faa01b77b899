"""Checkpoints that training writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from scdseg import torch_files

_PREFIX = "network."  # the network's name in the Lightning modules


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], int]:
    """The network's weights in a checkpoint of ``scdseg train`` or ``scdseg pretrain``, and the steps behind it.

    Raises:
        Exception: whatever a file that is no such checkpoint brings about.
    """
    content: dict[str, Any] = torch_files.load(path)
    state = content["state_dict"]
    weights = {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}
    return weights, int(content["global_step"])


def load_checkpoint(path: Path, network: nn.Module) -> int:
    """Put a checkpoint's weights into a network, and return the steps behind it.

    Raises:
        Exception: as :func:`read_checkpoint`, and where network and weights do not belong together.
    """
    weights, step = read_checkpoint(path)
    network.load_state_dict(weights)
    return step
