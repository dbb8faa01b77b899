"""Where the time of one window goes, stage by stage of the network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from monai.networks.blocks import UnetrUpBlock
from torch import nn

from scdseg.benchmark.machine import Machine
from scdseg.benchmark.timing import autocast, spread, wait_for
from scdseg.networks import SCDUNETR
from scdseg.networks.inference_format import prepare_for_inference


def measure_stages(
    network: SCDUNETR, keep_ratio: float, machine: Machine, rounds: int = 5
) -> tuple[dict[str, float], float]:
    """Median seconds of every stage of the forward pass, in the order in which they run, and of the whole.

    What no stage covers is called ``"between"``: moving tokens, adding up logits. On a GPU every stage is waited for,
    so that the whole takes longer than a window does.

    Args:
        network: is moved to the machine and prepared for inference.
        keep_ratio: share of tokens kept at each stage.
        machine: to measure on.
        rounds: how often the window is timed, after one that warms up.
    """
    network = network.to(machine.device).eval()
    prepare_for_inference(network, machine.device, machine.dtype)
    image = torch.rand(1, network.config["in_channels"], *network.img_size).to(machine.device)
    rows: list[dict[str, float]] = []
    totals: list[float] = []
    for number in range(rounds + 1):
        row: dict[str, float] = {}
        with _timed(_stages(network), row, machine.device), torch.inference_mode():
            wait_for(machine.device)
            began = time.perf_counter()
            with autocast(machine.device, machine.dtype):
                network(image, keep_ratio)
            wait_for(machine.device)
            total = time.perf_counter() - began
        if number:
            rows.append({**row, "between": max(0.0, total - sum(row.values()))})
            totals.append(total)
    return {name: spread([row[name] for row in rows]).median for name in rows[0]}, spread(totals).median


def _stages(network: SCDUNETR) -> list[tuple[str, nn.Module]]:
    """Names of stages and the modules that belong to them."""
    encoder = network.encoder
    ends = [*encoder.prune_after, len(encoder.blocks)]
    stages: list[tuple[str, nn.Module]] = [("patch embedding", encoder.embedding)]
    begin = 0
    for number, end in enumerate(ends):
        of = "all" if not number else f"after stage {number}"
        stages += [(f"blocks {begin + 1}–{end}, {of} tokens", block) for block in encoder.blocks[begin:end]]
        begin = end
    stages += [("score predictors and selection", stage) for stage in encoder.pruning]
    stages.append(("token assembly", network.assembly))
    for name, child in network.decoder.named_children():
        # Some decoders call an upward step in two parts, with something between them.
        parts = [child.transp_conv, child.conv_block] if isinstance(child, UnetrUpBlock) else [child]
        stages += [(f"decoder, {name}", part) for part in parts]
    if network.token_head is not None:
        stages.append(("token head", network.token_head))
    return stages


@contextmanager
def _timed(stages: list[tuple[str, nn.Module]], row: dict[str, float], device: torch.device) -> Iterator[None]:
    """Add up in ``row`` the seconds of each stage inside the ``with`` block."""
    began: list[float] = []

    def before(*_: Any) -> None:
        wait_for(device)
        began.append(time.perf_counter())

    def after(name: str, *_: Any) -> None:
        wait_for(device)
        row[name] = row.get(name, 0.0) + time.perf_counter() - began.pop()

    hooks = [module.register_forward_pre_hook(before) for _, module in stages]
    hooks += [module.register_forward_hook(partial(after, name)) for name, module in stages]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
