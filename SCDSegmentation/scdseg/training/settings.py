"""What a recipe sets, section by section; the recipes' comments say what each value does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LOSSES = ("dice_ce", "dice_sigmoid")
SCHEDULES = ("linear", "cosine")


@dataclass(frozen=True)
class DataSettings:
    """Label maps that become training scans by synthesis; ``spacing`` in mm."""

    root: str
    labels: str
    spacing: tuple[float, float, float]
    pattern: str = "*.nii.gz"
    validation: tuple[str, ...] = ()
    workers: int = 1
    merge: dict[int, int] | None = None


@dataclass(frozen=True)
class ImageListSettings:
    """Images with labels drawn on them, listed in a JSON file of the Medical Segmentation Decathlon's format.

    ``list`` is that file's name in ``root``; ``training`` and ``validation`` are its keys. Where it has no validation
    list, ``validation_share`` of the training cases are held out, drawn by the recipe's seed. ``background`` are label
    values that count as background, ``cache_rate`` the share of the cases kept in memory, ``crops`` the windows that a
    visit to a case gives, ``positive`` their share that is centred on a label.
    """

    root: str
    list: str
    labels: str
    spacing: tuple[float, float, float]
    training: str = "training"
    validation: str = "validation"
    validation_share: float = 0.2
    background: tuple[int, ...] = ()
    workers: int = 2
    cache_rate: float = 1.0
    crops: int = 4
    positive: float = 0.5

    def __post_init__(self) -> None:
        if self.crops < 1:
            raise ValueError(f"'crops' should be at least 1, not {self.crops}")
        for key in ("cache_rate", "positive", "validation_share"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key!r} should be from 0 to 1, not {getattr(self, key)}")


@dataclass(frozen=True)
class AugmentationSettings:
    """Probabilities and strengths of what is done to real images at random; see MONAI's transforms of these names.

    ``affine`` is the probability of a rotation about each axis by at most ``rotation`` degrees together with a scaling
    of each axis by at most the share ``scaling``; ``contrast`` that of a gamma within ``gamma``.
    """

    flip: float = 0.2
    rotate90: float = 0.2
    affine: float = 0.0
    rotation: float = 15.0
    scaling: float = 0.15
    contrast: float = 0.0
    gamma: tuple[float, float] = (0.7, 1.5)
    scale_intensity: float = 0.1
    shift_intensity: float = 0.1
    intensity: float = 0.1


@dataclass(frozen=True)
class OptimisationSettings:
    """AdamW, its rate over the steps, and the loss.

    ``learning_rate_batch``: the batch that ``learning_rate`` is meant for; the rate is scaled to the batch of all
    devices and accumulated steps together, unless it is 0. ``layer_decay``: every block of the encoder learns by this
    factor slower than the one after it. ``token_loss`` and ``score_loss`` weigh the losses of a token head and of the
    scores, see :mod:`scdseg.training.losses`.
    """

    steps: int
    learning_rate: float
    learning_rate_batch: int = 0
    layer_decay: float = 1.0
    batch_size: int = 1
    accumulate: int = 1
    weight_decay: float = 0.05
    warmup_steps: int = 200
    schedule: str = "linear"
    cooldown: float = 0.3
    gradient_clip: float = 1.0
    keep_ratio: tuple[float, float] = (0.1, 1.0)
    curriculum_steps: int = 0
    loss: str = "dice_ce"
    squared_dice: bool = False
    token_loss: float = 1.0
    score_loss: float = 0.0
    token_steps: int = 0
    precision: str = "32-true"

    def __post_init__(self) -> None:
        for key, allowed in (("loss", LOSSES), ("schedule", SCHEDULES)):
            if getattr(self, key) not in allowed:
                raise ValueError(f"{key!r} should be one of {', '.join(allowed)}, not {getattr(self, key)!r}")
        for key in ("steps", "batch_size", "accumulate"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key!r} should be at least 1, not {getattr(self, key)}")
        low, high = self.keep_ratio
        if not 0 < low <= high <= 1:
            raise ValueError(f"'keep_ratio' should be two numbers in (0, 1], the smaller first, not {low}, {high}")

    @property
    def activation(self) -> str:
        """``"softmax"`` or ``"sigmoid"``: what the loss makes of the logits."""
        return "sigmoid" if self.loss == "dice_sigmoid" else "softmax"


@dataclass(frozen=True)
class PretrainingSettings:
    """Masked-autoencoder pre-training: AdamW with warm-up and cosine, and how much is masked.

    ``learning_rate_batch`` is as in :class:`OptimisationSettings`, whose precision this has, too. ``decoder_width`` 0
    is about half of the encoder's.
    """

    steps: int = 20000
    learning_rate: float = 3e-4
    learning_rate_batch: int = 0
    batch_size: int = 4
    weight_decay: float = 0.05
    warmup_steps: int = 1000
    mask_ratio: float = 0.75
    decoder_width: int = 0
    decoder_layers: int = 4

    def __post_init__(self) -> None:
        for key in ("steps", "batch_size", "decoder_layers"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key!r} should be at least 1, not {getattr(self, key)}")
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f"'mask_ratio' should be a number between 0 and 1, not {self.mask_ratio}")


@dataclass(frozen=True)
class ValidationSettings:
    """How often and how the held-out cases are segmented; ``scans`` is how many are synthesised of each label map."""

    every_steps: int = 500
    scans: int = 1
    keep_ratio: float = 0.25
    overlap: float = 0.25

    def __post_init__(self) -> None:
        for key in ("every_steps", "scans"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key!r} should be at least 1, not {getattr(self, key)}")
        if not 0 < self.keep_ratio <= 1:
            raise ValueError(f"'keep_ratio' should be above 0 and at most 1, not {self.keep_ratio}")
        if not 0 <= self.overlap <= 0.9:
            raise ValueError(f"'overlap' should be from 0 to 0.9, not {self.overlap}")


@dataclass(frozen=True)
class ExportSettings:
    """What the bundle says about the model beyond its weights. Real images are prepared for training as it says, too:
    ``channels`` names the images of a case in their order."""

    description: str
    channels: tuple[str, ...]
    intensity: tuple[dict[str, Any], ...]
    overlap: float = 0.5
    keep_ratio_range: tuple[float, float] = (0.1, 1.0)
    crop_foreground: bool = False
    modality: str = "MR"
    authors: str = "not stated"
    copyright: str = "not stated"
