"""Dense decoding: UNETR decoders over token maps (Hatamizadeh et al., *UNETR*, 2022), built of MONAI's blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from monai.networks.blocks import UnetOutBlock, UnetrBasicBlock, UnetrPrUpBlock, UnetrUpBlock
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import Tensor, nn
from torch.nn import functional as F

DECODERS = ("full", "shallow", "light")


def _basic(in_channels: int, out_channels: int) -> UnetrBasicBlock:
    return UnetrBasicBlock(3, in_channels, out_channels, kernel_size=3, stride=1, norm_name="instance", res_block=True)


def _rise(in_channels: int, out_channels: int, num_layer: int) -> UnetrPrUpBlock:
    return UnetrPrUpBlock(
        3,
        in_channels,
        out_channels,
        num_layer=num_layer,
        kernel_size=3,
        stride=1,
        upsample_kernel_size=2,
        norm_name="instance",
        conv_block=True,
        res_block=True,
    )


def _up(in_channels: int, out_channels: int) -> UnetrUpBlock:
    return UnetrUpBlock(
        3, in_channels, out_channels, kernel_size=3, upsample_kernel_size=2, norm_name="instance", res_block=True
    )


class _InstanceNorm(nn.InstanceNorm3d):
    """PyTorch's, with an output that autograd does not take for a view, and for channels that lie side by side.

    MONAI's blocks go on in place, and autograd answers writing into a view by copying the gradient, which the backward
    pass can do without. Nobody else holds the memory behind this one.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, X, Y, Z) → the same shape."""
        if x.shape[0] == 1 and x.is_contiguous(memory_format=torch.channels_last_3d):
            # The same for one sample, but PyTorch's instance norm would move all voxels to another order first.
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        normed: Tensor = super().forward(x)
        output: Tensor = torch.ops.aten._unsafe_view(normed, normed.shape)
        return output


class Patch16Decoder(nn.Module):
    """UNETR's own decoder for patches of 16 voxels: token maps at 1/16 of the resolution, four upward steps.

    ``dense_skips``: zero-based blocks whose hidden states a dense encoder hands to skips 2, 3 and 4.
    """

    dense_skips = (3, 6, 9)

    def __init__(self, in_channels: int, out_channels: int, hidden_size: int, feature_size: int) -> None:
        super().__init__()
        f = feature_size
        self.skip1 = _basic(in_channels, f)
        self.skip2 = _rise(hidden_size, 2 * f, num_layer=2)
        self.skip3 = _rise(hidden_size, 4 * f, num_layer=1)
        self.skip4 = _rise(hidden_size, 8 * f, num_layer=0)
        self.up4 = _up(hidden_size, 8 * f)
        self.up3 = _up(8 * f, 4 * f)
        self.up2 = _up(4 * f, 2 * f)
        self.up1 = _up(2 * f, f)
        self.output = UnetOutBlock(3, f, out_channels)

    def forward(self, detail: Tensor, skips: Sequence[Tensor], last: Tensor) -> Tensor:
        """``skip1`` of the image (B, F, *img_size), skip and last maps (B, C, *grid) → logits (B, K, *img_size)."""
        x = self.up4(last, self.skip4(skips[2]))
        x = self.up3(x, self.skip3(skips[1]))
        x = self.up2(x, self.skip2(skips[0]))
        return self.output(self.up1(x, detail))


class Patch8FullDecoder(nn.Module):
    """Patches of 8 voxels with a bottleneck at 1/16; the published costs are for this one."""

    dense_skips = (3, 6, 9)

    def __init__(self, in_channels: int, out_channels: int, hidden_size: int, feature_size: int) -> None:
        super().__init__()
        f = feature_size
        self.skip1 = _basic(in_channels, f)
        self.skip2 = _rise(hidden_size, 2 * f, num_layer=1)
        self.skip3 = _rise(hidden_size, 4 * f, num_layer=0)
        self.skip4 = _basic(hidden_size, 8 * f)
        # AvgPool3d's own padding refuses grids with an axis shorter than the kernel.
        self.bottleneck = nn.Sequential(nn.ConstantPad3d(1, 0.0), nn.AvgPool3d(kernel_size=3, stride=2))
        self.up4 = _up(hidden_size, 8 * f)
        self.up3 = _up(8 * f, 4 * f)
        self.up2 = _up(4 * f, 2 * f)
        self.up1 = _up(2 * f, f)
        self.output = UnetOutBlock(3, f, out_channels)

    def forward(self, detail: Tensor, skips: Sequence[Tensor], last: Tensor) -> Tensor:
        """``skip1`` of the image (B, F, *img_size), skip and last maps (B, C, *grid) → logits (B, K, *img_size)."""
        skip4 = self.skip4(skips[2])
        risen = self.up4.transp_conv(self.bottleneck(last))
        # A grid with an odd axis comes back one token longer than it was.
        risen = risen[:, :, : skip4.shape[2], : skip4.shape[3], : skip4.shape[4]]
        x = self.up4.conv_block(torch.cat((risen, skip4), dim=1))
        x = self.up3(x, self.skip3(skips[1]))
        x = self.up2(x, self.skip2(skips[0]))
        return self.output(self.up1(x, detail))


class Patch8ShallowDecoder(nn.Module):
    """Patches of 8 voxels and three upward steps straight from the token map."""

    dense_skips = (4, 8)

    def __init__(self, in_channels: int, out_channels: int, hidden_size: int, feature_size: int) -> None:
        super().__init__()
        f = feature_size
        self.skip1 = _basic(in_channels, f)
        self.skip2 = _rise(hidden_size, 2 * f, num_layer=1)
        self.skip3 = _rise(hidden_size, 4 * f, num_layer=0)
        self.up3 = _up(hidden_size, 4 * f)
        self.up2 = _up(4 * f, 2 * f)
        self.up1 = _up(2 * f, f)
        self.output = UnetOutBlock(3, f, out_channels)

    def forward(self, detail: Tensor, skips: Sequence[Tensor], last: Tensor) -> Tensor:
        """``skip1`` of the image (B, F, *img_size), skip and last maps (B, C, *grid) → logits (B, K, *img_size)."""
        x = self.up3(last, self.skip3(skips[1]))
        x = self.up2(x, self.skip2(skips[0]))
        return self.output(self.up1(x, detail))


class _Detail(nn.Module):
    """Features of the image at half its resolution; the voxels of every 2×2×2 block go in as channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.block = _basic(8 * in_channels, out_channels)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, X, Y, Z) → (B, out_channels, X / 2, Y / 2, Z / 2)."""
        return self.block(pixelunshuffle(image, 3, 2))


class LightDecoder(nn.Module):
    """No convolution finer than half the image's resolution, for patches of 4, 8 or 16 voxels; not in the paper.

    Convolutions at full resolution are most of a UNETR decoder's work and memory. Here the image's branch takes blocks
    of 2×2×2 voxels as channels, and the last layer gives the logits of such blocks, so nothing of either is lost.
    Further scales of that branch take the place of the skips of the token map, which is one and the same for all.
    """

    dense_skips = ()

    def __init__(
        self, in_channels: int, out_channels: int, hidden_size: int, feature_size: int, patch_size: int
    ) -> None:
        super().__init__()
        self._levels = range(2, int(math.log2(patch_size)) + 1)  # 2: half the image's resolution, 3: a quarter, …
        widths = {level: feature_size * 2 ** (level - 1) for level in self._levels}
        self.skip1 = _Detail(in_channels, widths[2])
        for level in self._levels[1:]:
            rise = UnetrBasicBlock(
                3, widths[level - 1], widths[level], kernel_size=3, stride=2, norm_name="instance", res_block=True
            )
            self.add_module(f"skip{level - 1}", rise)
        channels = hidden_size
        for level in reversed(self._levels):
            self.add_module(f"up{level}", _up(channels, widths[level]))
            channels = widths[level]
        self.output = UnetOutBlock(3, channels, 8 * out_channels)

    def forward(self, detail: Tensor, skips: Sequence[Tensor], last: Tensor) -> Tensor:
        """``skip1`` of the image (B, 2F, *img_size / 2), last map (B, C, *grid) → logits (B, K, *img_size)."""
        details = [detail]
        for level in self._levels[1:]:
            details.append(self.get_submodule(f"skip{level - 1}")(details[-1]))
        x = last
        for level in reversed(self._levels):
            x = self.get_submodule(f"up{level}")(x, details.pop())
        return pixelshuffle(self.output(x), 3, 2)


Decoder = Patch16Decoder | Patch8FullDecoder | Patch8ShallowDecoder | LightDecoder


def build_decoder(
    decoder: str, in_channels: int, out_channels: int, hidden_size: int, patch_size: int, feature_size: int
) -> Decoder:
    """The decoder for a patch size: 16 has ``"full"`` and ``"light"``, 8 has ``"shallow"``, too, 4 ``"light"`` alone.

    Raises:
        ValueError: for any other patch size or name.
    """
    kinds: dict[tuple[int, str], Callable[[int, int, int, int], Decoder]] = {
        (16, "full"): Patch16Decoder,
        (8, "full"): Patch8FullDecoder,
        (8, "shallow"): Patch8ShallowDecoder,
        **{(patch, "light"): partial(LightDecoder, patch_size=patch) for patch in (4, 8, 16)},
    }
    sizes = sorted({patch for patch, _ in kinds})
    if patch_size not in sizes:
        raise ValueError(f"decoders exist for patch sizes {', '.join(map(str, sizes))}, not {patch_size}")
    if (patch_size, decoder) not in kinds:
        known = ", ".join(name for patch, name in kinds if patch == patch_size)
        raise ValueError(f"there is no decoder {decoder!r} for patch size {patch_size}, but {known}")
    built = kinds[patch_size, decoder](in_channels, out_channels, hidden_size, feature_size)
    for module in list(built.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.InstanceNorm3d):
                setattr(module, name, _InstanceNorm(child.num_features, eps=child.eps))
    return built
