"""Train a recipe's network."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_only

from scdseg.errors import InputError
from scdseg.training.data import label_channels, open_data
from scdseg.training.devices import Devices
from scdseg.training.export import check_export
from scdseg.training.module import SegmentationModule
from scdseg.training.recipe import Recipe, differences, load_recipe
from scdseg.training.start import load_start
from scdseg.training.trainer import check_output, run


def train(recipe: Recipe, output: Path, resume: bool = False, devices: Devices | str = "auto") -> Path:
    """Run a recipe and return its last checkpoint.

    Args:
        recipe: what to train.
        output: folder for checkpoints (``last.ckpt``), CSV and TensorBoard logs.
        resume: go on from ``last.ckpt`` in ``output``.
        devices: what to train on; one of ``"auto"``, ``"cuda"``, ``"mps"`` and ``"cpu"`` means one such device.

    Raises:
        Cancelled: on Ctrl-C; after the step at hand is done, which the checkpoint then has.
        InputError: for data, windows or checkpoints that cannot be used, before training starts.
    """
    devices = Devices(devices) if isinstance(devices, str) else devices
    check_output(output, resume)
    check_export(recipe)
    if resume and (output / "recipe.yaml").is_file():
        for change in differences(load_recipe(output / "recipe.yaml"), recipe):
            _say(f"other than when the run was last started: {change}")
    pl.seed_everything(recipe.seed, verbose=False)
    module = build_module(recipe, devices, fresh=not resume)
    window = module.network.img_size
    return run(module, lambda: open_data(recipe, window, devices=devices.count), recipe, output, resume, devices)


def build_module(recipe: Recipe, devices: Devices, fresh: bool = True) -> SegmentationModule:
    """The module of a recipe; a ``fresh`` one has the weights that the recipe starts from.

    Raises:
        InputError: if the recipe's network does not fit itself, its channels or the weights.
    """
    names, channels = label_channels(recipe)
    try:
        module = SegmentationModule(recipe, names, channels, devices)
    except (TypeError, ValueError) as error:
        raise InputError(f"{recipe.name}: network: {error}") from error
    expected = module.network.config["in_channels"]
    if expected != len(recipe.export.channels):
        raise InputError(
            f"{recipe.name}: network.in_channels is {expected}, but export.channels names "
            f"{len(recipe.export.channels)} ({', '.join(recipe.export.channels)}); make them agree"
        )
    if recipe.start_path and fresh:
        _say(str(load_start(module.network, recipe.start_path)))
    return module


@rank_zero_only
def _say(text: str) -> None:
    print(text, flush=True)
