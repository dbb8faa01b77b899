"""Token pruning: soft-topK (STP), section 3.1 of the paper, and the simpler ways that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PRUNINGS = ("stp", "stp_no_noise", "cls_attention", "random")
LEARNED_PRUNINGS = ("stp", "stp_no_noise")
TOKEN_CHOICES = ("learned", "random", "inverted", "cls_attention")


class ScorePredictor(nn.Module):
    """Log-score of every patch token from its own content and the mean content of all of them.

    Args:
        width: token width C, a multiple of 4.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input_mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
        self.output_mlp = nn.Sequential(
            nn.Linear(width, width // 2),
            nn.GELU(),
            nn.Linear(width // 2, width // 4),
            nn.GELU(),
            nn.Linear(width // 4, 1),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) → (B, N) log-scores in (−∞, 0]."""
        # Scores decide through their order alone; in half precision, which autocast hands on, many would tie.
        with torch.autocast(tokens.device.type, enabled=False):
            features = self.input_mlp(tokens.to(next(self.parameters()).dtype))
            local, context = features.chunk(2, dim=-1)
            context = context.mean(dim=1, keepdim=True).expand_as(local)
            return F.logsigmoid(self.output_mlp(torch.cat((local, context), dim=-1)).squeeze(-1))


class PrunedTokens(NamedTuple):
    """What one pruning stage did. Indices count the patch tokens that reached the stage; both lists ascend."""

    kept: Tensor  # (B, K, C)
    pruned: Tensor  # (B, N - K, C)
    kept_index: Tensor  # (B, K) int64
    pruned_index: Tensor  # (B, N - K) int64
    scores: Tensor  # (B, N) log-scores
    policy: Tensor | None  # (B, K, 1) product of the policies so far of the kept tokens; None outside training
    decision: Tensor  # (B, N) 1 for kept and 0 for pruned tokens; in training with the gradient of the soft top-K


class SoftTopKPruning(nn.Module):
    """Keep the K best-scored tokens; in training, let gradients reach the scores by a straight-through soft top-K.

    Training adds Gumbel noise to the scores, takes the hard top K of their softmax and multiplies kept tokens by
    ``policy`` and pruned ones by ``1 − policy`` with ``policy = hard + soft − stop_gradient(soft)``: factors of one
    that carry gradient. The policies of earlier stages multiply a token that is kept again, so a stage also learns from
    what its survivors did later.

    Args:
        width: token width C.
        temperature: τ of the softmax.
        gumbel_noise: perturb the scores in training; off gives the deterministic variant that the paper compares with.
    """

    def __init__(self, width: int, temperature: float = 1.0, gumbel_noise: bool = True) -> None:
        super().__init__()
        self.predictor = ScorePredictor(width)
        self.temperature = temperature
        self.gumbel_noise = gumbel_noise

    def forward(
        self, tokens: Tensor, keep_count: int, policy: Tensor | None = None, log_attention: Tensor | None = None
    ) -> PrunedTokens:
        """Split (B, N, C) patch tokens into the ``keep_count`` best and the rest.

        ``policy`` (B, N, 1) is what the stage before returned for these tokens; ``log_attention`` is not looked at.
        """
        scores = self.predictor(tokens)
        if not self.training:
            return _hard_split(tokens, scores, keep_count)
        noisy = scores - torch.empty_like(scores).exponential_().log() if self.gumbel_noise else scores
        soft = (noisy / self.temperature).softmax(dim=-1)
        kept_index, pruned_index = _split(soft.detach(), keep_count)
        hard = torch.zeros_like(soft).scatter(1, kept_index, 1.0)
        decision = (hard + soft - soft.detach()).unsqueeze(-1)
        policy = decision if policy is None else decision * policy
        kept = _take(tokens * policy.to(tokens.dtype), kept_index)
        pruned = _take(tokens * (1 - decision).to(tokens.dtype), pruned_index)
        return PrunedTokens(
            kept, pruned, kept_index, pruned_index, scores, _take(policy, kept_index), decision.squeeze(-1)
        )


class ClsAttentionPruning(nn.Module):
    """Keep the K tokens that CLS attended to most in the block before, as EViT does (Liang et al., *Not all patches are
    what you need*, 2022). Nothing is learned, and no gradient reaches the scores.
    """

    def forward(
        self, tokens: Tensor, keep_count: int, policy: Tensor | None = None, log_attention: Tensor | None = None
    ) -> PrunedTokens:
        """Split (B, N, C) patch tokens by ``log_attention`` (B, N); ``policy`` is not looked at."""
        if log_attention is None:
            raise ValueError("pruning by CLS attention needs the attention of the block before the stage")
        return _hard_split(tokens, log_attention, keep_count)


class RandomPruning(nn.Module):
    """Keep K tokens drawn uniformly.

    Training draws anew for every window and call. Inference draws once and for all, the same for every window whatever
    the batch, so that results repeat. Scores are logarithms of uniform numbers, in (−∞, 0] as those of a predictor are.

    Args:
        count: most tokens that can reach the stage.
        stage: number of the stage; each has its own order of tokens.
    """

    log_uniform: Tensor

    def __init__(self, count: int, stage: int) -> None:
        super().__init__()
        drawn = torch.empty(1, count, device="cpu").exponential_(generator=torch.Generator().manual_seed(stage))
        self.register_buffer("log_uniform", -drawn, persistent=False)

    def forward(
        self, tokens: Tensor, keep_count: int, policy: Tensor | None = None, log_attention: Tensor | None = None
    ) -> PrunedTokens:
        """Split (B, N, C) patch tokens at random; ``policy`` and ``log_attention`` are not looked at."""
        batch, count = tokens.shape[:2]
        if self.training:
            scores = -torch.empty(batch, count, device=tokens.device).exponential_()
        else:
            scores = self.log_uniform[:, :count].to(tokens.device).expand(batch, -1)
        return _hard_split(tokens, scores, keep_count)


class InvertedPruning(nn.Module):
    """Keep the K tokens that another way scores lowest: the counter-proof of its scores.

    Args:
        other: the way whose scores are turned round.
    """

    def __init__(self, other: nn.Module) -> None:
        super().__init__()
        self.other = other

    def forward(
        self, tokens: Tensor, keep_count: int, policy: Tensor | None = None, log_attention: Tensor | None = None
    ) -> PrunedTokens:
        """Split (B, N, C) patch tokens against the scores of the other way, which is asked without gradient."""
        with torch.no_grad():
            scores = self.other(tokens, keep_count, policy, log_attention).scores
        return _hard_split(tokens, -scores, keep_count)


def build_pruning(pruning: str, width: int, count: int, stage: int) -> nn.Module:
    """A pruning stage.

    Args:
        pruning: one of ``PRUNINGS``.
        width: token width C.
        count: patch tokens L of a window.
        stage: number of the stage.
    """
    if pruning == "cls_attention":
        return ClsAttentionPruning()
    if pruning == "random":
        return RandomPruning(count, stage)
    return SoftTopKPruning(width, gumbel_noise=pruning == "stp")


def stage_keep_ratios(keep_ratio: float | Sequence[float], stages: int) -> list[float]:
    """One keep ratio in (0, 1] for each stage, from one for all or a sequence.

    Raises:
        ValueError: for a ratio outside (0, 1] or a sequence of another length.
    """
    ratios = [float(r) for r in keep_ratio] if isinstance(keep_ratio, Sequence) else [float(keep_ratio)] * stages
    if len(ratios) != stages:
        raise ValueError(f"{len(ratios)} keep ratios were given for {stages} pruning stages")
    for ratio in ratios:
        if not 0 < ratio <= 1:
            raise ValueError(f"a keep ratio must be above 0 and at most 1, not {ratio:g}")
    return ratios


def _hard_split(tokens: Tensor, scores: Tensor, keep_count: int) -> PrunedTokens:
    kept_index, pruned_index = _split(scores, keep_count)
    kept, pruned = _take(tokens, kept_index), _take(tokens, pruned_index)
    decision = torch.zeros_like(scores).scatter(1, kept_index, 1.0)
    return PrunedTokens(kept, pruned, kept_index, pruned_index, scores, None, decision)


def _split(scores: Tensor, keep_count: int) -> tuple[Tensor, Tensor]:
    order = scores.argsort(dim=-1, descending=True, stable=True)
    return order[:, :keep_count].sort(dim=-1).values, order[:, keep_count:].sort(dim=-1).values


def _take(tokens: Tensor, index: Tensor) -> Tensor:
    return tokens.gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
