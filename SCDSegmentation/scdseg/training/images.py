"""Real images for training: prepared as the product prepares them, kept in memory, cropped and augmented at random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, MetaTensor
from monai.transforms import (
    Compose,
    RandAdjustContrastd,
    RandAffined,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandomizableTransform,
    RandRotate90d,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandSpatialCropd,
    SpatialPad,
    SpatialResample,
    Transform,
    map_binary_to_indices,
)
from torch import Tensor
from torch.utils.data import Dataset

from scdseg.bundle import Intensity
from scdseg.errors import InputError
from scdseg.inference.preprocess import crop_foreground, normalize_and_pad, padded_shape, to_spacing
from scdseg.training.cases import Case, check_cases, read_cases, read_images, read_label
from scdseg.training.label_entries import entry_channels, entry_sources, logit_channels
from scdseg.training.recipe import Recipe
from scdseg.training.settings import AugmentationSettings, ImageListSettings

# Places to centre a window on: enough to choose from, and no more memory than the image takes.
_PLACES = 100_000


class PrepareCase(Transform):
    """Read a case and bring it to the network's grid, image and labels alike.

    Gives a dictionary: ``image`` (C, X, Y, Z) float32, ``target`` (1 or K, X, Y, Z) uint8, and for cropping the flat
    indices ``labelled`` and ``unlabelled``; without a label map, ``image`` alone.
    """

    def __init__(self, recipe: Recipe, entries: Sequence[dict[str, Any]], window: Sequence[int]) -> None:
        assert isinstance(recipe.data, ImageListSettings)
        self.spacing = recipe.data.spacing
        self.window = tuple(window)
        self.patch = int(recipe.network.get("patch_size", 8))
        self.crop_foreground = recipe.export.crop_foreground
        self.channels = recipe.export.channels
        self.intensity = [Intensity(**step) for step in recipe.export.intensity]
        sources = {value for entry in entries for value in entry_sources(entry)}
        self.known = np.array(sorted({0, *sources, *recipe.data.background}))
        self.table = _target_table(entries, self.known, recipe.optimisation.activation)

    def __call__(self, case: Case) -> dict[str, Any]:
        array, affine = read_images(case)
        image = MetaTensor(torch.from_numpy(array), affine=torch.from_numpy(affine))
        image = to_spacing(image, "RAS", self.spacing)
        if self.crop_foreground:
            image = crop_foreground(image)
        shape = padded_shape(image.shape[1:], self.window, self.patch)
        try:
            voxels = normalize_and_pad(image, self.intensity, self.channels, shape).as_tensor().contiguous()
        except InputError as error:
            raise InputError(f"{case.images[0]}: {error}") from error
        if case.label is None:
            return {"image": voxels}
        places = torch.from_numpy(read_label(case.label, self.known))
        label = MetaTensor(places[None], affine=torch.from_numpy(affine))
        nearest = SpatialResample(mode="nearest", padding_mode="zeros", align_corners=False, dtype=torch.float32)
        label = nearest(label, dst_affine=image.affine, spatial_size=image.shape[1:])
        label = SpatialPad(shape, method="symmetric")(label)
        target = self.table[label.as_tensor().long()[0]].movedim(-1, 0).contiguous()
        labelled, unlabelled = map_binary_to_indices((target > 0).any(dim=0, keepdim=True).numpy())
        return {"image": voxels, "target": target, "labelled": _some(labelled), "unlabelled": _some(unlabelled)}


class ImageWindows:
    """Random windows of the cases, augmented; window number n depends on the seed and n alone.

    Args:
        cases: prepared cases.
        settings: of the list.
        augmentation: what is done at random.
        window: size in voxels.
        seed: of the whole series.
        activation: what becomes of the logits, ``"softmax"`` or ``"sigmoid"``.
    """

    def __init__(
        self,
        cases: Dataset,
        settings: ImageListSettings,
        augmentation: AugmentationSettings,
        window: Sequence[int],
        seed: int,
        activation: str,
    ) -> None:
        self.cases = cases
        self.activation = activation
        self.crops = settings.crops
        self.seed = seed
        self._crop = {
            True: RandCropByPosNegLabeld(
                ("image", "target"),
                label_key="target",
                spatial_size=tuple(window),
                pos=settings.positive,
                neg=1 - settings.positive,
                fg_indices_key="labelled",
                bg_indices_key="unlabelled",
            ),
            False: RandSpatialCropd("image", roi_size=tuple(window), random_size=False),
        }
        self._augment = _augmentation(augmentation)
        self._last: tuple[int, dict[str, Any]] | None = None

    def sample(self, number: int) -> tuple[Tensor, Tensor]:
        """Window number ``number``: image (C, *window) float32 and target, channel indices (*window) int64 for softmax
        or (K, *window) float32 for sigmoid; an empty tensor for unlabelled images."""
        visit = number // self.crops
        case = self._case(visit)
        random = np.random.RandomState((self.seed * 1_000_003 + number) % 2**32)
        crop = self._crop["target" in case]
        crop.set_random_state(state=random)
        cropped: Any = crop(case)
        window = cropped[0] if isinstance(cropped, list) else cropped
        _seed_all(self._augment, random)
        window = self._augment({key: window[key] for key in ("image", "target") if key in window})
        target = window.get("target")
        return _plain(window["image"]), torch.empty(0) if target is None else _as_target(
            _plain(target), self.activation
        )

    def _case(self, visit: int) -> dict[str, Any]:
        count = len(self.cases)  # type: ignore[arg-type]
        order = torch.randperm(count, generator=torch.Generator().manual_seed(self.seed + visit // count))
        index = int(order[visit % count])
        if self._last is None or self._last[0] != index:  # the crops of a visit follow each other
            self._last = (index, self.cases[index])
        return self._last[1]


class HeldOutImages(Dataset[tuple[Tensor, Tensor]]):
    """Whole prepared cases: image (C, X, Y, Z) and target as in :class:`ImageWindows`."""

    def __init__(self, cases: Dataset, activation: str) -> None:
        self.cases = cases
        self.activation = activation

    def __len__(self) -> int:
        return len(self.cases)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        case = self.cases[index]
        return case["image"], _as_target(case["target"], self.activation)


def open_images(
    recipe: Recipe, entries: Sequence[dict[str, Any]], window: Sequence[int], labelled: bool = True
) -> tuple[ImageWindows, HeldOutImages]:
    """Windows for training and whole held-out cases; every case is read once, so a bad one is met here.

    Args:
        recipe: with a list of images.
        entries: the model's labels.
        window: size in voxels.
        labelled: whether every case must have a label map; without, label maps are not read.

    Raises:
        InputError: naming the first case that cannot be trained on, and why.
    """
    settings = recipe.data
    assert isinstance(settings, ImageListSettings)
    training, validation = read_cases(settings, recipe.root, recipe.seed)
    if labelled:
        without = [case for case in (*training, *validation) if case.label is None]
        if without:
            raise InputError(
                f"{without[0].images[0]}: has no key 'label' in {settings.list}; training needs one for each case"
            )
    else:
        training, validation = ([Case(c.name, c.images, None) for c in cases] for cases in (training, validation))
    if recipe.augmentation.rotate90 and window[0] != window[1]:
        raise InputError(
            f"{recipe.name}: rotation by 90° needs a window whose first two axes are equal, not {tuple(window)}; "
            "set augmentation.rotate90 to 0"
        )
    check_cases((*training, *validation), recipe.export.channels)
    prepare = PrepareCase(recipe, entries, window)
    prepared = [_read(cases, prepare, settings) for cases in (training, validation if labelled else [])]
    activation = recipe.optimisation.activation
    windows = ImageWindows(prepared[0], settings, recipe.augmentation, window, recipe.seed, activation)
    return windows, HeldOutImages(prepared[1], activation)


def _read(cases: list[Case], prepare: PrepareCase, settings: ImageListSettings) -> Dataset:
    guarded = _Guarded(prepare)
    data = CacheDataset(
        cases,
        guarded,
        cache_rate=settings.cache_rate,
        num_workers=max(1, settings.workers),
        progress=True,
        copy_cache=False,
    )
    for index in range(data.cache_num, len(cases)):  # what memory does not keep is tried out all the same
        data[index]
    if guarded.errors:
        raise guarded.errors[0]
    return data


class _Guarded(Transform):
    """Collects errors: one that left a loading thread would leave the others running while the process ends."""

    def __init__(self, prepare: PrepareCase) -> None:
        self.prepare = prepare
        self.errors: list[InputError] = []

    def __call__(self, case: Case) -> dict[str, Any]:
        try:
            return self.prepare(case)
        except InputError as error:
            self.errors.append(error)
            return {}


def _target_table(entries: Sequence[dict[str, Any]], known: np.ndarray, activation: str) -> Tensor:
    """Place in ``known`` → target (values, 1 or K) uint8: the channel for softmax, membership of each for sigmoid."""
    channels = entry_channels(entries, activation)
    width = 1 if activation == "softmax" else logit_channels(entries, activation)
    table = torch.zeros(len(known), width, dtype=torch.uint8)
    for entry, channel in zip(entries, channels, strict=True):
        for place in np.searchsorted(known, entry_sources(entry)):
            if activation == "softmax":
                table[place, 0] = channel
            else:
                table[place, channel] = 1
    return table


def _augmentation(settings: AugmentationSettings) -> Compose:
    keys = ("image", "target")
    flips = [RandFlipd(keys, prob=settings.flip, spatial_axis=axis, allow_missing_keys=True) for axis in range(3)]
    angle = math.radians(settings.rotation)
    return Compose(
        [
            *flips,
            RandRotate90d(keys, prob=settings.rotate90, max_k=3, allow_missing_keys=True),
            RandAffined(
                keys,
                prob=settings.affine,
                rotate_range=(angle,) * 3,
                scale_range=(settings.scaling,) * 3,
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
                allow_missing_keys=True,
            ),
            RandAdjustContrastd("image", prob=settings.contrast, gamma=settings.gamma),
            RandScaleIntensityd("image", factors=settings.scale_intensity, prob=settings.intensity),
            RandShiftIntensityd("image", offsets=settings.shift_intensity, prob=settings.intensity),
        ]
    )


def _seed_all(compose: Compose, random: np.random.RandomState) -> None:
    for transform in compose.transforms:
        if isinstance(transform, RandomizableTransform):
            transform.set_random_state(seed=int(random.randint(2**31)))


def _as_target(target: Tensor, activation: str) -> Tensor:
    return target[0].long() if activation == "softmax" else target.float()


def _plain(tensor: Tensor) -> Tensor:
    return tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor


def _some(places: np.ndarray) -> np.ndarray:
    """At most ``_PLACES`` of them, spread at random: a regular stride could meet one slice again and again."""
    return places if len(places) <= _PLACES else np.random.RandomState(0).choice(places, _PLACES, replace=False)
