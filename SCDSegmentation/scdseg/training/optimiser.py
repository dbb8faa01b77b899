"""AdamW with layer-wise learning-rate decay, and the rate's course over the steps."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import nn

from scdseg.networks import SCDUNETR, UNETR
from scdseg.networks.masked_autoencoder import MaskedAutoencoder
from scdseg.training.settings import OptimisationSettings

_BLOCK = re.compile(r"(?:encoder\.)?blocks\.(\d+)\.")
_EMBEDDING = re.compile(r"(?:encoder\.)?embedding\.")


def build_optimiser(
    network: SCDUNETR | UNETR | MaskedAutoencoder, settings: OptimisationSettings, rate: float
) -> torch.optim.AdamW:
    """AdamW over a network's weights; biases and norms are not decayed.

    With ``layer_decay`` d, block i of N learns with d^(N − i) of the rate and the embedding with d^(N + 1), as is usual
    for vision transformers that were pre-trained (Bao et al., *BEiT*, 2022); all else learns with the full rate.

    Args:
        network: to be trained.
        settings: the recipe's.
        rate: learning rate of this run's batch.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    depth = int(network.config["num_layers"])
    for name, parameter in network.named_parameters():
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate * _layer_scale(name, depth, settings.layer_decay), decay), []).append(parameter)
    described: list[dict[str, Any]] = [
        {"params": parameters, "lr": scaled, "weight_decay": decay} for (scaled, decay), parameters in groups.items()
    ]
    return torch.optim.AdamW(described, lr=rate, betas=(0.9, 0.95))


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
