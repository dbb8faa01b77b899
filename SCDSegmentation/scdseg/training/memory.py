"""What one training step takes of memory, asked before the first one."""

from __future__ import annotations

from typing import Any

import psutil
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from scdseg.errors import InputError
from scdseg.networks import SCDUNETR
from scdseg.networks.masked_autoencoder import MaskedAutoencoder
from scdseg.training.devices import Devices
from scdseg.training.optimiser import Network

_FLOAT = 4
# Weights, their gradients and AdamW's two moments.
_COPIES = 4
# Logits, their gradient and what the loss makes of them, in float32.
_LOGITS = 5


def step_bytes(network: Network, batch_size: int, keep_ratio: float, half: bool = False) -> int:
    """Estimate of a training step's peak: weights, optimiser, what is kept for the backward pass, and the loss.

    Counted on shapes alone, without computing.

    Args:
        network: to be trained.
        batch_size: windows of a step.
        keep_ratio: the largest that is trained at.
        half: whether the step runs in mixed precision.
    """
    weights = sum(p.numel() for p in network.parameters()) * _FLOAT * _COPIES
    shapes = FakeTensorMode()
    state: dict[str, Tensor] = dict(network.named_parameters()) | dict(network.named_buffers())
    kept: dict[int, int] = {}
    own: set[int] = set()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    training = network.training
    network.train()
    try:
        with shapes, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            fakes: dict[str, Tensor] = {
                name: torch.empty_like(tensor).requires_grad_(isinstance(tensor, torch.nn.Parameter))
                for name, tensor in ((name, shapes.from_tensor(tensor)) for name, tensor in state.items())
            }
            own.update(tensor.untyped_storage()._cdata for tensor in fakes.values())
            window = torch.empty(batch_size, network.config["in_channels"], *network.img_size)
            arguments: tuple[Any, ...] = (window,)
            if isinstance(network, SCDUNETR):
                arguments = (window, keep_ratio)
            elif isinstance(network, MaskedAutoencoder):
                arguments = (window, torch.arange(network.patches).expand(batch_size, -1))
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                logits = functional_call(network, fakes, arguments)
            size = logits.numel() * _FLOAT * _LOGITS
            activations = sum(kept.values())
    finally:
        network.train(training)
    return weights + activations + size


def check_memory(network: Network, batch_size: int, keep_ratio: float, half: bool, devices: Devices) -> None:
    """Refuse a step that cannot fit. Where weights are shared out over devices, only what is whole on each counts.

    Raises:
        InputError: with what it takes, what is free and what to make smaller.
    """
    needed = step_bytes(network, batch_size, keep_ratio, half)
    if devices.strategy == "fsdp":
        shared = sum(p.numel() for p in network.parameters()) * _FLOAT * _COPIES
        needed -= shared * (devices.count - 1) // devices.count
    device = devices.own
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = psutil.virtual_memory().available
        needed *= devices.per_node  # its processes share the memory
    if needed > free:
        raise InputError(
            f"one training step takes about {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free on {device}: make "
            f"the batch ({batch_size}) or network.img_size {list(network.img_size)} smaller, set "
            "optimisation.precision to bf16-mixed, or train on another device"
        )
