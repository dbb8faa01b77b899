"""Weights to start a training run from, wherever they come from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from scdseg.errors import InputError
from scdseg.networks import SCDUNETR, UNETR
from scdseg.training.start_sources import StartWeights, common_name, read_start_weights

_POSITIONS = "embedding.position_embedding"
_PROJECTION = "embedding.projection.weight"
_STEM = "embedding.projection.0.weight"


@dataclass(frozen=True)
class StartReport:
    """What became of the weights; names are ``UNETR``'s, without ``encoder.`` in front.

    Args:
        source: file or folder.
        taken: weights that were taken as they are.
        adapted: weights brought to another token grid or number of image channels, with what was done to them.
        random: weights of the network that were left as they were.
        ignored: weights of the source without a place in the network.
    """

    source: Path
    taken: list[str] = field(default_factory=list)
    adapted: dict[str, str] = field(default_factory=dict)
    random: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"start from {self.source}: {len(self.taken)} weights taken as they are{_parts(self.taken)}"]
        lines += [f"  {name}: {how}" for name, how in self.adapted.items()]
        lines.append(f"  {len(self.random)} left at random{_parts(self.random)}")
        lines.append(f"  {len(self.ignored)} of the source ignored{_parts(self.ignored)}")
        return "\n".join(lines)


def load_start(network: SCDUNETR | UNETR, path: Path) -> StartReport:
    """Put all weights that fit into a network; the ViT's blocks must.

    Position embeddings of another token grid are interpolated trilinearly, CLS keeps its own. A patch embedding for
    another number of image channels is averaged over its channels, so that equal channels are embedded as before.
    Other weights whose shapes differ are left as they are, such as the last layer's for other labels.

    Args:
        network: to be trained.
        path: ``encoder.safetensors`` of ``scdseg pretrain``, a checkpoint of ``scdseg train``, the folder of either,
            a model bundle, a checkpoint of the paper's authors (``.pth.tar``), or a state dictionary (``.pt``,
            ``.pth``, ``.safetensors``) of MONAI's ``ViT``, ``UNETR``, ``ViTAutoEnc`` or ``MaskedAutoEncoderViT``. The
            last two kinds do not say how many attention heads they have: that the network has as many is the caller's
            to know.

    Raises:
        InputError: if the file cannot be read safely, has no ViT or one of other width, depth or heads.
        ModelError: for a damaged bundle.
    """
    names = network.state_dict()
    source = read_start_weights(path, names)
    _check_sizes(source, network, path)
    report = StartReport(path)
    found = dict(source.weights)
    with torch.no_grad():
        for full_name, target in names.items():
            name = common_name(full_name)
            weight, how = _adapted(name, found.pop(name, None), target, source.grid, network.grid)
            if weight is None:
                report.random.append(name)
                continue
            target.copy_(weight)
            if how:
                report.adapted[name] = how
            else:
                report.taken.append(name)
    report.ignored.extend(found)
    return report


def _check_sizes(source: StartWeights, network: SCDUNETR | UNETR, path: Path) -> None:
    """Refuse a ViT whose blocks are others than the network's; nothing has been loaded yet."""
    found = _sizes(source.weights, path)
    if source.num_heads is not None:
        found["num_heads"] = source.num_heads
    for key, value in found.items():
        if value != network.config[key]:
            raise InputError(
                f"{path}: its vision transformer has {key} {value}, the network {network.config[key]}; set "
                f"network.{key} to {value} or start from other weights"
            )


def _sizes(weights: Mapping[str, Tensor], path: Path) -> dict[str, int]:
    attention, mlp = weights["blocks.0.attention.qkv.weight"], weights.get("blocks.0.mlp.0.weight")
    if attention.ndim != 2 or mlp is None or mlp.ndim != 2:
        raise InputError(f"{path}: its vision transformer is of another kind; start from other weights")
    numbers = [int(match[1]) for match in map(re.compile(r"blocks\.(\d+)\.").match, weights) if match]
    return {"hidden_size": attention.shape[1], "num_layers": max(numbers) + 1, "mlp_dim": mlp.shape[0]}


def _adapted(
    name: str, weight: Tensor | None, target: Tensor, grid: Sequence[int] | None, target_grid: Sequence[int]
) -> tuple[Tensor | None, str]:
    """A weight in the shape of its place, or None if it has none, and what was done for that."""
    if weight is None:
        return None, ""
    if name == _POSITIONS:
        return _resized_positions(weight, grid, target_grid)
    if name == _PROJECTION and weight.ndim == 2:
        weight = _as_convolution(weight, target)
    if weight.shape == target.shape:
        return weight, ""
    others = [axis for axis, (n, m) in enumerate(zip(weight.shape, target.shape, strict=False)) if n != m]
    if name in (_PROJECTION, _STEM) and weight.ndim == target.ndim and others == [1]:
        channels = target.shape[1]
        mean = weight.float().sum(dim=1, keepdim=True) / channels
        return mean.expand_as(target), f"averaged, {weight.shape[1]} → {channels} image channels"
    return None, ""


def _resized_positions(
    positions: Tensor, grid: Sequence[int] | None, target_grid: Sequence[int]
) -> tuple[Tensor | None, str]:
    """Position embeddings (1, L + 1, C) with CLS first on another token grid."""
    count = positions.shape[1] - 1
    if grid is None:
        # A bare state dictionary tells the number of tokens alone: a cube, or else the network's grid.
        edge = round(count ** (1 / 3))
        grid = (edge, edge, edge) if edge**3 == count else target_grid
    if torch.Size(grid).numel() != count:
        return None, ""
    if tuple(grid) == tuple(target_grid):
        return positions, ""
    table = positions[:, 1:].float().transpose(1, 2).unflatten(2, tuple(grid))
    table = F.interpolate(table, size=tuple(target_grid), mode="trilinear", align_corners=False)
    resized = torch.cat((positions[:, :1].float(), table.flatten(2).transpose(1, 2)), dim=1)
    return resized, f"interpolated, {_times(grid)} → {_times(target_grid)} tokens"


def _as_convolution(linear: Tensor, target: Tensor) -> Tensor:
    """MONAI's ``perceptron`` patch embedding (C, p · p · p · channels) as a convolution (C, channels, p, p, p).

    Only where it has the target's patch size and its number of channels, or one; else it comes back as it is.
    """
    if target.ndim != 5:
        return linear
    edges = tuple(target.shape[2:])
    for channels in (target.shape[1], 1):
        if linear.shape[1] == torch.Size(edges).numel() * channels:
            return linear.unflatten(1, (*edges, channels)).movedim(-1, 1)
    return linear


def _parts(names: Sequence[str]) -> str:
    """``: embedding 2, decoder.skip1 7`` for so many names below these."""
    counts = Counter(
        ".".join(name.split(".")[: 2 if name.startswith(("decoder.", "embedding.")) else 1]) for name in names
    )
    return f": {', '.join(f'{part} {count}' for part, count in counts.items())}" if counts else ""


def _times(grid: Sequence[int]) -> str:
    return "×".join(str(n) for n in grid)
