"""Which devices and machines train together, through Lightning's strategies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightning.pytorch.strategies import FSDPStrategy, Strategy


@dataclass(frozen=True)
class Devices:
    """Devices of a run.

    Args:
        accelerator: ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``.
        per_node: devices, or processes on the CPU, of each machine.
        nodes: machines.
        strategy: ``"ddp"`` has the whole network on every device, ``"fsdp"`` shards its weights over GPUs; ``"auto"``
            is ``"ddp"`` where there are several.
    """

    accelerator: str = "auto"
    per_node: int = 1
    nodes: int = 1
    strategy: str = "auto"

    @property
    def count(self) -> int:
        """Devices in all."""
        return self.per_node * self.nodes

    @property
    def first(self) -> torch.device:
        """The first of them; the CPU stands in for what is not there, which Lightning refuses later."""
        cuda = self.accelerator in ("auto", "cuda") and torch.cuda.is_available()
        return torch.device("cuda", 0) if cuda else torch.device("cpu")

    def lightning_strategy(self) -> str | Strategy:
        """What Lightning's trainer takes; sharded weights are gathered into one checkpoint file."""
        if self.strategy == "fsdp":
            return FSDPStrategy(state_dict_type="full")
        return "ddp" if self.strategy == "ddp" or self.count > 1 else "auto"
