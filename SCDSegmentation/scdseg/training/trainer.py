"""Lightning's trainer as all kinds of training use it: devices, checkpoints, logs, going on and stopping."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from scdseg.errors import Cancelled, InputError, ResourceError
from scdseg.training.checkpoint import load_checkpoint
from scdseg.training.data import DataModule, TrainingData
from scdseg.training.devices import Devices
from scdseg.training.interrupt import StopBetweenSteps
from scdseg.training.memory import check_memory
from scdseg.training.module import SegmentationModule
from scdseg.training.pretraining_module import PretrainingModule
from scdseg.training.recipe import Recipe, save_recipe


class StepBar(TQDMProgressBar):
    """Lightning's progress bar without the name of the log's folder."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, int | str | float | dict]:
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}


def check_output(output: Path, resume: bool) -> Path:
    """The checkpoint that a run in ``output`` writes, and goes on from if it is to resume.

    Raises:
        InputError: if there is none to resume from, or one that would be written over.
    """
    last = output / "last.ckpt"
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; give a folder as --output")
    if resume and not last.is_file():
        raise InputError(f"{last}: there is no checkpoint to resume from; start without --resume")
    if last.is_file() and not resume:
        raise InputError(f"{last}: the folder holds a run already; add --resume or choose another --output")
    return last


def run(
    module: SegmentationModule | PretrainingModule,
    open_data: Callable[[], TrainingData],
    recipe: Recipe,
    output: Path,
    resume: bool,
    devices: Devices,
) -> Path:
    """Train a module to the end of its recipe, and return the last checkpoint. What is quick to check is checked first.

    Args:
        module: to be trained, with its weights where they start from.
        open_data: opens and checks the data; called once all else is known to fit.
        recipe: to be recorded in ``output``; what is trained is ``module.recipe``.
        output: folder for checkpoints and logs; :func:`check_output` has seen it.
        resume: whether to go on from the checkpoint in it.
        devices: what to train on.

    Raises:
        Cancelled: on Ctrl-C.
        InputError: naming what does not fit, before training starts.
    """
    # Lightning tells of its own parts; what concerns the user is said in our words.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    last, settings = output / "last.ckpt", module.recipe.optimisation
    step = _steps_done(last, module) if resume else 0
    half = "32" not in settings.precision
    check_memory(module.network, settings.batch_size, settings.keep_ratio[1], half, devices)
    stop = StopBetweenSteps()
    try:
        trainer = _trainer(module.recipe, output, devices, step, stop)
    except (MisconfigurationException, ValueError) as error:
        raise InputError(f"{recipe.name}: cannot be trained on {devices.accelerator!r}: {error}") from error
    data = open_data()
    if trainer.is_global_zero:
        output.mkdir(parents=True, exist_ok=True)
        save_recipe(recipe, output)
    try:
        trainer.fit(module, DataModule(data, module.recipe), ckpt_path=last if resume else None, weights_only=True)
    except SystemExit as exit_request:  # Lightning's answer to an interrupt
        if not stop.between_steps:
            raise Cancelled("cancelled within a step: go on from the last checkpoint with --resume") from exit_request
        trainer.save_checkpoint(last)
        raise Cancelled("cancelled: the last step is kept; go on with --resume") from exit_request
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        raise ResourceError(
            f"{output}: cannot be written ({error.strerror}); make room there, then go on with --resume"
        ) from error
    trainer.save_checkpoint(last)  # the callback's last one lies up to every_steps back
    return last


def _steps_done(checkpoint: Path, module: SegmentationModule | PretrainingModule) -> int:
    """Steps behind a checkpoint, which is held against the recipe's network before anything of the run changes."""
    try:
        return load_checkpoint(checkpoint, module.network)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{checkpoint}: is not a checkpoint of this recipe's network ({reason})") from error


def _trainer(recipe: Recipe, output: Path, devices: Devices, step: int, stop: StopBetweenSteps) -> pl.Trainer:
    settings, every = recipe.optimisation, recipe.validation.every_steps
    return pl.Trainer(
        accelerator=devices.accelerator,
        devices=devices.per_node,
        num_nodes=devices.nodes,
        strategy=devices.lightning_strategy(unused_weights=settings.token_steps > 0),
        use_distributed_sampler=False,  # samples are numbered by rank
        max_steps=settings.steps,
        precision=settings.precision,  # type: ignore[arg-type]
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.gradient_clip or None,
        val_check_interval=every * settings.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=min(20, max(1, settings.steps // 50)),
        default_root_dir=output,
        enable_model_summary=False,
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
            StepBar(refresh_rate=5),
            stop,
        ],
    )
