"""Lists of images with labels in the Medical Segmentation Decathlon's JSON format, checked before training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from scdseg.errors import InputError
from scdseg.training.settings import ImageListSettings
from scdseg.volumes import read_header, read_volume
from scdseg.volumes.checks import check_affine

_NIFTI = (".nii", ".nii.gz")
# Rounding of headers; more than a tenth of a voxel between image and label is another place.
_GRID_TOLERANCE_VOXELS = 0.1


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
    found = [_case(entry, root, file) for entry in training]
    held_out = [_case(entry, root, file) for entry in content.get(settings.validation, [])]
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
        count = 0
        first: tuple[tuple[int, ...], np.ndarray] | None = None
        for path in (*case.images, *((case.label,) if case.label else ())):
            shape, affine, values = _header(path)
            if first is None:
                first = (shape, affine)
            elif shape != first[0]:
                raise InputError(
                    f"{path}: has {_times(shape)} voxels, but {case.images[0].name} has {_times(first[0])}; "
                    "resample them to one grid or take the case off the list"
                )
            elif np.abs(affine - first[1]).max() > _GRID_TOLERANCE_VOXELS * np.abs(affine[:3, :3]).max():
                raise InputError(f"{path}: lies elsewhere than {case.images[0].name}; take the case off the list")
            if path == case.label:
                if values != 1:
                    raise InputError(f"{path}: a label map has one value a voxel, this has {values}")
            else:
                count += values
        if count != len(channels):
            raise InputError(
                f"{case.images[0]}: has {count} channels, the recipe has {len(channels)} ({', '.join(channels)}); "
                "correct export.channels and network.in_channels, or the list"
            )


def read_images(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (C, X, Y, Z) float32 of a case's images and their affine (4, 4).

    Raises:
        InputError: naming the file, if it is damaged or not finite.
    """
    arrays, affine = [], np.eye(4)
    for path in case.images:
        if _is_nifti(path):
            array, affine = _nifti(path)
            array = array.astype(np.float32)
            if not np.isfinite(array).all():
                raise InputError(f"{path}: has voxels that are no number; repair it or take the case off the list")
        else:
            volume = read_volume(path)
            array, affine = volume.array, volume.affine
        arrays.append(array if array.ndim == 4 else array[..., None])
    return np.ascontiguousarray(np.moveaxis(np.concatenate(arrays, axis=-1), -1, 0)), affine


def read_label(path: Path, known: Sequence[int]) -> np.ndarray:
    """Label values (X, Y, Z) uint8 of a case.

    Raises:
        InputError: naming the file, if it is damaged or holds values that are not ``known``.
    """
    array = _nifti(path)[0] if _is_nifti(path) else read_volume(path).array
    array = array[..., 0] if array.ndim == 4 else array
    values = np.unique(array)
    strange = sorted(set(values.tolist()) - {0, *known})
    if strange:
        raise InputError(
            f"{path}: holds the label value {strange[0]:g}, which is not among the recipe's labels; add it to "
            "the labels' JSON, to an entry's source or to data.background"
        )
    return array.astype(np.uint8)


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


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(_NIFTI)


def _header(path: Path) -> tuple[tuple[int, ...], np.ndarray, int]:
    """Voxels along the three axes, affine, and values a voxel."""
    if not _is_nifti(path):
        header = read_header(path)
        return header.shape, header.affine, 1
    try:
        image: Any = nib.load(path)
        shape, affine = image.shape, np.asarray(image.affine, dtype=np.float64)
    except Exception as error:
        raise InputError(f"{path}: cannot be read ({error}); repair it or take the case off the list") from error
    if len(shape) not in (3, 4):
        raise InputError(f"{path}: is {len(shape)}-D; 3-D volumes, or 4-D ones of several channels, are trained on")
    check_affine(path, affine)
    return tuple(shape[:3]), affine, shape[3] if len(shape) == 4 else 1


def _nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        image: Any = nib.load(path)
        return np.asarray(image.dataobj), np.asarray(image.affine, dtype=np.float64)
    except Exception as error:
        raise InputError(f"{path}: is damaged ({error}); repair it or take the case off the list") from error


def _times(shape: Sequence[int]) -> str:
    return "×".join(str(n) for n in shape)
