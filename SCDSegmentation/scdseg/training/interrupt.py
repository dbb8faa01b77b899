"""Ctrl-C in training: the step at hand is finished, so that the run can go on as if nothing had been."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any

import lightning.pytorch as pl


class StopBetweenSteps(pl.Callback):
    """Ends a run between two steps of the optimiser after the first Ctrl-C; a second one ends it at once.

    Within a step weights, optimiser and the place in the data do not belong together.

    Attributes:
        asked: whether Ctrl-C was pressed.
        between_steps: whether the run ended where it can go on from.
    """

    def __init__(self) -> None:
        self.asked = False
        self.between_steps = False
        self._before: Any = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._interrupted)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._restore()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._stop_if_asked(trainer)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: pl.Trainer) -> None:
        # Processes that train together stop together, or those that go on would wait for the others for ever.
        if trainer.strategy.reduce_boolean_decision(self.asked, all=False):
            self.asked = self.between_steps = True
            raise KeyboardInterrupt

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()
        print("\nstopping after this step; Ctrl-C again stops at once", file=sys.stderr, flush=True)

    def _restore(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None
