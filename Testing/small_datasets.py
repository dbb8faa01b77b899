"""Small synthetic data sets laid out as BTCV and MSD Task01 are: ``python Testing/small_datasets.py FOLDER``.

Organs and tumours are ellipsoids of their own brightness, so that a small network learns them in a minute.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np


def write_btcv(folder: Path, cases: int = 5) -> Path:
    """CT volumes with 13 organs and a list with training and validation cases; returns the list."""
    entries = []
    for number in range(1, cases + 1):
        random = np.random.default_rng(number)
        shape = (48 + 2 * number, 40, 36)
        grid = _grid(shape)
        image = np.full(shape, -1000.0, np.float32)
        label = np.zeros(shape, np.uint8)
        image[_ellipsoid(grid, np.array(shape) / 2, np.array(shape) / 2.2)] = 0.0
        for organ in range(1, 14):
            place = np.array([(organ % 4) - 1.5, (organ // 4) - 1.5, 0]) * (9, 7, 0)
            inside = _ellipsoid(grid, np.array(shape) / 2 + place + random.normal(0, 1, 3), random.uniform(3, 5, 3))
            image[inside], label[inside] = -300 + 45 * organ, organ
        image += random.normal(0, 8, shape).astype(np.float32)
        # One case is stored from left to right, as many are.
        turn = -1 if number == 2 else 1
        affine = np.diag([3.0 * turn, 3.0, 4.0, 1.0])
        names = {"image": f"imagesTr/img{number:04d}.nii.gz", "label": f"labelsTr/label{number:04d}.nii.gz"}
        _save(folder / names["image"], image[::turn].astype(np.int16), affine)
        _save(folder / names["label"], label[::turn], affine)
        entries.append(names)
    content = {
        "name": "BTCV",
        "labels": {str(n): f"organ {n}" for n in range(14)},
        "modality": {"0": "CT"},
        "training": entries[:-1],
        "validation": entries[-1:],
    }
    return _list(folder, content)


def write_msd_braintumour(folder: Path, cases: int = 5) -> Path:
    """4-D volumes of four contrasts with nested tumours and a list without validation cases; returns the list."""
    entries = []
    for number in range(1, cases + 1):
        random = np.random.default_rng(number)
        shape = (44, 40, 36)
        grid = _grid(shape)
        head = _ellipsoid(grid, np.array(shape) / 2, np.array(shape) / 2.3)
        centre = np.array(shape) / 2 + random.uniform(-6, 6, 3)
        label = np.zeros(shape, np.uint8)
        for value, size in ((1, 9.0), (2, 6.0), (3, 4.0)):
            label[_ellipsoid(grid, centre, size * random.uniform(0.9, 1.1, 3)) & head] = value
        contrasts = ((100, 200, 150, 120), (150, 80, 90, 110), (150, 90, 100, 260), (100, 220, 170, 140))
        image = np.stack([np.array(of, np.float32)[label] * head for of in contrasts], axis=-1)
        image = np.where(head[..., None], image + random.normal(0, 6, image.shape), 0).astype(np.float32)
        affine = np.diag([3.0, 3.0, 3.0, 1.0])
        names = {"image": f"./imagesTr/BRATS_{number:03d}.nii.gz", "label": f"./labelsTr/BRATS_{number:03d}.nii.gz"}
        _save(folder / names["image"], image, affine)
        _save(folder / names["label"], label, affine)
        entries.append(names)
    content = {
        "name": "BRATS",
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "numTraining": len(entries),
        "training": entries,
        "test": [],
    }
    return _list(folder, content)


def _grid(shape: tuple[int, int, int]) -> np.ndarray:
    return np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)


def _ellipsoid(grid: np.ndarray, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    return np.asarray((((grid - centre) / radii) ** 2).sum(-1) <= 1)


def _save(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


def _list(folder: Path, content: dict[str, object]) -> Path:
    file = folder / "dataset.json"
    file.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return file


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    for name, write in (("btcv", write_btcv), ("Task01_BrainTumour", write_msd_braintumour)):
        print(write(Path(sys.argv[1]) / name))
