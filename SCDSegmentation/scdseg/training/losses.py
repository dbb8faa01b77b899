"""Losses: for label maps with many classes, for nested regions, and for the token head."""

from __future__ import annotations

import torch
from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional as F

from scdseg.networks.encoder import SparseEncoding


class DiceCrossEntropyLoss(nn.Module):
    """Soft Dice over the labels that a batch holds, plus cross-entropy.

    Equal to MONAI's ``DiceCELoss(softmax=True, to_onehot_y=True, batch=True, include_background=False)`` over the
    labels present, but without the one-hot volumes: at 33 channels those take more time and memory than the decoder's
    last block.

    Args:
        squared: square what the Dice's denominator adds up, as the paper does (MONAI's ``squared_pred``).
    """

    def __init__(self, squared: bool = False) -> None:
        super().__init__()
        self.squared = squared

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, channels, X, Y, Z), target (B, X, Y, Z) int64 → scalar."""
        channels = logits.shape[1]
        log_probabilities = logits.float().log_softmax(dim=1)
        cross_entropy = F.nll_loss(log_probabilities, target)
        probabilities = log_probabilities.exp()
        flat = target.reshape(-1)
        hit = probabilities.gather(1, target.unsqueeze(1)).reshape(-1)
        intersection = torch.zeros(channels, device=hit.device).scatter_add(0, flat, hit)
        predicted = (probabilities.square() if self.squared else probabilities).sum(dim=(0, 2, 3, 4))
        present = torch.bincount(flat, minlength=channels).float()
        dice = (2 * intersection + 1e-5) / (predicted + present + 1e-5)
        labels = torch.nonzero(present[1:]).squeeze(1) + 1
        return cross_entropy + (1 - dice[labels].mean() if len(labels) else 0.0)


class RegionDiceLoss(DiceLoss):
    """MONAI's, in float32 whatever mixed precision hands on, as the sums of a volume need."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Logits and regions (B, K, X, Y, Z) → scalar."""
        return super().forward(input.float(), target)


def segmentation_loss(name: str, squared: bool) -> nn.Module:
    """The loss that a recipe names: ``"dice_ce"`` on channel indices, ``"dice_sigmoid"`` on regions (B, K, X, Y, Z)."""
    if name == "dice_ce":
        return DiceCrossEntropyLoss(squared)
    return RegionDiceLoss(sigmoid=True, squared_pred=squared, smooth_nr=0.0, batch=True)


class TokenLoss(nn.Module):
    """Supervision past the decoder: the token head's logits against the label shares of the cells that they stand for.

    The Kullback-Leibler divergence to the true shares plus soft Dice over the labels present.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Cell logits (B, channels, X / n, Y / n, Z / n), target (B, X, Y, Z) int64 → scalar."""
        channels = logits.shape[1]
        shares = label_shares(target, target.shape[1] // logits.shape[2], channels)
        log_predicted = logits.float().permute(0, 2, 3, 4, 1).reshape(-1, channels).log_softmax(-1)
        divergence = F.kl_div(log_predicted, shares, reduction="batchmean")
        predicted = log_predicted.exp()
        present = shares.sum(0)
        dice = (2 * (predicted * shares).sum(0) + 1e-5) / ((predicted**2).sum(0) + (shares**2).sum(0) + 1e-5)
        labels = torch.nonzero(present[1:]).squeeze(1) + 1
        return divergence + (1 - dice[labels].mean() if len(labels) else 0.0)


@torch.no_grad()
def token_errors(logits: Tensor, target: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """How wrong the token head is about every patch.

    Args:
        logits: of cells, (B, channels, X / n, Y / n, Z / n).
        target: (B, X, Y, Z) int64.
        grid: token grid of the window.

    Returns:
        (B, L): mean cross-entropy of the patch's cells against their label shares.
    """
    channels = logits.shape[1]
    cells = logits.shape[2:]
    shares = label_shares(target, target.shape[1] // cells[0], channels)
    log_predicted = logits.float().permute(0, 2, 3, 4, 1).reshape(-1, channels).log_softmax(-1)
    wrong = -(shares * log_predicted).sum(-1).view(-1, 1, *cells)
    edges = [count // patches for count, patches in zip(cells, grid, strict=True)]
    return F.avg_pool3d(wrong, edges).flatten(1)


def score_loss(encoding: SparseEncoding, errors: Tensor) -> Tensor:
    """A direct signal for the scores, not in the paper: a token is worth keeping where the token head is wrong.

    At every stage, the Kullback-Leibler divergence from the softmax of the scores, which soft top-K draws from, to the
    errors' shares among the tokens that reached the stage. The straight-through gradient alone is weak: every token's
    share of the softmax is about 1 / L, and so is its gradient.

    Args:
        encoding: of the windows, with scores that have a gradient.
        errors: (B, L) from :func:`token_errors`.
    """
    stages = []
    for scores, positions in zip(encoding.scores, encoding.scored_positions, strict=True):
        reached = errors.gather(1, positions - 1) + 1e-6
        shares = reached / reached.sum(1, keepdim=True)
        stages.append(F.kl_div(scores.float().log_softmax(-1), shares, reduction="batchmean"))
    return torch.stack(stages).mean()


def label_shares(target: Tensor, cell: int, channels: int) -> Tensor:
    """Share of every channel in every cell of ``cell`` voxels: target (B, X, Y, Z) → (cells, channels), row-major."""
    batch, x, y, z = (n // (cell if axis else 1) for axis, n in enumerate(target.shape))
    cells = target.view(batch, x, cell, y, cell, z, cell).permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, cell**3)
    index = cells + channels * torch.arange(cells.shape[0], device=target.device).unsqueeze(1)
    counts = torch.bincount(index.reshape(-1), minlength=cells.shape[0] * channels)
    return counts.view(-1, channels).float() / cell**3
