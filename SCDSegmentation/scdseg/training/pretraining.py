"""Pre-training of the ViT on images without labels: module, data and Lightning's trainer put together."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from safetensors.torch import save
from torch import Tensor

from scdseg.errors import InputError
from scdseg.networks.masked_autoencoder import MaskedAutoencoder
from scdseg.training.build import build_network
from scdseg.training.data import DataModule, open_data
from scdseg.training.devices import Devices
from scdseg.training.optimiser import build_optimiser, rate_factor
from scdseg.training.recipe import Recipe, save_recipe
from scdseg.training.start_sources import ENCODER_FILE
from scdseg.training.train import build_trainer, check_output, fit, steps_done
from scdseg.volumes import staged

_ENCODER = ("embedding.", "blocks.", "norm.")


class PretrainingModule(pl.LightningModule):
    """Trains a masked autoencoder on images; targets that come with them are not looked at.

    Args:
        recipe: what to train; its network's ViT is what is learnt.
        devices: how many train together.

    Raises:
        ValueError: for arguments of the network that do not fit together.
    """

    def __init__(self, recipe: Recipe, devices: int = 1) -> None:
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
        self.optimisation = as_optimisation(recipe).optimisation

    def orders(self, step: int, rank: int, batch: int) -> Tensor:
        """Random orders of the patches (batch, L) of a step's windows; those of the first ones are seen.

        Window number n of the run has its own, so that several devices mask what one with a larger batch would, and a
        resumed run what one that never stopped would.
        """
        first = (step * self.devices + rank) * batch
        generators = (torch.Generator().manual_seed(hash((self.seed, first + n)) % 2**63) for n in range(batch))
        return torch.stack([torch.randperm(self.network.patches, generator=generator) for generator in generators])

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        image = batch[0]
        order = self.orders(self.global_step, self.global_rank, image.shape[0]).to(image.device)
        loss = self.network.loss(image, order)
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        settings = self.optimisation
        rate = settings.learning_rate
        if settings.learning_rate_batch:
            rate *= settings.batch_size * self.devices / settings.learning_rate_batch
        optimiser = build_optimiser(self.network, settings, rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, partial(rate_factor, settings=settings))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


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
    )
    return replace(recipe, optimisation=optimisation)


def pretrain(recipe: Recipe, output: Path, resume: bool = False, devices: Devices | str = "auto") -> Path:
    """Pre-train the ViT of a recipe's network and return the file with its weights.

    Args:
        recipe: its data are trained on, with or without labels.
        output: folder for ``encoder.safetensors``, checkpoints (``last.ckpt``), CSV and TensorBoard logs.
        resume: go on from ``last.ckpt`` in ``output``.
        devices: what to train on; one of ``"auto"``, ``"cuda"``, ``"mps"`` and ``"cpu"`` means one such device.

    Raises:
        Cancelled: on Ctrl-C, with the last step in the checkpoint.
        InputError: for data, windows or checkpoints that cannot be used, before training starts.
    """
    devices = Devices(devices) if isinstance(devices, str) else devices
    last = check_output(output, resume)
    pl.seed_everything(recipe.seed)
    try:
        module = PretrainingModule(recipe, devices.count)
    except (TypeError, ValueError) as error:
        raise InputError(f"{recipe.name}: network or pretraining: {error}") from error
    step = steps_done(last, module) if resume else 0
    run = as_optimisation(recipe)
    data = open_data(run, module.network.img_size, labelled=False)
    try:
        trainer = build_trainer(run, output, devices, step, validate=False)
    except (MisconfigurationException, ValueError) as error:
        raise InputError(f"{recipe.name}: cannot be trained on {devices.accelerator!r}: {error}") from error
    if trainer.is_global_zero:
        output.mkdir(parents=True, exist_ok=True)
        save_recipe(recipe, output)
    fit(trainer, module, DataModule(data, run), last, resume)
    encoder = output / ENCODER_FILE
    if trainer.is_global_zero:
        save_encoder(last, module.network, encoder)
    return encoder


def save_encoder(checkpoint: Path, network: MaskedAutoencoder, file: Path) -> None:
    """Write the ViT of a pre-training checkpoint as a safetensors file; its metadata have the network's arguments.

    Args:
        checkpoint: what Lightning wrote, with all weights even where devices share them out.
        network: that was trained; its arguments are recorded.
        file: to write.

    Raises:
        ResourceError: the disk is full or the file cannot be written.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    weights = {name.removeprefix("network."): tensor.contiguous() for name, tensor in state.items()}
    weights = {name: tensor for name, tensor in weights.items() if name.startswith(_ENCODER)}
    with staged([file]) as temporary:
        # save_file would make a file that only its owner can read.
        temporary[file].write_bytes(save(weights, metadata={"network": json.dumps(network.config)}))
