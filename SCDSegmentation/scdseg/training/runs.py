"""What the folder of a training run tells: its recipe, its network, and how well the last validation went."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scdseg.errors import InputError
from scdseg.networks import SCDUNETR, UNETR
from scdseg.training.build import build_network
from scdseg.training.checkpoint import load_checkpoint
from scdseg.training.data import label_channels
from scdseg.training.label_entries import read_label_entries
from scdseg.training.recipe import Recipe, load_recipe
from scdseg.training.settings import ImageListSettings
from scdseg.training.synthetic import WHOLE_HEAD

_MEAN = "val/dice"
_LABEL = "dice/"


@dataclass(frozen=True)
class Validation:
    """Dice on the held-out cases after a step: mean, and by label; NaN for a label that is nowhere."""

    step: int
    mean: float
    labels: dict[str, float]


@dataclass(frozen=True)
class Run:
    """A run of ``scdseg train``.

    Args:
        folder: of the run.
        recipe: with which it was trained.
        network: with the weights of its last checkpoint.
        step: steps behind them.
        validation: the last one up to that step; None if there was none.
    """

    folder: Path
    recipe: Recipe
    network: SCDUNETR | UNETR
    step: int
    validation: Validation | None

    @property
    def keep_ratio(self) -> float | None:
        """Keep ratio that the run is validated at; None for a dense network."""
        return self.recipe.validation.keep_ratio if isinstance(self.network, SCDUNETR) else None


def read_run(folder: Path) -> Run:
    """Read a run's folder.

    Raises:
        InputError: naming the run and what is missing or does not belong to it.
    """
    if not folder.is_dir():
        raise InputError(f"run {folder}: there is no such folder; name the --output of scdseg train")
    for name in ("recipe.yaml", "last.ckpt"):
        if not (folder / name).is_file():
            raise InputError(f"run {folder}: {name} is missing; name the --output of scdseg train, once it has saved")
    recipe = load_recipe(folder / "recipe.yaml")
    channels = label_channels(recipe)[1]
    try:
        network = build_network(recipe.network, channels)
        step = load_checkpoint(folder / "last.ckpt", network)
    except Exception as error:
        raise InputError(f"run {folder}: last.ckpt is not a checkpoint of the recipe beside it ({error})") from error
    return Run(folder, recipe, network, step, _last_validation(folder, step))


def validation_differences(recipe: Recipe, other: Recipe) -> list[str]:
    """Keys of two recipes that make their validation Dice incomparable, because the cases or their grids differ."""
    ours, theirs = (_validated_on(r) for r in (recipe, other))
    return [key for key in {**theirs, **ours} if ours.get(key) != theirs.get(key)]


def _validated_on(recipe: Recipe) -> dict[str, Any]:
    data = recipe.data
    labels = [
        {key: entry.get(key) for key in ("value", "source", "channel")}
        for entry in read_label_entries(recipe.directory / data.labels, recipe.optimisation.activation)
    ]
    shared = {"data.root": recipe.root, "data.labels": labels, "data.spacing": data.spacing}
    shared["validation.overlap"] = recipe.validation.overlap
    if isinstance(data, ImageListSettings):
        drawn = not _lists_validation(recipe.root / data.list, data.validation)
        return {
            **shared,
            "data.list": data.list,
            "data.validation": data.validation,
            "data.background": data.background,
            "data.validation_share": data.validation_share if drawn else None,
            "seed": recipe.seed if drawn else None,
            "export.intensity": recipe.export.intensity,
            "export.crop_foreground": recipe.export.crop_foreground,
        }
    synthesis = {key: value for key, value in asdict(recipe.synthesis).items() if key not in WHOLE_HEAD}
    return {
        **shared,
        "data.pattern": data.pattern,
        "data.validation": sorted(data.validation),
        "data.merge": data.merge or {},
        "validation.scans": recipe.validation.scans,
        "seed": recipe.seed,
        **{f"synthesis.{key}": value for key, value in synthesis.items()},
    }


def _lists_validation(file: Path, key: str) -> bool:
    """Whether a list names its held-out cases; else, and where it cannot be read, they were drawn by the seed."""
    try:
        return bool(json.loads(file.read_text(encoding="utf-8")).get(key))
    except (OSError, ValueError, AttributeError):
        return False


def _last_validation(folder: Path, step: int) -> Validation | None:
    found = [validation for validation in _validations(folder) if validation.step <= step]
    return max(found, key=lambda validation: validation.step, default=None)


def _validations(folder: Path) -> Iterator[Validation]:
    """Validations of all starts of a run; of each start, what lies before the next one went on from there."""
    starts = sorted((int(path.parent.name.rpartition("_")[2]), path) for path in folder.glob("csv/*_*/metrics.csv"))
    ends = [*(start for start, _ in starts), math.inf][1:]
    for (_, path), end in zip(starts, ends, strict=True):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if not row.get(_MEAN):
                    continue
                done = int(float(row.get("val/steps") or int(row["step"]) + 1))
                if done <= end:
                    labels = {k.removeprefix(_LABEL): float(v) for k, v in row.items() if k.startswith(_LABEL) and v}
                    yield Validation(done, float(row[_MEAN]), labels)
