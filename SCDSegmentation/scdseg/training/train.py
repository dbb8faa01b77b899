"""Train a recipe: data, module and Lightning's trainer put together."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from scdseg.errors import Cancelled, InputError
from scdseg.training.data import DataModule, TrainingData, label_channels, open_data
from scdseg.training.devices import Devices
from scdseg.training.memory import check_memory
from scdseg.training.module import SegmentationModule
from scdseg.training.recipe import Recipe, save_recipe
from scdseg.training.start import load_start


def train(recipe: Recipe, output: Path, resume: bool = False, devices: Devices | str = "auto") -> Path:
    """Run a recipe and return its last checkpoint.

    Args:
        recipe: what to train.
        output: folder for checkpoints (``last.ckpt``), CSV and TensorBoard logs.
        resume: go on from ``last.ckpt`` in ``output``.
        devices: what to train on; one of ``"auto"``, ``"cuda"``, ``"mps"`` and ``"cpu"`` means one such device.

    Raises:
        Cancelled: on Ctrl-C, with the last step in the checkpoint.
        InputError: for data, windows or checkpoints that cannot be used, before training starts.
    """
    devices = Devices(devices) if isinstance(devices, str) else devices
    last = check_output(output, resume)
    pl.seed_everything(recipe.seed)
    module, step, data = prepare(recipe, last if resume else None, devices)
    try:
        trainer = build_trainer(recipe, output, devices, step, validate=len(data.held_out) > 0)  # type: ignore[arg-type]
    except (MisconfigurationException, ValueError) as error:
        raise InputError(f"{recipe.name}: cannot be trained on {devices.accelerator!r}: {error}") from error
    if trainer.is_global_zero:
        output.mkdir(parents=True, exist_ok=True)
        save_recipe(recipe, output)
    fit(trainer, module, DataModule(data, recipe), last, resume)
    return last


def check_output(output: Path, resume: bool) -> Path:
    """The checkpoint that a run in ``output`` writes, and goes on from if it is to resume.

    Raises:
        InputError: if there is none to resume from, or one that would be written over.
    """
    last = output / "last.ckpt"
    if resume and not last.is_file():
        raise InputError(f"{last}: there is no checkpoint to resume from; start without --resume")
    if last.is_file() and not resume:
        raise InputError(f"{last}: the folder holds a run already; add --resume or choose another --output")
    return last


def fit(trainer: pl.Trainer, module: pl.LightningModule, data: DataModule, last: Path, resume: bool) -> None:
    """Train until the end or Ctrl-C; either way the checkpoint ``last`` has the last step.

    Raises:
        Cancelled: on Ctrl-C.
    """
    try:
        trainer.fit(module, data, ckpt_path=last if resume else None, weights_only=True)
    except SystemExit as exit_request:  # Lightning's answer to Ctrl-C
        trainer.save_checkpoint(last)
        raise Cancelled("cancelled: the last step is kept; go on with --resume") from exit_request
    trainer.save_checkpoint(last)  # the callback's last one lies up to every_steps back


def prepare(recipe: Recipe, checkpoint: Path | None, devices: Devices) -> tuple[SegmentationModule, int, TrainingData]:
    """Module, steps done and data of a run; everything of the recipe is checked on the way, what is quick first.

    Args:
        recipe: what to train.
        checkpoint: of the run to go on with; its weights are loaded by the trainer.
        devices: what it will be trained on.

    Raises:
        InputError: naming what does not fit.
    """
    entries, channels = label_channels(recipe)
    try:
        module = SegmentationModule(recipe, [entry["name"] for entry in entries], channels, devices.count)
    except (TypeError, ValueError) as error:
        raise InputError(f"{recipe.name}: network: {error}") from error
    step = steps_done(checkpoint, module) if checkpoint else 0
    if recipe.start_path and not checkpoint:
        print(load_start(module.network, recipe.start_path))
    settings = recipe.optimisation
    half = "32" not in settings.precision
    check_memory(module.network, settings.batch_size, settings.keep_ratio[1], half, devices.first)
    data = open_data(recipe, module.network.img_size)
    module.names = list(data.names)
    return module, step, data


def steps_done(checkpoint: Path, module: pl.LightningModule) -> int:
    """Steps behind a checkpoint, which is held against the recipe's network before anything of the run changes."""
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        module.load_state_dict(content["state_dict"])
        return int(content["global_step"])
    except Exception as error:
        raise InputError(f"{checkpoint}: is not a checkpoint of this recipe's network ({error})") from error


def build_trainer(recipe: Recipe, output: Path, devices: Devices, step: int, validate: bool) -> pl.Trainer:
    """Lightning's trainer for a recipe that ``step`` steps are done of, with checkpoints and logs in ``output``."""
    settings, every = recipe.optimisation, recipe.validation.every_steps
    return pl.Trainer(
        accelerator=devices.accelerator,
        devices=devices.per_node,
        num_nodes=devices.nodes,
        strategy=devices.lightning_strategy(),
        use_distributed_sampler=False,  # samples are numbered by rank
        max_steps=settings.steps,
        precision=settings.precision,  # type: ignore[arg-type]
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.gradient_clip or None,
        val_check_interval=every * settings.accumulate if validate else None,
        check_val_every_n_epoch=None if validate else 1,
        num_sanity_val_steps=0,
        log_every_n_steps=20,
        default_root_dir=output,
        # The CSV logger empties the folder that it starts in, so every start of a run has its own.
        logger=[
            CSVLogger(output, name="csv", version=f"from_step_{step}"),
            TensorBoardLogger(output, name="tensorboard", version=""),
        ],
        callbacks=[
            ModelCheckpoint(
                output,
                filename="{step}",
                every_n_train_steps=every,
                save_top_k=1,
                save_last=True,
                enable_version_counter=False,
            ),
            LearningRateMonitor("step"),
            TQDMProgressBar(refresh_rate=20),
        ],
    )
