"""What is measured: our networks at several keep ratios, their dense baseline, and what else users would take."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from monai.networks import nets
from monai.networks.blocks.transformerblock import TransformerBlock as MonaiBlock
from monai.networks.nets import DynUNet, SegResNet, SwinUNETR
from torch import nn

from scdseg.networks import SCDUNETR, UNETR
from scdseg.networks.cost import forward_macs

DENSE = "dense UNETR"


@dataclass(frozen=True)
class Subject:
    """A network with fresh weights, and the window that it is to be measured on.

    Args:
        name: for tables.
        network: takes (B, in_channels, *window), and the keep ratio if there is one.
        window: in voxels.
        channels: of the image and of the logits.
        keep_ratio: share of tokens kept at each stage; None where nothing is pruned.
        sigmoid: whether the logits stand for regions that may overlap; it decides on the loss.
    """

    name: str
    network: nn.Module
    window: tuple[int, int, int]
    channels: tuple[int, int]
    keep_ratio: float | None = None
    sigmoid: bool = False

    @property
    def arguments(self) -> tuple[float, ...]:
        """What the network is called with behind the window."""
        return () if self.keep_ratio is None else (self.keep_ratio,)

    def macs(self) -> int:
        """Multiply-accumulate operations of one window; see :func:`scdseg.networks.macs`."""
        return forward_macs(self.network, (self.channels[0], *self.window), *self.arguments)


def dense_baseline(arguments: Mapping[str, Any]) -> UNETR | None:
    """The dense UNETR with the same ViT and decoder, with fresh weights; None if the ViT is too shallow for its skips.

    ``arguments`` are those of ``SCDUNETR``.
    """
    known = inspect.signature(UNETR).parameters
    try:
        return UNETR(**{key: value for key, value in arguments.items() if key in known}).eval()
    except ValueError:
        return None


def use_monai_blocks(network: UNETR) -> UNETR:
    """Put MONAI's transformer blocks, with fresh weights, in the place of a dense network's own.

    They work out every attention weight, as the authors' implementation does and MONAI's UNETR by default; ours hand
    that to PyTorch's fused attention.
    """
    width, mlp_dim, heads = (network.config[name] for name in ("hidden_size", "mlp_dim", "num_heads"))
    network.blocks = nn.ModuleList(MonaiBlock(width, mlp_dim, heads, qkv_bias=True) for _ in network.blocks)
    return network


def own_subjects(
    arguments: Mapping[str, Any], keep_ratios: Sequence[float], sigmoid: bool = False, unfused: bool = True
) -> list[Subject]:
    """The dense baseline, with our transformer blocks and with MONAI's, and SCD-UNETR at each keep ratio.

    Where there is no dense baseline, it is left out.

    Args:
        arguments: of ``SCDUNETR``.
        keep_ratios: of the sparse network.
        sigmoid: see :class:`Subject`.
        unfused: whether the baseline with MONAI's blocks is wanted, which take the package einops.
    """
    sparse = SCDUNETR(**arguments).eval()
    config = sparse.config
    window, channels = sparse.img_size, (config["in_channels"], config["out_channels"])
    subjects = [
        Subject(f"SCD-UNETR, keep {ratio:g}", sparse, window, channels, ratio, sigmoid) for ratio in keep_ratios
    ]
    baselines = {DENSE: dense_baseline(arguments)}
    if unfused and (other := dense_baseline(arguments)) is not None:
        baselines[f"{DENSE}, MONAI's blocks"] = use_monai_blocks(other).eval()
    dense_subjects = [
        Subject(name, network, window, channels, sigmoid=sigmoid)
        for name, network in baselines.items()
        if network is not None
    ]
    return [*dense_subjects, *subjects]


def _unetr(in_channels: int, out_channels: int, window: tuple[int, int, int]) -> nn.Module:
    return nets.UNETR(in_channels=in_channels, out_channels=out_channels, img_size=window, feature_size=16)


def _swin(in_channels: int, out_channels: int, window: tuple[int, int, int]) -> nn.Module:
    return SwinUNETR(in_channels=in_channels, out_channels=out_channels, feature_size=48)


def _segresnet(in_channels: int, out_channels: int, window: tuple[int, int, int]) -> nn.Module:
    return SegResNet(
        spatial_dims=3, init_filters=32, in_channels=in_channels, out_channels=out_channels, blocks_down=(1, 2, 2, 4)
    )


def _dynunet(in_channels: int, out_channels: int, window: tuple[int, int, int]) -> nn.Module:
    """nnU-Net's shape: 32 features, doubled down to a grid of about 4 voxels, at most 320."""
    levels = max(2, min(6, (min(window) // 4).bit_length()))
    return DynUNet(
        3,
        in_channels,
        out_channels,
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=[min(320, 32 * 2**level) for level in range(levels)],
    )


@dataclass(frozen=True)
class _Peer:
    name: str
    build: Callable[[int, int, tuple[int, int, int]], nn.Module]
    divisor: int


_PEERS = {
    "swinunetr": _Peer("SwinUNETR, feature 48", _swin, 32),
    "segresnet": _Peer("SegResNet, 32 filters", _segresnet, 8),
    "dynunet": _Peer("DynUNet, nnU-Net's shape", _dynunet, 32),
    "unetr": _Peer("UNETR, patch 16", _unetr, 16),
}


def build_peer(name: str, in_channels: int, out_channels: int, window: tuple[int, int, int]) -> nn.Module:
    """A network of MONAI as its users set it up, one of ``scdseg.benchmark.PEERS``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of arguments that MONAI will rename
        return _PEERS[name].build(in_channels, out_channels, window)


def peer_subjects(names: Sequence[str], like: Subject) -> list[Subject]:
    """Networks of MONAI as its users set them up, for the channels and classes of another one.

    Args:
        names: of ``scdseg.benchmark.PEERS``.
        like: the other one; each network gets the smallest window that it can take and that holds the other's.
    """
    subjects = []
    for name in names:
        peer = _PEERS[name]
        x, y, z = (-(-n // peer.divisor) * peer.divisor for n in like.window)
        network = build_peer(name, *like.channels, (x, y, z)).eval()
        subjects.append(Subject(peer.name, network, (x, y, z), like.channels, sigmoid=like.sigmoid))
    return subjects


def tuned_subjects(subjects: Sequence[Subject], dtype: torch.dtype) -> list[Subject]:
    """The same networks with their weights in ``dtype`` and channels-last, as ours have them where that is faster.

    MONAI's users seldom do that, but they can.
    """
    tuned = []
    for subject in subjects:
        network = copy.deepcopy(subject.network)
        for layer in network.modules():
            if isinstance(layer, nn.Linear | nn.Conv3d | nn.ConvTranspose3d):
                layer.to(dtype)
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # not in its stubs
        tuned.append(replace(subject, name=f"{subject.name}, channels-last", network=network))
    return tuned
