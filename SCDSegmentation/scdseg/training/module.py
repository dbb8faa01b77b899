"""The Lightning module: one training step at a random keep ratio, validation by sliding window."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from monai.inferers import sliding_window_inference
from torch import Tensor

from scdseg.networks import SCDUNETR
from scdseg.training.losses import DiceCrossEntropyLoss, TokenLoss
from scdseg.training.recipe import OptimisationSettings, ValidationSettings

# A ladder instead of a continuum: every new token count costs the matrix libraries a set-up.
KEEP_RATIOS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1)


class SegmentationModule(pl.LightningModule):
    """Trains SCD-UNETR on (image, channel index) pairs.

    Args:
        network: arguments of ``SCDUNETR``.
        optimisation: the recipe's settings.
        validation: the recipe's settings.
        label_names: names of channels 1, 2, …
    """

    overlap: Tensor

    def __init__(
        self,
        network: dict[str, Any],
        optimisation: OptimisationSettings,
        validation: ValidationSettings,
        label_names: list[str],
    ) -> None:
        super().__init__()
        self.network = SCDUNETR(**network)
        if optimisation.token_steps and self.network.token_head is None:
            raise ValueError("token_steps train the token head alone; the network needs token_head: true")
        self.optimisation = optimisation
        self.validation = validation
        self.label_names = label_names
        self.loss = DiceCrossEntropyLoss()
        self.token_loss = TokenLoss()
        self.register_buffer("overlap", torch.zeros(3, len(label_names)), persistent=False)

    def keep_ratio(self, step: int) -> float:
        """Keep ratio of a step, drawn from a ladder whose lower end comes into reach with the curriculum."""
        low, high = self.optimisation.keep_ratio
        grown = min(1.0, step / self.optimisation.curriculum_steps) if self.optimisation.curriculum_steps else 1.0
        reach = high * (low / high) ** grown
        ladder = [ratio for ratio in KEEP_RATIOS if reach <= ratio <= high] or [high]
        return ladder[int(torch.randint(len(ladder), (1,), generator=torch.Generator().manual_seed(step)))]

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        image, target = batch
        tokens = self.network.complete(self.network.encode(image, self.keep_ratio(self.global_step)))
        token_loss = image.new_zeros(())
        if self.network.token_head is not None:
            token_loss = self.token_loss(self.network.token_head(tokens), target)
            self.log("train/token_loss", token_loss.detach())
        if self.global_step < self.optimisation.token_steps:
            return token_loss
        loss = self.loss(self.network.decode(image, tokens), target)
        self.log("train/loss", loss.detach())
        return loss + self.optimisation.token_loss * token_loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        image, target = batch
        logits = sliding_window_inference(
            image,
            self.network.img_size,
            1,
            lambda window: self.network(window, self.validation.keep_ratio),
            overlap=self.validation.overlap,
            mode="gaussian",
        )
        predicted = logits.argmax(dim=1)
        channels = len(self.label_names) + 1
        both = torch.bincount(target[predicted == target], minlength=channels)
        counts = torch.stack(
            (
                both,
                torch.bincount(predicted.reshape(-1), minlength=channels),
                torch.bincount(target.reshape(-1), minlength=channels),
            )
        )
        self.overlap += counts[:, 1:].to(self.overlap)

    def on_validation_epoch_end(self) -> None:
        hit, predicted, present = self.overlap
        dice = 2 * hit / (predicted + present)
        for name, value in zip(self.label_names, dice.tolist(), strict=True):
            self.log(f"dice/{name}", value)
        self.log("val/dice", dice.nanmean(), prog_bar=True)
        self.overlap.zero_()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        s = self.optimisation
        decayed = [p for p in self.parameters() if p.ndim > 1]
        others = [p for p in self.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": s.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW(groups, lr=s.learning_rate, betas=(0.9, 0.95))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self._rate)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, step: int) -> float:
        """Warm-up, constant, linear cool-down: the constant part lets a run be prolonged after the fact."""
        s = self.optimisation
        warm = min(1.0, (step + 1) / max(1, s.warmup_steps))
        remaining = max(0, s.steps - step) / max(1.0, s.cooldown * s.steps)
        return warm * min(1.0, remaining)
