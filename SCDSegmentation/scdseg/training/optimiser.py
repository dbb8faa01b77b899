"""AdamW with layer-wise learning-rate decay, and the rate's course over the steps."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from scdseg.networks import SCDUNETR, UNETR
from scdseg.networks.masked_autoencoder import MaskedAutoencoder
from scdseg.training.devices import Devices
from scdseg.training.settings import OptimisationSettings

Network = SCDUNETR | UNETR | MaskedAutoencoder

_BLOCK = re.compile(r"(?:encoder\.)?blocks\.(\d+)\.")
_EMBEDDING = re.compile(r"(?:encoder\.)?embedding\.")


# Learnt tokens and positions are, like biases and norms, not weights of a product.
_NOT_DECAYED = re.compile(r"(cls_token|position_embedding|mask_token|layer_tokens\.\d+)$")
# What sharding puts into names.
_WRAPPER = "_fsdp_wrapped_module."


def decayed_weights(network: Network) -> frozenset[str]:
    """Names of the weights that weight decay makes smaller; asked for before devices share the weights out."""
    return frozenset(
        name for name, weight in network.named_parameters() if weight.ndim > 1 and not _NOT_DECAYED.search(name)
    )


def optimiser_and_schedule(
    network: Network, settings: OptimisationSettings, devices: Devices, decayed: frozenset[str]
) -> OptimizerLRSchedulerConfig:
    """What Lightning trains a network with.

    Args:
        network: to be trained.
        settings: the recipe's.
        devices: what train together; with ``learning_rate_batch`` the rate follows the batch of all.
        decayed: :func:`decayed_weights` of the network.
    """
    rate = settings.learning_rate
    if settings.learning_rate_batch:
        rate *= settings.batch_size * settings.accumulate * devices.count / settings.learning_rate_batch
    optimiser = build_optimiser(network, settings, rate, decayed)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, partial(rate_factor, settings=settings))
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def build_optimiser(
    network: Network, settings: OptimisationSettings, rate: float, decayed: frozenset[str]
) -> torch.optim.AdamW:
    """AdamW over a network's weights.

    With ``layer_decay`` d, block i of N learns with d^(N − i) of the rate and the embedding with d^(N + 1), as is usual
    for vision transformers that were pre-trained (Bao et al., *BEiT*, 2022); all else learns with the full rate.

    Args:
        network: to be trained.
        settings: the recipe's.
        rate: learning rate of this run's batch.
        decayed: names of the weights that are decayed.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    depth = int(network.config["num_layers"])
    for wrapped, parameter in network.named_parameters():
        name = wrapped.replace(_WRAPPER, "")
        decay = settings.weight_decay if name in decayed else 0.0
        groups.setdefault((rate * _layer_scale(name, depth, settings.layer_decay), decay), []).append(parameter)
    described: list[dict[str, Any]] = [
        {"params": parameters, "lr": scaled, "weight_decay": decay} for (scaled, decay), parameters in groups.items()
    ]
    # One pass over all weights; where float16 gradients are scaled, they could not be clipped any more.
    return torch.optim.AdamW(described, lr=rate, betas=(0.9, 0.95), fused=settings.precision != "16-mixed")


class ClipsGradients(pl.LightningModule):
    """Scales gradients so that their norm is at most the trainer's ``gradient_clip_val``.

    Lightning's own clipping refuses fused optimisers in mixed precision, for float16's sake alone, and sharded weights.
    """

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Called by Lightning; no recipe asks for another algorithm than the norm's."""
        if not gradient_clip_val:
            return
        whole = self.trainer.strategy.model
        if isinstance(whole, FullyShardedDataParallel):
            whole.clip_grad_norm_(gradient_clip_val)  # knows the other shards
        else:
            nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)


def rate_factor(step: int, settings: OptimisationSettings) -> float:
    """Share of the learning rate at a step: warm-up, then a constant and a linear cool-down, or a cosine to zero.

    The constant part of ``"linear"`` lets a run be prolonged after the fact.
    """
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    if settings.schedule == "cosine":
        done = max(0, step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    remaining = max(0, settings.steps - step) / max(1.0, settings.cooldown * settings.steps)
    return warm * min(1.0, remaining)


def _layer_scale(name: str, depth: int, decay: float) -> float:
    if _EMBEDDING.match(name):
        return decay ** (depth + 1)
    block = _BLOCK.match(name)
    return decay ** (depth - int(block.group(1))) if block else 1.0
