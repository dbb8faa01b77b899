"""The Lightning module: one training step at a random keep ratio, validation by sliding window."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from monai.inferers import sliding_window_inference
from torch import Tensor

from scdseg.networks import SCDUNETR, UNETR
from scdseg.networks.pruning import LEARNED_PRUNINGS
from scdseg.training.build import build_network
from scdseg.training.devices import Devices
from scdseg.training.objective import Objective
from scdseg.training.optimiser import ClipsGradients, decayed_weights, optimiser_and_schedule
from scdseg.training.recipe import Recipe
from scdseg.training.seeds import seed_of

# A ladder instead of a continuum: every new token count costs the matrix libraries a set-up.
KEEP_RATIOS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1)

_ONE = Devices()


class SegmentationModule(ClipsGradients):
    """Trains a recipe's network on (image, target) pairs.

    All that a step draws at random depends on the recipe's seed, the step and the device's rank, so that a resumed run
    does what one that never stopped does.

    Args:
        recipe: what to train.
        names: of the labels in the order of their channels.
        channels: channels of the logits.
        devices: what trains together.

    Raises:
        ValueError: for arguments of the network that do not fit together, or a token head that cannot be trained.
    """

    overlap: Tensor

    def __init__(self, recipe: Recipe, names: Sequence[str], channels: int, devices: Devices = _ONE) -> None:
        super().__init__()
        settings = recipe.optimisation
        self.network: SCDUNETR | UNETR = build_network(recipe.network, channels)
        if settings.token_steps and self.network.token_head is None:
            raise ValueError("token_steps train the token head alone; the network needs token_head: true")
        if settings.score_loss and isinstance(self.network, SCDUNETR):
            if self.network.token_head is None or not self.network.config["prune_after"]:
                raise ValueError("score_loss teaches scores by the token head: set token_head: true and prune_after")
            if self.network.config["pruning"] not in LEARNED_PRUNINGS:
                raise ValueError(
                    f"score_loss has no scores to teach with pruning {self.network.config['pruning']}: set 0"
                )
        if self.network.token_head is not None and settings.activation == "sigmoid":
            raise ValueError("the token head learns exclusive labels (loss dice_ce); set token_head: false")
        self.recipe = recipe
        self.decayed = decayed_weights(self.network)
        self.devices = devices
        self.optimisation = settings
        self.validation = recipe.validation
        self.names = list(names)
        self.objective = Objective(settings)
        self.register_buffer("overlap", torch.zeros(3, len(names), dtype=torch.int64), persistent=False)

    def keep_ratio(self, step: int) -> float:
        """Keep ratio of a step, drawn from a ladder whose lower end comes into reach with the curriculum."""
        low, high = self.optimisation.keep_ratio
        grown = min(1.0, step / self.optimisation.curriculum_steps) if self.optimisation.curriculum_steps else 1.0
        reach = high * (low / high) ** grown
        ladder = [ratio for ratio in KEEP_RATIOS if reach <= ratio <= high] or [high]
        return ladder[seed_of(self.recipe.seed, step) % len(ladder)]

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        image, target = batch
        part = index % self.optimisation.accumulate
        torch.manual_seed(seed_of(self.recipe.seed, self.global_step, part, self.global_rank))
        tokens_only = self.global_step < self.optimisation.token_steps
        loss = self.objective(self.network, image, target, self.keep_ratio(self.global_step), tokens_only)
        for name, value in (("loss", loss.logits), ("token_loss", loss.tokens), ("score_loss", loss.scores)):
            if value is not None:
                self.log(f"train/{name}", value.detach(), prog_bar=name == "loss", sync_dist=self.devices.count > 1)
        return loss.total

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        image, target = batch
        dense = isinstance(self.network, UNETR)
        predict = self.network if dense else partial(self.network, keep_ratio=self.validation.keep_ratio)
        logits = sliding_window_inference(
            image, self.network.img_size, 1, predict, overlap=self.validation.overlap, mode="gaussian"
        )
        assert isinstance(logits, Tensor)
        self.overlap += overlap_counts(logits, target, self.optimisation.activation).to(self.overlap)

    def on_validation_epoch_end(self) -> None:
        hit, predicted, present = self.overlap
        dice = 2 * hit / (predicted + present)
        for name, value in zip(self.names, dice.tolist(), strict=True):
            self.log(f"dice/{name}", value)
        self.log("val/dice", dice.nanmean().float(), prog_bar=True)
        self.log("val/steps", float(self.global_step))  # Lightning's own count is one off in a prolonged run
        self.overlap.zero_()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        return optimiser_and_schedule(self.network, self.optimisation, self.devices, self.decayed)


def overlap_counts(logits: Tensor, target: Tensor, activation: str) -> Tensor:
    """Voxels in common, predicted and present (3, labels) of one batch: logits (B, K, X, Y, Z) against the target."""
    if activation == "sigmoid":
        predicted, present = logits > 0, target > 0.5
        return torch.stack([mask.sum(dim=(0, 2, 3, 4)) for mask in (predicted & present, predicted, present)])
    channels = logits.shape[1]
    classes = logits.argmax(dim=1)
    counts = [torch.bincount(x.reshape(-1), minlength=channels) for x in (target[classes == target], classes, target)]
    return torch.stack(counts)[:, 1:]
