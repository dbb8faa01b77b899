"""Pre-training network: a masked autoencoder over the patches of a window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scdseg.networks.arguments import check_arguments
from scdseg.networks.patch_embedding import PatchEmbedding
from scdseg.networks.positions import sine_cosine_positions
from scdseg.networks.transformer import init_transformer_weights, transformer_blocks

# Widths of the decoder: positions need a multiple of 6, heads are about 32 channels wide.
_WIDTH_STEP = 96
_HEAD_WIDTH = 32


class MaskedAutoencoder(nn.Module):
    """Learn a ViT without labels: encode a few patches of a window, reconstruct the others from them.

    He et al., *Masked autoencoders are scalable vision learners*, 2022; Zhou et al., *Self pre-training with masked
    autoencoders for medical image classification and segmentation*, 2023. ``embedding``, ``blocks`` and ``norm`` are
    those of ``UNETR`` and of ``SCDUNETR.encoder`` by name and shape. Masked patches are blank before they are embedded:
    the kernels of a convolutional stem reach beyond their own patch.

    Args:
        in_channels: image channels.
        img_size: window in voxels, each axis a multiple of ``patch_size``.
        patch_size: edge of a patch in voxels.
        hidden_size: token width C of the encoder.
        mlp_dim: hidden width of the encoder's MLPs.
        num_layers: transformer blocks of the encoder.
        num_heads: attention heads of the encoder.
        stem: ``"linear"`` or ``"convolutional"`` patch embedding.
        mask_ratio: share of the patches that are masked, in (0, 1).
        decoder_width: token width of the decoder, divisible by 6; 0: about half of ``hidden_size``.
        decoder_layers: transformer blocks of the decoder.

    Raises:
        ValueError: for arguments that do not fit together.
    """

    positions: Tensor

    def __init__(
        self,
        in_channels: int,
        img_size: Sequence[int],
        patch_size: int = 8,
        hidden_size: int = 768,
        mlp_dim: int = 3072,
        num_layers: int = 12,
        num_heads: int = 12,
        stem: str = "linear",
        mask_ratio: float = 0.75,
        decoder_width: int = 0,
        decoder_layers: int = 4,
    ) -> None:
        super().__init__()
        window = check_arguments(img_size, patch_size, hidden_size, num_heads, stem)
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "img_size": list(window),
            "patch_size": patch_size,
            "hidden_size": hidden_size,
            "mlp_dim": mlp_dim,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "stem": stem,
        }
        self.img_size = window
        self.patch_size = patch_size
        self.embedding = PatchEmbedding(in_channels, window, patch_size, hidden_size, stem)
        self.grid = self.embedding.grid
        self.patches = math.prod(self.grid)
        self.visible = round(self.patches * (1 - mask_ratio))
        if not 0 < mask_ratio < 1 or not 0 < self.visible < self.patches:
            raise ValueError(
                f"mask_ratio {mask_ratio} leaves {self.visible} of the window's {self.patches} patches to see; "
                "some must be seen and some masked"
            )
        self.blocks = transformer_blocks(num_layers, hidden_size, num_heads, mlp_dim, 0.0)
        self.norm = nn.LayerNorm(hidden_size, eps=1e-6)
        width = decoder_width or max(_WIDTH_STEP, hidden_size // 2 // _WIDTH_STEP * _WIDTH_STEP)
        heads = max(1, width // _HEAD_WIDTH)
        if width % heads:
            raise ValueError(f"decoder_width {width} is not divisible by its {heads} heads; multiples of 96 are")
        self.narrow = nn.Linear(hidden_size, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.register_buffer("positions", sine_cosine_positions(self.grid, width), persistent=False)
        self.decoder_blocks = transformer_blocks(decoder_layers, width, heads, 4 * width, 0.0)
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.output = nn.Linear(width, in_channels * patch_size**3)
        self.apply(init_transformer_weights)

    def forward(self, image: Tensor, order: Tensor) -> Tensor:
        """Reconstruction of all patches.

        Args:
            image: windows (B, in_channels, *img_size); what is masked in them is not looked at.
            order: the patches of each window in random order (B, L) int64; the first ``visible`` of them are seen.

        Returns:
            Normalised voxels (B, L, in_channels · patch_size³), see :meth:`patch_targets`.
        """
        return self.reconstruct(self.encode(image, order), order)

    def encode(self, image: Tensor, order: Tensor) -> Tensor:
        """Tokens (B, 1 + visible, C) of CLS and of the patches that are seen, in their order."""
        seen = order[:, : self.visible]
        shown = torch.zeros(order.shape, dtype=image.dtype, device=image.device).scatter(1, seen, 1.0)
        shown = shown.view(-1, 1, *self.grid)
        for axis in (2, 3, 4):
            shown = shown.repeat_interleave(self.patch_size, dim=axis)
        # Not a product: what is masked may be anything, even no number.
        tokens = self.embedding(torch.where(shown > 0, image, 0.0))
        index = torch.cat((seen.new_zeros(seen.shape[0], 1), seen + 1), dim=1)
        tokens = tokens.gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[2]))
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def reconstruct(self, tokens: Tensor, order: Tensor) -> Tensor:
        """The encoder's tokens (B, 1 + visible, C) → all patches (B, L, in_channels · patch_size³)."""
        x = self.narrow(tokens)
        masked = self.mask_token.to(x.dtype).expand(x.shape[0], self.patches - self.visible, -1)
        x = torch.cat((x, masked), dim=1)
        index = torch.cat((order.new_zeros(order.shape[0], 1), order + 1), dim=1).unsqueeze(-1).expand_as(x)
        x = torch.zeros_like(x).scatter(1, index, x) + self.positions
        for block in self.decoder_blocks:
            x = block(x)
        return self.output(self.decoder_norm(x))[:, 1:]

    def patch_targets(self, image: Tensor) -> Tensor:
        """Voxels of every patch less their mean and over their deviation: (B, L, in_channels · patch_size³)."""
        p = self.patch_size
        x, y, z = self.grid
        patches = image.float().reshape(image.shape[0], -1, x, p, y, p, z, p)
        patches = patches.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(image.shape[0], self.patches, -1)
        mean = patches.mean(dim=-1, keepdim=True)
        return (patches - mean) / (patches.var(dim=-1, keepdim=True, unbiased=False) + 1e-6).sqrt()

    def loss(self, image: Tensor, order: Tensor) -> Tensor:
        """Mean squared error over the voxels of the masked patches, those that are seen do not count."""
        masked = order[:, self.visible :].unsqueeze(-1)
        error = (self(image, order).float() - self.patch_targets(image)).square().mean(dim=-1, keepdim=True)
        return error.gather(1, masked).mean()
