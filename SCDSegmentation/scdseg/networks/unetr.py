"""The dense baseline: the same ViT and decoder without pruning or assembly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from scdseg.networks.arguments import check_arguments, to_map
from scdseg.networks.decoders import build_decoder
from scdseg.networks.patch_embedding import PatchEmbedding
from scdseg.networks.token_head import TokenHead, add_doubled
from scdseg.networks.transformer import init_transformer_weights, transformer_blocks


class UNETR(nn.Module):
    """UNETR (Hatamizadeh et al., 2022) on the blocks of :class:`~scdseg.networks.SCDUNETR`: what its speed is measured
    against.

    Arguments are those of ``SCDUNETR`` less pruning and assembly. ``num_layers`` must reach the last skip of the
    decoder (10 blocks for the full decoders, 9 for the shallow one, any for the light one).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        img_size: Sequence[int],
        patch_size: int = 8,
        feature_size: int = 16,
        hidden_size: int = 768,
        mlp_dim: int = 3072,
        num_layers: int = 12,
        num_heads: int = 12,
        decoder: str = "full",
        stem: str = "linear",
        drop_path_rate: float = 0.0,
        token_head: bool = False,
    ) -> None:
        super().__init__()
        window = check_arguments(img_size, patch_size, hidden_size, num_heads, stem)
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "img_size": list(window),
            "patch_size": patch_size,
            "feature_size": feature_size,
            "hidden_size": hidden_size,
            "mlp_dim": mlp_dim,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "decoder": decoder,
            "stem": stem,
            "drop_path_rate": drop_path_rate,
            "token_head": token_head,
        }
        self.img_size = window
        self.embedding = PatchEmbedding(in_channels, window, patch_size, hidden_size, stem)
        self.grid = self.embedding.grid
        self.blocks = transformer_blocks(num_layers, hidden_size, num_heads, mlp_dim, drop_path_rate)
        self.norm = nn.LayerNorm(hidden_size, eps=1e-6)
        self.apply(init_transformer_weights)
        self.decoder = build_decoder(decoder, in_channels, out_channels, hidden_size, patch_size, feature_size)
        self.token_head = TokenHead(hidden_size, out_channels, self.grid, patch_size) if token_head else None
        deepest = max(self.decoder.dense_skips, default=-1) + 1
        if num_layers < deepest:
            raise ValueError(f"this decoder reads block {deepest}; num_layers is {num_layers}")

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, out_channels, *img_size) of windows (B, in_channels, *img_size)."""
        return self.decode(x, self.hidden_states(x))

    def hidden_states(self, x: Tensor) -> list[Tensor]:
        """Patch tokens of windows (B, in_channels, *img_size): those of the blocks that the decoder's skips read, then
        the last ones, normed; each (B, L, C).
        """
        tokens, hidden = self.embedding(x), []
        for index, block in enumerate(self.blocks):
            tokens = block(tokens)
            if index in self.decoder.dense_skips:
                hidden.append(tokens[:, 1:])
        return [*hidden, self.norm(tokens)[:, 1:]]

    def decode(self, x: Tensor, hidden: Sequence[Tensor]) -> Tensor:
        """Logits (B, out_channels, *img_size) from the windows and their :meth:`hidden_states`."""
        *skips, last = [to_map(tokens, self.grid) for tokens in hidden]
        logits = self.decoder(self.decoder.skip1(x), skips, last)
        return logits if self.token_head is None else add_doubled(logits, self.token_head(hidden[-1]))
