"""What a training step makes smaller."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from scdseg.networks import SCDUNETR, UNETR
from scdseg.training.losses import TokenLoss, score_loss, segmentation_loss, token_errors
from scdseg.training.settings import OptimisationSettings


class StepLoss(NamedTuple):
    """Scalars of one step: ``total`` is minimised; a part is None where it was not computed."""

    total: Tensor
    logits: Tensor | None
    tokens: Tensor | None
    scores: Tensor | None


class Objective(nn.Module):
    """The loss of the logits, of the token head where a network has one, and of the scores where a recipe asks for it.

    Args:
        settings: the recipe's; ``token_loss`` and ``score_loss`` weigh the losses of token head and scores.
    """

    def __init__(self, settings: OptimisationSettings) -> None:
        super().__init__()
        self.weight = settings.token_loss
        self.score_weight = settings.score_loss
        self.logits = segmentation_loss(settings.loss, settings.squared_dice)
        self.tokens = TokenLoss()

    def forward(
        self,
        network: SCDUNETR | UNETR,
        image: Tensor,
        target: Tensor,
        keep_ratio: float | None = None,
        tokens_only: bool = False,
    ) -> StepLoss:
        """Loss of windows (B, C, X, Y, Z) with their targets; ``tokens_only`` spares the decoder."""
        if isinstance(network, UNETR):
            states = network.hidden_states(image)
            tokens, encoding = states[-1], None
            decode: Callable[[], Tensor] = partial(network.decode, image, states)
        else:
            encoding = network.encode(image, keep_ratio)
            tokens = network.complete(encoding)
            decode = partial(network.decode, image, tokens, encoding)
        cells = None if network.token_head is None else network.token_head(tokens)
        of_tokens = None if cells is None else self.tokens(cells, target)
        of_scores = None
        extra = torch.zeros((), device=image.device)
        if self.score_weight and encoding is not None and cells is not None:
            of_scores = score_loss(encoding, token_errors(cells, target, network.grid))
            extra = self.score_weight * of_scores
        if tokens_only and of_tokens is not None:
            return StepLoss(of_tokens + extra, None, of_tokens, of_scores)
        of_logits = self.logits(decode(), target)
        if of_tokens is not None:
            extra = extra + self.weight * of_tokens
        return StepLoss(of_logits + extra, of_logits, of_tokens, of_scores)
