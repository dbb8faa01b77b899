"""From voxels to tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from scdseg.window_cost import stem_widths

STEMS = ("linear", "convolutional", "narrow")


class PatchEmbedding(nn.Module):
    """Cut an image into cubes of ``patch_size`` voxels and make each a token; put the CLS token first and add learned
    positions.

    ``stem="linear"`` is the paper's strided convolution (kernel = stride = patch). ``stem="convolutional"`` reaches the
    same grid by stride-2 3×3×3 convolutions, which trains faster from scratch (Xiao et al., *Early convolutions help
    transformers see better*, 2021). Its finest level, at half the image's resolution, is a quarter of the tokens' width
    for patches of 8, which at width 768 is most of a sparse network's work. ``stem="narrow"`` takes an eighth of the
    width with every level that is finer, but at least 16 channels.

    Args:
        in_channels: image channels.
        img_size: window in voxels, each a multiple of ``patch_size``.
        patch_size: edge of a patch in voxels; a power of two for the convolutional stem.
        hidden_size: token width C.
        stem: ``"linear"``, ``"convolutional"`` or ``"narrow"``.
    """

    def __init__(
        self, in_channels: int, img_size: tuple[int, int, int], patch_size: int, hidden_size: int, stem: str = "linear"
    ) -> None:
        super().__init__()
        self.grid = (img_size[0] // patch_size, img_size[1] // patch_size, img_size[2] // patch_size)
        self.projection = _stem(stem, in_channels, patch_size, hidden_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, hidden_size))
        self.position_embedding = nn.Parameter(torch.zeros(1, math.prod(self.grid) + 1, hidden_size))
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.position_embedding, std=0.02)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, *img_size) → (B, L + 1, C), L patches in row-major order behind CLS."""
        tokens = self.projection(image).flatten(2).transpose(1, 2)
        cls = self.cls_token.expand(tokens.shape[0], -1, -1).to(tokens.dtype)
        return torch.cat((cls, tokens), dim=1) + self.position_embedding


def _stem(stem: str, in_channels: int, patch_size: int, hidden_size: int) -> nn.Module:
    if stem == "linear":
        return nn.Conv3d(in_channels, hidden_size, kernel_size=patch_size, stride=patch_size)
    levels = int(math.log2(patch_size))
    if 2**levels != patch_size or (stem == "convolutional" and hidden_size % 2 ** (levels - 1)):
        raise ValueError(
            f"a {stem} stem needs a patch size that is a power of two"
            + (f" and halves hidden_size {levels - 1} times" if stem == "convolutional" else "")
        )
    layers: list[nn.Module] = []
    width_in = in_channels
    for level, width in enumerate(stem_widths(stem, levels, hidden_size)):
        layers.append(nn.Conv3d(width_in, width, kernel_size=3, stride=2, padding=1))
        if level < levels - 1:
            layers += [nn.GroupNorm(1, width), nn.GELU()]
        width_in = width
    return nn.Sequential(*layers)
