"""Sparse encoding: a vision transformer that drops tokens on the way (section 3.1 of the paper)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from scdseg.networks.patch_embedding import PatchEmbedding
from scdseg.networks.pruning import TOKEN_CHOICES, InvertedPruning, build_pruning
from scdseg.networks.transformer import transformer_blocks
from scdseg.window_cost import keep_counts


class SparseEncoding(NamedTuple):
    """Token groups in the order of pruning: group g < S pruned at stage g + 1, the last kept, with CLS first."""

    groups: list[Tensor]  # each (B, n_g, C)
    positions: list[Tensor]  # each (B, n_g) int64 in 0…L, where 0 is CLS
    scores: list[Tensor]  # per stage (B, N_s) log-scores of the tokens that reached it
    scored_positions: list[Tensor]  # per stage (B, N_s) int64, their positions
    decisions: list[Tensor]  # per stage (B, N_s) 1 for kept and 0 for pruned tokens; see PrunedTokens


class EmbeddedTokens(NamedTuple):
    """Tokens as they reach the first pruning stage, and how much CLS looked at them."""

    tokens: Tensor  # (B, L + 1, C), CLS first
    log_attention: Tensor | None  # (B, L) of CLS to the patches in the last block; None if pruning does not read it


class SparseEncoder(nn.Module):
    """ViT whose blocks are interrupted by pruning stages.

    Args:
        embedding: the patch embedding, giving (B, L + 1, C).
        hidden_size: token width C.
        mlp_dim: hidden width of the blocks' MLPs.
        num_layers: transformer blocks.
        num_heads: attention heads.
        prune_after: numbers of the blocks behind which a stage prunes; 0: before the first.
        drop_path_rate: stochastic depth of the last block; earlier ones get proportionally less.
        pruning: how tokens are chosen, one of ``scdseg.networks.pruning.PRUNINGS``.
        pruned_are_read: whether pruned tokens are used later; if not, they pass no LayerNorm.
    """

    def __init__(
        self,
        embedding: PatchEmbedding,
        hidden_size: int,
        mlp_dim: int,
        num_layers: int,
        num_heads: int,
        prune_after: Sequence[int],
        drop_path_rate: float = 0.0,
        pruning: str = "stp",
        pruned_are_read: bool = True,
    ) -> None:
        super().__init__()
        self.prune_after = tuple(prune_after)
        self._first_stage = self.prune_after[0] if self.prune_after else num_layers
        self._trained_with = pruning
        self._count = math.prod(embedding.grid)
        self.embedding = embedding
        self.blocks = transformer_blocks(num_layers, hidden_size, num_heads, mlp_dim, drop_path_rate)
        self.pruning = nn.ModuleList(
            build_pruning(pruning, hidden_size, self._count, stage) for stage, _ in enumerate(self.prune_after, start=1)
        )
        self.pruned_norms = nn.ModuleList(
            nn.LayerNorm(hidden_size, eps=1e-6) if pruned_are_read else nn.Identity() for _ in self.prune_after
        )
        self.norm = nn.LayerNorm(hidden_size, eps=1e-6)
        self.choose_by("learned")

    def choose_by(self, choice: str) -> None:
        """Choose tokens in another way from now on, in a network that is not trained any more.

        Args:
            choice: ``"learned"`` (what the network was trained with), or for comparison ``"random"``, ``"inverted"``
                (the tokens scored lowest) or ``"cls_attention"``.

        Raises:
            ValueError: for another name, or CLS attention before the first block.
        """
        if choice not in TOKEN_CHOICES:
            raise ValueError(f"tokens can be chosen by {', '.join(TOKEN_CHOICES)}, not {choice!r}")
        if choice == "cls_attention" and self._first_stage == 0:
            raise ValueError("before the first block CLS has attended to nothing yet: cls_attention cannot prune there")
        self._stages = [self._chosen_by(choice, stage) for stage in range(len(self.prune_after))]
        self._read_attention = frozenset(self.prune_after if "cls_attention" in (choice, self._trained_with) else ())

    def _chosen_by(self, choice: str, stage: int) -> nn.Module:
        """How stage ``stage`` (from 0) chooses; what was not trained is no part of the network's weights."""
        trained = self.pruning[stage]
        if choice == "learned":
            return trained
        if choice == "inverted":
            return InvertedPruning(trained).eval()
        return build_pruning(choice, self.norm.normalized_shape[0], self._count, stage + 1).eval()

    def forward(self, image: Tensor, keep_ratios: Sequence[float]) -> SparseEncoding:
        """Encode (B, in_channels, *img_size) keeping ``keep_ratios[s]`` of the tokens at stage s."""
        return self.prune(self.embed(image), keep_ratios)

    def embed(self, image: Tensor) -> EmbeddedTokens:
        """Tokens as they reach the first stage: so far the keep ratio does not matter."""
        embedded = EmbeddedTokens(self.embedding(image), None)
        for number in range(1, self._first_stage + 1):
            embedded = self._run_block(number, embedded.tokens)
        return embedded

    def prune(self, embedded: EmbeddedTokens, keep_ratios: Sequence[float]) -> SparseEncoding:
        """Encode the tokens of :meth:`embed` further, keeping ``keep_ratios[s]`` of them at stage s."""
        x, log_attention = embedded
        batch, count = x.shape[0], x.shape[1] - 1
        position = torch.arange(1, count + 1, device=x.device).expand(batch, -1)
        encoding = SparseEncoding([], [], [], [], [])
        counts = keep_counts(count, keep_ratios)
        policy = None
        for number in range(self._first_stage, len(self.blocks) + 1):
            if number > self._first_stage:
                x, log_attention = self._run_block(number, x)
            if number in self.prune_after:
                stage = self.prune_after.index(number)
                split = self._stages[stage](x[:, 1:], counts[stage], policy, log_attention)
                policy = split.policy
                encoding.scores.append(split.scores)
                encoding.scored_positions.append(position)
                encoding.decisions.append(split.decision)
                encoding.groups.append(self.pruned_norms[stage](split.pruned))
                encoding.positions.append(position.gather(1, split.pruned_index))
                position = position.gather(1, split.kept_index)
                x = torch.cat((x[:, :1], split.kept.to(x.dtype)), dim=1)
        encoding.groups.append(self.norm(x))
        encoding.positions.append(torch.cat((position.new_zeros(batch, 1), position), dim=1))
        return encoding

    def _run_block(self, number: int, x: Tensor) -> EmbeddedTokens:
        block = self.blocks[number - 1]
        if number in self._read_attention:
            return EmbeddedTokens(*block(x, cls_attention=True))
        return EmbeddedTokens(block(x), None)
