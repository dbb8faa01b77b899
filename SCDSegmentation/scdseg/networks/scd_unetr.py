"""SCD-UNETR: sparse encoding, token completion, dense decoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scdseg.networks.arguments import check_arguments, to_map
from scdseg.networks.assembly import COMPLETIONS
from scdseg.networks.decode_box import Box, labelled_box
from scdseg.networks.decoders import build_decoder
from scdseg.networks.encoder import EmbeddedTokens, SparseEncoder, SparseEncoding
from scdseg.networks.patch_embedding import PatchEmbedding
from scdseg.networks.pruning import PRUNINGS, stage_keep_ratios
from scdseg.networks.token_head import TokenHead, add_doubled
from scdseg.networks.transformer import init_transformer_weights

DETAILS = ("all", "kept")


class TokenTrace(NamedTuple):
    """What happened to every token of a window."""

    scores: list[Tensor]  # per stage (B, L) float32 log-scores on the full token grid, NaN where already pruned
    stage: Tensor  # (B, *grid) uint8: 1…S pruned at that stage, S + 1 kept to the end


class SharedFeatures(NamedTuple):
    """What windows have in common at every keep ratio."""

    tokens: Tensor  # (B, L + 1, C) as they reach the first pruning stage, CLS first
    detail: Tensor  # what the decoder takes from the image itself: (B, F, *img_size), or at half the resolution
    log_attention: Tensor | None  # (B, L) that CLS pays to the patch tokens, where pruning goes by it


class SCDUNETR(nn.Module):
    """Segmentation with a sparse-token vision transformer (Zhou et al., *Token Sparsification for Faster Medical Image
    Segmentation*).

    A ViT scores its patch tokens after the blocks ``prune_after`` and keeps a share of them (STP), token assembly
    completes the map (MTA), a UNETR decoder turns it into logits. The keep ratio is a property of the call, not of the
    weights.

    Args:
        in_channels: image channels.
        out_channels: channels of the logits.
        img_size: window in voxels, each axis a multiple of ``patch_size``.
        patch_size: edge of a patch in voxels, 8 or 16; with the light decoder also 4.
        feature_size: width of the decoder at full resolution; at half of it, twice that.
        hidden_size: token width C, a multiple of 4 and of ``num_heads``.
        mlp_dim: hidden width of the encoder's MLPs.
        num_layers: transformer blocks of the encoder.
        num_heads: attention heads of the encoder.
        prune_after: numbers (ascending) of the blocks behind which tokens are pruned; 0: before the first, which is not
            in the paper.
        keep_ratio: default share of the tokens kept at each stage, in (0, 1]; one for all stages or one for each.
        assembly_size: width of the token assembly, divisible by 6 and by ``assembly_heads``.
        assembly_layers: transformer blocks of the token assembly.
        assembly_heads: attention heads of the token assembly.
        decoder: ``"full"``, for patch 8 also ``"shallow"``; ``"light"`` for patches of 4, 8 and 16.
        stem: ``"linear"`` (the paper's), ``"convolutional"`` or ``"narrow"`` patch embedding.
        drop_path_rate: stochastic depth of the encoder's last block.
        token_head: add the logits of a linear head on the completed tokens to the decoder's; not in the paper.
        pruning: how tokens are chosen: ``"stp"``, or for comparison ``"stp_no_noise"`` (without Gumbel noise in
            training), ``"cls_attention"`` or ``"random"``.
        detail: where the decoder sees features of the image itself: ``"all"`` over, as in the paper, or in the patches
            of ``"kept"`` tokens alone, those that the first stage kept; not in the paper. Then the choice of tokens
            decides what is looked at closely, and the scores learn from what that changed.
        decode_box: decode outside training only the box of the patches that the token head gives a label to, with their
            neighbours, and write background elsewhere; not in the paper. It can be set on a network.
        completion: how the token map is completed: ``"mta"``, or for comparison ``"mask_tokens"`` (the tokens kept to
            the end, and one learned token elsewhere).

    Raises:
        ValueError: for arguments that do not fit together.
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
        prune_after: Sequence[int] = (3, 6, 9),
        keep_ratio: float | Sequence[float] = 0.1,
        assembly_size: int = 768,
        assembly_layers: int = 1,
        assembly_heads: int = 12,
        decoder: str = "full",
        stem: str = "linear",
        drop_path_rate: float = 0.0,
        token_head: bool = False,
        pruning: str = "stp",
        completion: str = "mta",
        detail: str = "all",
        decode_box: bool = False,
    ) -> None:
        super().__init__()
        window = check_arguments(img_size, patch_size, hidden_size, num_heads, stem)
        stages = list(prune_after)
        if stages != sorted(set(stages)) or (stages and not 0 <= stages[0] <= stages[-1] <= num_layers):
            raise ValueError(f"prune_after must be ascending block numbers from 0 to {num_layers}, not {stages}")
        if stages[:1] == [0] and pruning == "cls_attention":
            raise ValueError("before the first block CLS has attended to nothing yet: cls_attention cannot prune there")
        if hidden_size % 4:
            raise ValueError(f"hidden_size must be a multiple of 4 for the score predictors, not {hidden_size}")
        if assembly_heads < 1 or assembly_size % assembly_heads:
            raise ValueError(f"assembly_size {assembly_size} is not divisible by {assembly_heads} heads")
        if completion not in COMPLETIONS:
            raise ValueError(f"completion must be one of {', '.join(COMPLETIONS)}, not {completion!r}")
        if pruning not in PRUNINGS:
            raise ValueError(f"pruning must be one of {', '.join(PRUNINGS)}, not {pruning!r}")
        if detail not in DETAILS or (detail == "kept" and not stages):
            raise ValueError(f'detail must be one of {", ".join(DETAILS)}, "kept" with a pruning stage, not {detail!r}')
        stage_keep_ratios(keep_ratio, len(stages))
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
            "prune_after": stages,
            "keep_ratio": list(keep_ratio) if isinstance(keep_ratio, Sequence) else keep_ratio,
            "assembly_size": assembly_size,
            "assembly_layers": assembly_layers,
            "assembly_heads": assembly_heads,
            "decoder": decoder,
            "stem": stem,
            "drop_path_rate": drop_path_rate,
            "token_head": token_head,
            "pruning": pruning,
            "completion": completion,
            "detail": detail,
            "decode_box": decode_box,
        }
        self.img_size = window
        self.keep_ratio = keep_ratio
        if decode_box and not (token_head and decoder == "light"):
            raise ValueError('decode_box needs decoder "light" and the token head, which says where there is something')
        self.decode_box = decode_box
        embedding = PatchEmbedding(in_channels, window, patch_size, hidden_size, stem)
        self.grid = embedding.grid
        self.encoder = SparseEncoder(
            embedding,
            hidden_size,
            mlp_dim,
            num_layers,
            num_heads,
            stages,
            drop_path_rate,
            pruning,
            pruned_are_read=completion == "mta",
        )
        self.assembly = COMPLETIONS[completion](
            self.grid, hidden_size, assembly_size, assembly_layers, assembly_heads, len(stages) + 1
        )
        self.encoder.apply(init_transformer_weights)
        self.assembly.apply(init_transformer_weights)
        self.decoder = build_decoder(decoder, in_channels, out_channels, hidden_size, patch_size, feature_size)
        self.token_head = TokenHead(hidden_size, out_channels, self.grid, patch_size) if token_head else None

    def forward(self, x: Tensor, keep_ratio: float | Sequence[float] | None = None) -> Tensor:
        """Logits (B, out_channels, *img_size) of windows (B, in_channels, *img_size).

        ``keep_ratio`` in (0, 1], one for all stages or one for each, takes the place of the constructor's.
        """
        encoding = self.encode(x, keep_ratio)
        return self.decode(x, self.complete(encoding), encoding)

    def forward_with_trace(
        self, x: Tensor, keep_ratio: float | Sequence[float] | None = None
    ) -> tuple[Tensor, TokenTrace]:
        """Like ``forward``, and what happened to each token."""
        return self.finish(self.share(x), keep_ratio)

    def share(self, x: Tensor) -> SharedFeatures:
        """The part of the work on windows (B, in_channels, *img_size) that is the same at every keep ratio."""
        embedded = self.encoder.embed(x)
        return SharedFeatures(embedded.tokens, self.decoder.skip1(x), embedded.log_attention)

    def finish(
        self, shared: SharedFeatures, keep_ratio: float | Sequence[float] | None = None
    ) -> tuple[Tensor, TokenTrace]:
        """The rest of the work of ``forward_with_trace``; ``shared`` stays as it is, for other keep ratios."""
        embedded = EmbeddedTokens(shared.tokens, shared.log_attention)
        encoding = self.encoder.prune(embedded, self._ratios(keep_ratio))
        return self._decode(shared.detail, self.complete(encoding), encoding), self._trace(encoding)

    def encode(self, x: Tensor, keep_ratio: float | Sequence[float] | None = None) -> SparseEncoding:
        """Token groups of windows (B, in_channels, *img_size) by the stage they reached."""
        return self.encoder(x, self._ratios(keep_ratio))

    def complete(self, encoding: SparseEncoding) -> Tensor:
        """Completed tokens (B, L, C)."""
        return self.assembly(encoding)

    def decode(self, x: Tensor, tokens: Tensor, encoding: SparseEncoding) -> Tensor:
        """Logits (B, out_channels, *img_size) from the windows, their completed tokens (B, L, C) and what these were
        completed from.
        """
        return self._decode(self.decoder.skip1(x), tokens, encoding)

    def _decode(self, detail: Tensor, tokens: Tensor, encoding: SparseEncoding) -> Tensor:
        token_map = to_map(tokens, self.grid)
        if self.config["detail"] == "kept":
            kept = encoding.decisions[0].to(detail.dtype).reshape(-1, 1, *self.grid)
            detail = detail * F.interpolate(kept, size=detail.shape[2:], mode="nearest")
        cells = None if self.token_head is None else self.token_head(tokens)
        if cells is None or not self.decode_box or self.training:
            return self._logits(detail, token_map, cells)
        box = labelled_box(cells, self.grid)
        if box == Box((0, 0, 0), self.grid):
            return self._logits(detail, token_map, cells)
        detail, token_map, cells = (box.crop(part, self.grid) for part in (detail, token_map, cells))
        return box.paste(self._logits(detail, token_map, cells), self.grid)

    def _logits(self, detail: Tensor, token_map: Tensor, cells: Tensor | None) -> Tensor:
        logits = self.decoder(detail, [token_map] * len(self.decoder.dense_skips), token_map)
        return logits if cells is None else add_doubled(logits, cells)

    def _ratios(self, keep_ratio: float | Sequence[float] | None) -> list[float]:
        return stage_keep_ratios(self.keep_ratio if keep_ratio is None else keep_ratio, len(self.encoder.prune_after))

    def _trace(self, encoding: SparseEncoding) -> TokenTrace:
        last = encoding.positions[-1]
        batch, count = last.shape[0], self.assembly.positions.shape[1] - 1
        stage = torch.full((batch, count + 1), len(encoding.scores) + 1, dtype=torch.uint8, device=last.device)
        scores = []
        for number, (score, scored, pruned) in enumerate(
            zip(encoding.scores, encoding.scored_positions, encoding.positions, strict=False), start=1
        ):
            full = torch.full((batch, count + 1), torch.nan, device=last.device)
            scores.append(full.scatter(1, scored, score.detach().float())[:, 1:])
            stage = stage.scatter(1, pruned, number)
        return TokenTrace(scores, stage[:, 1:].reshape(batch, *self.grid))
