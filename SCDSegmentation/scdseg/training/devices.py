"""Which devices and machines train together, through Lightning's strategies."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from lightning.pytorch.strategies import FSDPStrategy, Strategy

from scdseg.networks.transformer import TransformerBlock


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
    def own(self) -> torch.device:
        """The one of this process; the CPU stands in for what is not there, which Lightning refuses later."""
        cuda = self.accelerator in ("auto", "cuda") and torch.cuda.is_available()
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")

    def lightning_strategy(self, unused_weights: bool = False) -> str | Strategy:
        """What Lightning's trainer takes.

        Args:
            unused_weights: whether some steps leave weights out, which processes that train together have to expect.
        """
        if self.strategy == "fsdp":
            # One checkpoint file; a block's weights are gathered only while it computes.
            return FSDPStrategy(state_dict_type="full", auto_wrap_policy={TransformerBlock})
        if self.strategy == "ddp" or self.count > 1:
            return "ddp_find_unused_parameters_true" if unused_weights else "ddp"
        return "auto"
