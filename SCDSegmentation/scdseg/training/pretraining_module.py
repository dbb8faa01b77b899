"""The Lightning module of pre-training: a masked autoencoder on images without labels."""

from __future__ import annotations

import inspect
from dataclasses import replace

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from scdseg.networks.masked_autoencoder import MaskedAutoencoder
from scdseg.training.build import build_network
from scdseg.training.devices import Devices
from scdseg.training.optimiser import ClipsGradients, decayed_weights, optimiser_and_schedule
from scdseg.training.recipe import Recipe
from scdseg.training.seeds import seed_of

_ONE = Devices()


class PretrainingModule(ClipsGradients):
    """Trains a masked autoencoder on images; targets that come with them are not looked at.

    Args:
        recipe: what to train; its network's ViT is what is learnt.
        devices: what trains together.

    Raises:
        ValueError: for arguments of the network that do not fit together.
    """

    def __init__(self, recipe: Recipe, devices: Devices = _ONE) -> None:
        super().__init__()
        settings = recipe.pretraining
        with torch.device("meta"):
            whole = build_network(recipe.network, channels=1).config
        known = inspect.signature(MaskedAutoencoder).parameters
        self.network = MaskedAutoencoder(
            **{key: value for key, value in whole.items() if key in known},
            mask_ratio=settings.mask_ratio,
            decoder_width=settings.decoder_width,
            decoder_layers=settings.decoder_layers,
        )
        self.seed = recipe.seed
        self.devices = devices
        self.recipe = as_optimisation(recipe)
        self.decayed = decayed_weights(self.network)

    def orders(self, step: int, rank: int, batch: int) -> Tensor:
        """Random orders of the patches (batch, L) of a step's windows; those of the first ones are seen.

        Window number n of the run has its own, so that several devices mask what one with a larger batch would, and a
        resumed run what one that never stopped would.
        """
        first = (step * self.devices.count + rank) * batch
        generators = (torch.Generator().manual_seed(seed_of(self.seed, first + n)) for n in range(batch))
        return torch.stack([torch.randperm(self.network.patches, generator=generator) for generator in generators])

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        image = batch[0]
        order = self.orders(self.global_step, self.global_rank, image.shape[0]).to(image.device)
        loss = self.network.loss(image, order)
        self.log("train/loss", loss.detach(), prog_bar=True, sync_dist=self.devices.count > 1)
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        return optimiser_and_schedule(self.network, self.recipe.optimisation, self.devices, self.decayed)


def as_optimisation(recipe: Recipe) -> Recipe:
    """The recipe with its pre-training in the place of its training: what data and trainer are set up by."""
    settings = recipe.pretraining
    optimisation = replace(
        recipe.optimisation,
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        learning_rate_batch=settings.learning_rate_batch,
        layer_decay=1.0,
        batch_size=settings.batch_size,
        accumulate=1,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup_steps,
        schedule="cosine",
        curriculum_steps=0,
        token_steps=0,
    )
    return replace(recipe, optimisation=optimisation)
