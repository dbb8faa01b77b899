"""What one window costs, by arithmetic on a network's arguments: no PyTorch, so that a user interface can ask.

:func:`scdseg.networks.macs` counts the operations of a real network; a test holds this file to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_NARROWEST = 16  # channels of a narrow stem
_CELL = 2  # voxels that one logit of the token head covers along an axis


def keep_counts(token_count: int, keep_ratios: Sequence[float]) -> list[int]:
    """Patch tokens left after each stage: ``int(L_s · ratio)`` of those that reached it.

    Where rounding would leave none, one is kept for the stages still to come; behind the last stage CLS may go on
    alone.
    """
    counts: list[int] = []
    for stage, ratio in enumerate(keep_ratios, start=1):
        # The small term undoes rounding such as 10 × (1 − 0.9) = 0.9999999999999998.
        token_count = max(int(token_count * ratio + 1e-6), 0 if stage == len(keep_ratios) else 1)
        counts.append(token_count)
    return counts


def window_tokens(network: Mapping[str, Any]) -> int:
    """Patch tokens of one window, from the arguments of ``SCDUNETR``."""
    return math.prod(size // network["patch_size"] for size in network["img_size"])


def window_macs(network: Mapping[str, Any], keep_ratio: float) -> int:
    """Multiply-accumulate operations of one window: matrix products, attention and convolutions.

    Args:
        network: arguments of ``SCDUNETR``, as a bundle's metadata holds them.
        keep_ratio: share of tokens kept at each stage, in (0, 1].
    """
    count, width = window_tokens(network), network["hidden_size"]
    stages = network["prune_after"]
    kept = keep_counts(count, [keep_ratio] * len(stages))
    total, reached = _embedding(network), count
    for number in range(network["num_layers"] + 1):
        if number:
            total += _block(reached + 1, width, network["mlp_dim"])
        if number in stages:
            total += _scores(network, reached)
            reached = kept[stages.index(number)]
    return total + _completion(network, reached) + _decoder(network) + _token_head(network)


def dense_window_macs(network: Mapping[str, Any]) -> int:
    """The same for the dense UNETR with the same ViT and decoder."""
    blocks = network["num_layers"] * _block(window_tokens(network) + 1, network["hidden_size"], network["mlp_dim"])
    return _embedding(network) + int(blocks) + _decoder(network) + _token_head(network)


def stem_widths(stem: str, levels: int, hidden_size: int) -> list[int]:
    """Channels of a convolutional or narrow stem at each of its levels, from half the image's resolution on."""
    if stem == "convolutional":
        return [hidden_size // 2**level for level in reversed(range(levels))]
    finer = [max(_NARROWEST, hidden_size // 8**level) for level in reversed(range(1, levels))]
    return [*finer, hidden_size]


def _embedding(network: Mapping[str, Any]) -> int:
    patch, width, channels = network["patch_size"], network["hidden_size"], network["in_channels"]
    stem = network.get("stem", "linear")
    if stem == "linear":
        return int(window_tokens(network) * width * channels * patch**3)
    total, voxels = 0, math.prod(network["img_size"])
    for out in stem_widths(stem, int(math.log2(patch)), width):
        voxels //= 8
        total += voxels * 27 * channels * out
        channels = out
    return int(total)


def _block(tokens: int, width: int, mlp_dim: int) -> int:
    return tokens * (4 * width**2 + 2 * width * mlp_dim) + 2 * tokens**2 * width


def _scores(network: Mapping[str, Any], tokens: int) -> int:
    """What it takes to score ``tokens`` patch tokens at a pruning stage."""
    width = network["hidden_size"]
    pruning = network.get("pruning", "stp")
    if pruning == "random":
        return 0
    if pruning == "cls_attention":  # one row of what fused attention computes and does not tell
        return int((tokens + 1) * width)
    return int(tokens * (width**2 + width * width // 2 + width // 2 * width // 4 + width // 4))


def _completion(network: Mapping[str, Any], kept: int) -> int:
    """Projections in, blocks and projection out; mask tokens are projected by nobody."""
    tokens, width, inner = window_tokens(network) + 1, network["hidden_size"], network["assembly_size"]
    projected = kept + 1 if network.get("completion", "mta") == "mask_tokens" else tokens
    blocks = network["assembly_layers"] * _block(tokens, inner, 4 * inner)
    return int((projected + tokens) * width * inner + blocks)


def _token_head(network: Mapping[str, Any]) -> int:
    if not network.get("token_head", False):
        return 0
    cells, classes = network["patch_size"] // _CELL, network["out_channels"]
    total = window_tokens(network) * network["hidden_size"] * classes * cells**3
    shape = [size // _CELL for size in network["img_size"]]
    for axis in range(3):  # doubled along one axis after the other, each time by a matrix product
        total += classes * math.prod(shape) * 2 * shape[axis]
        shape[axis] *= 2
    return int(total)


def _decoder(network: Mapping[str, Any]) -> int:
    """Convolutions of MONAI's UNETR blocks; a transposed one counts every kernel element at every output voxel."""
    f, width, voxels = network["feature_size"], network["hidden_size"], math.prod(network["img_size"])
    if network["decoder"] == "light":
        return _light_decoder(voxels, network)
    total = _residual(voxels, network["in_channels"], f) + voxels * f * network["out_channels"]
    # Levels from the token map up to the image: channels, and how often the token map is doubled for the skip.
    deep = network["patch_size"] == 16 or network["decoder"] == "full"
    levels = [(8 * f, 8), (4 * f, 4), (2 * f, 2), (f, 1)] if deep else [(4 * f, 4), (2 * f, 2), (f, 1)]
    channels = width
    for out, scale in levels:
        at = voxels // scale**3
        total += at * 8 * channels * out + _residual(at, 2 * out, out)
        if scale > 1:
            total += _skip(at, width, out, steps=int(math.log2(network["patch_size"] // scale)))
        channels = out
    return int(total)


def _light_decoder(voxels: int, network: Mapping[str, Any]) -> int:
    f, half = network["feature_size"], voxels // 8
    total, at, width = _residual(half, 8 * network["in_channels"], 2 * f), half, 2 * f
    levels = [(half, width)]
    for _ in range(int(math.log2(network["patch_size"])) - 2):
        at //= 8
        total += _residual(at, width, 2 * width)
        width *= 2
        levels.append((at, width))
    channels = network["hidden_size"]
    for at, out in reversed(levels):
        total += at * 8 * channels * out + _residual(at, 2 * out, out)
        channels = out
    return int(total + half * 2 * f * 8 * network["out_channels"])


def _skip(voxels: int, width: int, out: int, steps: int) -> int:
    """From the token map to ``voxels`` by doubling ``steps`` times; without any, one residual block."""
    if steps == 0:
        return _residual(voxels, width, out)
    total, at = 0, voxels // 8 ** (steps - 1)
    total += at * 8 * width * out
    for _ in range(steps - 1):
        at *= 8
        total += at * 8 * out * out + _residual(at, out, out)
    return total


def _residual(voxels: int, channels: int, out: int) -> int:
    """Two 3×3×3 convolutions, and one of 1×1×1 where the width changes."""
    return voxels * (27 * channels * out + 27 * out * out + (channels * out if channels != out else 0))
