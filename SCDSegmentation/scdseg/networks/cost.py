"""What a configuration costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scdseg.networks.scd_unetr import SCDUNETR
from scdseg.networks.unetr import UNETR


def macs(network: SCDUNETR | UNETR, keep_ratio: float | Sequence[float] | None = None) -> int:
    """Multiply-accumulate operations of one window: matrix products, attention and convolutions.

    Counted on shapes alone, so it takes neither memory nor time, for the network as it is called with ``keep_ratio``.
    Transposed convolutions count every kernel element at every output voxel, as in the paper's figures.
    """
    shape = (network.config["in_channels"], *network.img_size)
    return forward_macs(network, shape, *((keep_ratio,) if isinstance(network, SCDUNETR) else ()))


def forward_macs(network: nn.Module, shape: Sequence[int], *arguments: Any) -> int:
    """The same for any network.

    Args:
        network: on any device.
        shape: (channels, *window) of one sample.
        arguments: what it is called with behind the window.
    """
    shapes = FakeTensorMode()
    state = dict(network.named_parameters()) | dict(network.named_buffers())
    weights: dict[str, torch.Tensor] = {name: shapes.from_tensor(tensor) for name, tensor in state.items()}
    device = next(network.parameters()).device
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution: _convolution_flops})
    # The counter knows attention as the matrix products that the plain backend makes of it.
    with shapes, torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        # Weights that were prepared for autocast count as what they were made of.
        same = {name: weight.float() if weight.is_floating_point() else weight for name, weight in weights.items()}
        functional_call(network, same, (torch.empty(1, *shape, device=device), *arguments))
    return counter.get_total_flops() // 2


def _convolution_flops(
    x_shape: Sequence[int], w_shape: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any
) -> int:
    # Of the weight's first two axes one is the output's channels, whichever way the convolution goes.
    return 2 * math.prod(out_shape) // out_shape[1] * math.prod(w_shape)
