"""Train a recipe: data, module and Lightning's trainer put together."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader

from scdseg.errors import Cancelled, InputError
from scdseg.training.data import HeldOutScans, SyntheticScans, read_heads, whole_head_synthesiser
from scdseg.training.module import SegmentationModule
from scdseg.training.recipe import Recipe, save_recipe
from scdseg.training.synthesis import ScanSynthesiser


def train(recipe: Recipe, output: Path, resume: bool = False, device: str = "auto") -> Path:
    """Run a recipe and return its last checkpoint.

    Args:
        recipe: what to train.
        output: folder for checkpoints (``last.ckpt``), CSV and TensorBoard logs.
        resume: go on from ``last.ckpt`` in ``output``.
        device: ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``.

    Raises:
        Cancelled: on Ctrl-C, with the last step in the checkpoint.
        InputError: for label maps, windows or checkpoints that cannot be used, before training starts.
    """
    last = output / "last.ckpt"
    if resume and not last.is_file():
        raise InputError(f"{last}: there is no checkpoint to resume from; start without --resume")
    if last.is_file() and not resume:
        raise InputError(f"{last}: the folder holds a run already; add --resume or choose another --output")
    pl.seed_everything(recipe.seed)
    scheme, heads, held_out = read_heads(recipe)
    try:
        module = SegmentationModule(
            {**recipe.network, "out_channels": scheme.channels},
            recipe.optimisation,
            recipe.validation,
            [entry["name"] for entry in scheme.entries],
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"{recipe.name}: network: {error}") from error
    batch = recipe.optimisation.batch_size
    step = _steps_done(last, module) if resume else 0
    synthesiser = ScanSynthesiser(scheme, module.network.img_size, recipe.data.spacing, recipe.synthesis)
    scans = SyntheticScans(heads, synthesiser, recipe.seed, step * batch, recipe.optimisation.curriculum_steps * batch)
    whole = HeldOutScans(held_out, whole_head_synthesiser(recipe, scheme), recipe.validation.scans, recipe.seed)
    try:
        trainer = _trainer(recipe, output, device, step, validate=bool(held_out))
    except (MisconfigurationException, ValueError) as error:
        raise InputError(f"{recipe.name}: cannot be trained on {device!r}: {error}") from error
    output.mkdir(parents=True, exist_ok=True)
    save_recipe(recipe, output)
    try:
        trainer.fit(
            module,
            DataLoader(scans, batch_size=batch, num_workers=recipe.data.workers),
            DataLoader(whole, batch_size=1) if held_out else None,
            ckpt_path=last if resume else None,
            weights_only=True,
        )
    except SystemExit as exit_request:  # Lightning's answer to Ctrl-C
        trainer.save_checkpoint(last)
        raise Cancelled("cancelled: the last step is kept; go on with --resume") from exit_request
    trainer.save_checkpoint(last)  # the callback's last one lies up to every_steps back
    return last


def _steps_done(checkpoint: Path, module: SegmentationModule) -> int:
    """Steps behind a checkpoint, which is held against the recipe's network before anything of the run changes."""
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        module.load_state_dict(content["state_dict"])
        return int(content["global_step"])
    except Exception as error:
        raise InputError(f"{checkpoint}: is not a checkpoint of this recipe's network ({error})") from error


def _trainer(recipe: Recipe, output: Path, device: str, step: int, validate: bool) -> pl.Trainer:
    every = recipe.validation.every_steps
    return pl.Trainer(
        accelerator=device,
        devices=1,
        max_steps=recipe.optimisation.steps,
        precision=recipe.optimisation.precision,  # type: ignore[arg-type]
        gradient_clip_val=recipe.optimisation.gradient_clip,
        val_check_interval=every if validate else None,
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
