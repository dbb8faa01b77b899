"""Pre-train the ViT of a recipe's network on images without labels."""

from __future__ import annotations

import json
from pathlib import Path

import lightning.pytorch as pl
from safetensors.torch import save

from scdseg.errors import InputError
from scdseg.networks.masked_autoencoder import MaskedAutoencoder
from scdseg.training.checkpoint import read_checkpoint
from scdseg.training.data import open_data
from scdseg.training.devices import Devices
from scdseg.training.pretraining_module import PretrainingModule
from scdseg.training.recipe import Recipe
from scdseg.training.start_sources import ENCODER_FILE
from scdseg.training.trainer import check_output, run
from scdseg.volumes import staged

_ENCODER = ("embedding.", "blocks.", "norm.")


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
    check_output(output, resume)
    pl.seed_everything(recipe.seed, verbose=False)
    try:
        module = PretrainingModule(recipe, devices)
    except (TypeError, ValueError) as error:
        raise InputError(f"{recipe.name}: network or pretraining: {error}") from error
    window = module.network.img_size
    last = run(module, lambda: open_data(module.recipe, window, labelled=False), recipe, output, resume, devices)
    encoder = output / ENCODER_FILE
    if module.global_rank == 0:
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
    state = read_checkpoint(checkpoint)[0]
    weights = {name: tensor.contiguous() for name, tensor in state.items() if name.startswith(_ENCODER)}
    with staged([file]) as temporary:
        # save_file would make a file that only its owner can read.
        temporary[file].write_bytes(save(weights, metadata={"network": json.dumps(network.config)}))
