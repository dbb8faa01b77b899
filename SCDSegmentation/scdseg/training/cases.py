"""Lists of images with labels in the Medical Segmentation Decathlon's JSON format, checked before training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scdseg.errors import InputError
from scdseg.training.settings import ImageListSettings
from scdseg.volumes import read_header, read_volume, read_voxels, require_same_grid


@dataclass(frozen=True)
class Case:
    """One examination: its images, and the labels drawn on them.

    Args:
        name: of the first image, without its ending.
        images: one file with all channels, or one file a channel.
        label: label map on the images' grid; None in a list of unlabelled images.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None


def read_cases(settings: ImageListSettings, root: Path, seed: int) -> tuple[list[Case], list[Case]]:
    """Training and validation cases of a list.

    Raises:
        InputError: if the list cannot be read, an entry is none, a file is missing, a case is in both lists, or nothing
            is left to train on.
    """
    file = root / settings.list
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        training = content[settings.training]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"{file}: cannot be read as a JSON list of cases ({error}); set --data.root to its folder"
        ) from error
    except (KeyError, TypeError) as error:
        raise InputError(f"{file}: has no list {settings.training!r}; name its key in data.training") from error
    validation = content.get(settings.validation, [])
    for key, entries in ((settings.training, training), (settings.validation, validation)):
        if not isinstance(entries, list):
            raise InputError(f"{file}: {key!r} should be a list of cases, not {entries!r}")
    found = [_case(entry, root, file) for entry in training]
    held_out = [_case(entry, root, file) for entry in validation]
    if not held_out and settings.validation_share > 0 and len(found) > 1:
        order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed)).tolist()
        count = min(max(1, round(settings.validation_share * len(found))), len(found) - 1)
        held_out = [found[index] for index in sorted(order[:count])]
        found = [found[index] for index in sorted(order[count:])]
    twice = {case.images for case in found} & {case.images for case in held_out}
    if twice:
        raise InputError(f"{file}: {sorted(twice)[0][0].name} is in the lists for training and for validation")
    if not found:
        raise InputError(f"{file}: the list {settings.training!r} is empty; nothing is left to train on")
    return found, held_out


def check_cases(cases: Sequence[Case], channels: Sequence[str]) -> None:
    """Hold every case's headers against the recipe: files, channels, geometry.

    Raises:
        InputError: naming the first file that does not fit, and why.
    """
    for case in cases:
        images = [read_header(path, several=True) for path in case.images]
        count = sum(header.values for header in images)
        if count != len(channels):
            raise InputError(
                f"{case.images[0]}: has {count} channels, the recipe has {len(channels)} ({', '.join(channels)}); "
                "correct export.channels and network.in_channels, or the list"
            )
        headers, names = images, ["image"] * len(images)
        if case.label:
            label = read_header(case.label, several=True)
            if label.values != 1:
                raise InputError(f"{case.label}: a label map has one value a voxel, this has {label.values}")
            headers, names = [*images, label], [*names, "label"]
        require_same_grid(headers, names)


def read_images(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (C, X, Y, Z) float32 of a case's images and their affine (4, 4), as they are read for a segmentation.

    Raises:
        InputError: naming the file, if it is damaged or empty.
    """
    volumes = [read_volume(read_header(path, several=True)) for path in case.images]
    arrays = [v.array if v.array.ndim == 4 else v.array[..., None] for v in volumes]
    return np.ascontiguousarray(np.moveaxis(np.concatenate(arrays, axis=-1), -1, 0)), volumes[0].affine


def read_label(path: Path, known: np.ndarray) -> np.ndarray:
    """Labels (X, Y, Z) of a case as places in the ascending values ``known``.

    Raises:
        InputError: naming the file, if it is damaged or holds other values.
    """
    array = read_voxels(read_header(path))
    place = np.searchsorted(known, array).clip(max=len(known) - 1)
    strange = np.unique(array[known[place] != array])
    if strange.size:
        values = ", ".join(f"{value:g}" for value in strange[:20])
        raise InputError(
            f"{path}: holds label values that are not among the recipe's labels: {values}; add each to the labels' "
            "JSON, to an entry's source or to data.background"
        )
    return place


def _case(entry: Any, root: Path, file: Path) -> Case:
    if isinstance(entry, str):
        entry = {"image": entry}
    images = entry.get("image") if isinstance(entry, dict) else None
    images = [images] if isinstance(images, str) else images
    label = entry.get("label") if isinstance(entry, dict) else None
    if not isinstance(images, list) or not images or not all(isinstance(name, str) for name in images):
        raise InputError(f"{file}: {entry!r} is no case; it should have an image (and a label), as in MSD's lists")
    paths = tuple(root / name for name in images)
    missing = [path for path in (*paths, *((root / label,) if label else ())) if not path.is_file()]
    if missing:
        raise InputError(f"{missing[0]}: is in the list {file.name} but not there; correct the list or data.root")
    return Case(paths[0].name.split(".")[0], paths, root / label if label else None)
