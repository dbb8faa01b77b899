"""Losses for label maps with many classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DiceCrossEntropyLoss(nn.Module):
    """Soft Dice over the labels that a batch holds, plus cross-entropy.

    Equal to MONAI's ``DiceCELoss(softmax=True, to_onehot_y=True, batch=True, include_background=False)`` over the
    labels present, but without the one-hot volumes: at 33 channels those take more time and memory than the decoder's
    last block.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, channels, X, Y, Z), target (B, X, Y, Z) int64 → scalar."""
        channels = logits.shape[1]
        log_probabilities = logits.float().log_softmax(dim=1)
        cross_entropy = F.nll_loss(log_probabilities, target)
        probabilities = log_probabilities.exp()
        flat = target.reshape(-1)
        hit = probabilities.gather(1, target.unsqueeze(1)).reshape(-1)
        intersection = torch.zeros(channels, device=hit.device).scatter_add(0, flat, hit)
        predicted = probabilities.sum(dim=(0, 2, 3, 4))
        present = torch.bincount(flat, minlength=channels).float()
        dice = (2 * intersection + 1e-5) / (predicted + present + 1e-5)
        labels = torch.nonzero(present[1:]).squeeze(1) + 1
        return cross_entropy + (1 - dice[labels].mean() if len(labels) else 0.0)


def patch_label_fractions(target: Tensor, patch_size: int, channels: int) -> Tensor:
    """Share of every channel in every patch: target (B, X, Y, Z) int64 → (B, L, channels), patches row-major."""
    batch = target.shape[0]
    grid = [n // patch_size for n in target.shape[1:]]
    patches = target.view(batch, grid[0], patch_size, grid[1], patch_size, grid[2], patch_size)
    patches = patches.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, patch_size**3)
    index = patches + channels * torch.arange(patches.shape[0], device=target.device).unsqueeze(1)
    counts = torch.bincount(index.reshape(-1), minlength=patches.shape[0] * channels)
    return counts.view(batch, -1, channels).float() / patch_size**3
