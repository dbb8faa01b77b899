"""What a recipe trains on, whatever it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import lightning.pytorch as pl
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from scdseg.errors import InputError
from scdseg.training.images import open_images
from scdseg.training.label_entries import entry_channels, logit_channels, read_label_entries
from scdseg.training.recipe import Recipe
from scdseg.training.settings import ImageListSettings
from scdseg.training.synthesis import ScanSynthesiser
from scdseg.training.synthetic import HeldOutScans, SyntheticScans, read_heads, whole_head_synthesiser


class Samples(Protocol):
    """Training samples by number: number n is the same whenever and wherever it is asked for."""

    def sample(self, number: int) -> tuple[Tensor, Tensor]:
        """Image (C, *window) and target."""


@dataclass(frozen=True)
class TrainingData:
    """Endless training samples and held-out cases.

    Args:
        samples: by number.
        held_out: whole volumes with their targets; may be empty.
    """

    samples: Samples
    held_out: Dataset[tuple[Tensor, Tensor]]


def label_channels(recipe: Recipe) -> tuple[tuple[str, ...], int]:
    """Names of the recipe's labels in the order of their channels, and how many channels the logits have."""
    activation = recipe.optimisation.activation
    entries = read_label_entries(recipe.directory / recipe.data.labels, activation)
    named = sorted(zip(entry_channels(entries, activation), entries, strict=True), key=lambda pair: pair[0])
    names = tuple(entry.get("channel_name", entry["name"]) for _, entry in named)
    return names, logit_channels(entries, activation)


def open_data(recipe: Recipe, window: Sequence[int], labelled: bool = True, devices: int = 1) -> TrainingData:
    """Open and check a recipe's data.

    Args:
        recipe: with label maps or a list of images.
        window: size of a sample in voxels.
        labelled: whether targets are needed; pre-training does without.
        devices: how many train together.

    Raises:
        InputError: naming the file that cannot be used, and why.
    """
    settings = recipe.optimisation
    if isinstance(recipe.data, ImageListSettings):
        entries = read_label_entries(recipe.directory / recipe.data.labels, settings.activation)
        return TrainingData(*open_images(recipe, entries, window, labelled))
    if settings.activation == "sigmoid":
        raise InputError(f"{recipe.name}: label maps are trained on with loss dice_ce, not {settings.loss}")
    scheme, heads, others = read_heads(recipe)
    x, y, z = window
    synthesiser = ScanSynthesiser(scheme, (x, y, z), recipe.data.spacing, recipe.synthesis)
    curriculum = settings.curriculum_steps * settings.batch_size * settings.accumulate * devices
    whole = HeldOutScans(others, whole_head_synthesiser(recipe, scheme), recipe.validation.scans, recipe.seed)
    return TrainingData(SyntheticScans(heads, synthesiser, recipe.seed, curriculum), whole)


class SampleStream(IterableDataset[tuple[Tensor, Tensor]]):
    """Samples in the order of their numbers, batch after batch.

    Sample ``position`` of batch ``b`` has the number ``(b · world_size + rank) · batch_size + position``: neither the
    number of loading processes nor a resumed run changes what is drawn, and several devices draw what one with a
    larger batch would.

    Args:
        samples: by number.
        batch_size: samples of a batch of one device.
        first_batch: the batch to begin with.
        rank: number of this device.
        world_size: devices that train together.
    """

    def __init__(
        self, samples: Samples, batch_size: int, first_batch: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.first_batch = first_batch
        self.rank = rank
        self.world_size = world_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        start, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for batch in count(self.first_batch + start, step):  # loaders take batches from their workers in turn
            first = (batch * self.world_size + self.rank) * self.batch_size
            for position in range(self.batch_size):
                yield self.samples.sample(first + position)


class DataModule(pl.LightningDataModule):
    """Hands a recipe's data to Lightning's trainer, from the step on that a resumed run has reached."""

    def __init__(self, data: TrainingData, recipe: Recipe) -> None:
        super().__init__()
        self.data = data
        self.recipe = recipe

    def train_dataloader(self) -> DataLoader:
        assert self.trainer is not None
        settings = self.recipe.optimisation
        stream = SampleStream(
            self.data.samples,
            settings.batch_size,
            self.trainer.global_step * settings.accumulate,
            self.trainer.global_rank,
            self.trainer.world_size,
        )
        return DataLoader(stream, batch_size=settings.batch_size, num_workers=self.recipe.data.workers)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        # Every device validates all: sharded weights need every device in every forward pass.
        return DataLoader(self.data.held_out, batch_size=1) if len(self.data.held_out) else []  # type: ignore[arg-type]
