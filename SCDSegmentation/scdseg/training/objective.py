"""What a training step makes smaller."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from scdseg.networks import SCDUNETR, UNETR
from scdseg.training.losses import TokenLoss, segmentation_loss
from scdseg.training.settings import OptimisationSettings


class StepLoss(NamedTuple):
    """Scalars of one step: ``total`` is minimised; a part is None where it was not computed."""

    total: Tensor
    logits: Tensor | None
    tokens: Tensor | None


class Objective(nn.Module):
    """The loss of the logits, and of the token head where a network has one.

    Args:
        settings: the recipe's; ``token_loss`` weighs the token head's own loss.
    """

    def __init__(self, settings: OptimisationSettings) -> None:
        super().__init__()
        self.weight = settings.token_loss
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
        states: list[Tensor] = []
        if isinstance(network, UNETR):
            states = network.hidden_states(image)
            tokens = states[-1]
        else:
            tokens = network.complete(network.encode(image, keep_ratio))
        of_tokens = None if network.token_head is None else self.tokens(network.token_head(tokens), target)
        if tokens_only and of_tokens is not None:
            return StepLoss(of_tokens, None, of_tokens)
        logits = network.decode(image, states) if isinstance(network, UNETR) else network.decode(image, tokens)
        of_logits = self.logits(logits, target)
        total = of_logits if of_tokens is None else of_logits + self.weight * of_tokens
        return StepLoss(total, of_logits, of_tokens)
