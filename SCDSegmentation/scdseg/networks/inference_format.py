"""Weights in the form that a device computes with fastest."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn

from scdseg.networks.pruning import ScorePredictor
from scdseg.networks.scd_unetr import SCDUNETR
from scdseg.networks.unetr import UNETR


def prepare_for_inference(network: SCDUNETR | UNETR, device: torch.device, dtype: torch.dtype) -> None:
    """Do once what autocast and convolutions would do for every window. For a network that is not trained any more.

    In bfloat16, weights of products are rounded to it, as autocast does it; those of the score predictors, which
    autocast leaves alone, stay as they are. On a CPU, the channels of a decoder with convolutions at full resolution
    lie side by side, as oneDNN's kernels take them: an eighth of a window's time at the published size. Float32 does
    not gain from that, nor does the light decoder.

    Args:
        network: on the device.
        device: to compute on.
        dtype: that autocast computes in, or float32.
    """
    if dtype != torch.bfloat16:
        return
    predictors = [module for module in network.modules() if isinstance(module, ScorePredictor)]
    exact = {layer for predictor in predictors for layer in predictor.modules()}
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv3d | nn.ConvTranspose3d) and module not in exact:
            module.to(dtype)
    if device.type == "cpu" and network.config["decoder"] != "light":
        network.decoder.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # not in its stubs


def inference_copies(
    networks: Iterable[nn.Module], device: torch.device, dtype: torch.dtype
) -> dict[nn.Module, nn.Module]:
    """What each network is to compute with beside its training: a prepared copy, or itself where none is needed.

    Args:
        networks: on the device; one may come several times. Those that are not ours stand for themselves.
        device: to compute on.
        dtype: that autocast computes in, or float32.
    """
    copies: dict[nn.Module, nn.Module] = {}
    for network in networks:
        if network not in copies:
            copies[network] = network
            if isinstance(network, SCDUNETR | UNETR) and dtype != torch.float32:
                copies[network] = prepared = copy.deepcopy(network)
                prepare_for_inference(prepared, device, dtype)
    return copies
