"""Losses against MONAI's and against brute force."""

from __future__ import annotations

import math

import pytest
import torch
from monai.losses import DiceCELoss, DiceLoss
from torch.nn import functional as F

from scdseg.networks.encoder import SparseEncoding
from scdseg.networks.token_head import TokenHead
from scdseg.training.losses import DiceCrossEntropyLoss, TokenLoss, label_shares, score_loss, token_errors


def random_labels(*shape: int, channels: int = 4) -> torch.Tensor:
    return torch.randint(channels, shape, generator=torch.Generator().manual_seed(0))


def random_logits(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_with_all_labels_present_the_loss_is_monais() -> None:
    logits, target = random_logits(2, 4, 8, 6, 4).requires_grad_(), random_labels(2, 8, 6, 4)
    monai = DiceCELoss(softmax=True, to_onehot_y=True, batch=True, include_background=False)
    ours, theirs = DiceCrossEntropyLoss()(logits, target), monai(logits, target.unsqueeze(1))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits))


def test_labels_that_the_batch_lacks_are_left_out_of_dice() -> None:
    logits, target = random_logits(2, 6, 8, 6, 4), random_labels(2, 8, 6, 4)  # no labels 4 and 5
    dice = DiceLoss(softmax=True, to_onehot_y=True, batch=True, include_background=False, reduction="none")
    expected = dice(logits, target.unsqueeze(1)).flatten()[:3].mean() + F.cross_entropy(logits, target)
    torch.testing.assert_close(DiceCrossEntropyLoss()(logits, target), expected)


def test_a_batch_of_background_has_cross_entropy_alone() -> None:
    logits, target = random_logits(1, 4, 8, 8, 8), torch.zeros(1, 8, 8, 8, dtype=torch.int64)
    torch.testing.assert_close(DiceCrossEntropyLoss()(logits, target), F.cross_entropy(logits, target))


def test_half_precision_logits_are_summed_in_single_precision() -> None:
    logits, target = random_logits(1, 4, 16, 16, 16), random_labels(1, 16, 16, 16)
    loss = DiceCrossEntropyLoss()(logits.bfloat16(), target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, DiceCrossEntropyLoss()(logits, target), rtol=2e-3, atol=0)


def test_label_shares_are_counts_in_cells() -> None:
    target, cell, channels = random_labels(2, 4, 6, 8), 2, 5
    expected = []
    for scan in target:
        for x in range(0, 4, cell):
            for y in range(0, 6, cell):
                for z in range(0, 8, cell):
                    block = scan[x : x + cell, y : y + cell, z : z + cell]
                    expected.append([float((block == c).sum()) / cell**3 for c in range(channels)])
    torch.testing.assert_close(label_shares(target, cell, channels), torch.tensor(expected))


def perfect_tokens(target: torch.Tensor, patch: int, channels: int) -> torch.Tensor:
    """(B, L, C) tokens that are themselves the log shares of each of their patch's 2-voxel cells."""
    patches = target.unfold(1, patch, patch).unfold(2, patch, patch).unfold(3, patch, patch)
    tokens = patches.flatten(1, 3)  # (B, L, patch, patch, patch)
    shares = [label_shares(token[None], 2, channels).flatten() for scan in tokens for token in scan]
    return torch.stack(shares).clamp(min=1e-8).log().unflatten(0, tokens.shape[:2])


@pytest.mark.parametrize("patch", [4, 8])
def test_perfect_tokens_have_no_loss_and_only_in_their_places(patch: int) -> None:
    channels, target = 4, random_labels(2, 16, 8, 24)
    grid = (16 // patch, 8 // patch, 24 // patch)
    tokens = perfect_tokens(target, patch, channels)
    head = TokenHead(tokens.shape[-1], channels, grid, patch).requires_grad_(False)
    head.linear.weight.copy_(torch.eye(tokens.shape[-1]))
    head.linear.bias.zero_()

    def loss(tokens: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return TokenLoss()(head(tokens), target)

    assert loss(tokens, target) == pytest.approx(0, abs=1e-4)
    assert loss(tokens.flip(1), target) > 0.5
    assert loss(tokens, target.roll(2, 1)) > 0.5
    assert loss(torch.zeros_like(tokens), target) > 0.1


def test_tokens_of_pure_background_can_be_learnt() -> None:
    target = torch.zeros(1, 8, 8, 8, dtype=torch.int64)
    logits = random_logits(1, 3, 4, 4, 4)
    shares = label_shares(target, 2, 3)
    expected = F.kl_div(logits[0].flatten(1).T.log_softmax(-1), shares, reduction="batchmean")
    torch.testing.assert_close(TokenLoss()(logits, target), expected)


def test_the_scores_learn_where_the_token_head_is_wrong() -> None:
    """Two patches of one label each; the token head is right about the first and undecided about the second."""
    target = torch.zeros(1, 8, 8, 16, dtype=torch.int64)
    target[..., 8:] = 1
    cells = torch.zeros(1, 2, 4, 4, 8)
    cells[:, 0, :, :, :4] = 20.0
    errors = token_errors(cells, target, (1, 1, 2))
    torch.testing.assert_close(errors, torch.tensor([[0.0, math.log(2)]]), atol=1e-5, rtol=0)
    scores = torch.zeros(1, 2, requires_grad=True)
    positions = torch.tensor([[1, 2]])
    encoding = SparseEncoding([], [], [scores], [positions], [])
    loss = score_loss(encoding, errors)
    loss.backward()
    assert scores.grad is not None
    assert float(scores.grad[0, 0]) > 0 > float(scores.grad[0, 1])  # the second is to be kept rather
    assert loss.item() == pytest.approx(math.log(2), abs=1e-3)  # of all error on one of two tokens scored alike
    agreed = SparseEncoding([], [], [(errors + 1e-6).log()], [positions], [])
    assert score_loss(agreed, errors).item() == pytest.approx(0.0, abs=1e-5)
