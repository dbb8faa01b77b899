"""Labels on the input's grid are those of logits interpolated there, however the work is cut up."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from torch import Tensor
from torch.nn import functional as F

from scdseg.bundle.labels import Code, Label
from scdseg.inference import restore
from scdseg.inference.restore import LabelRestorer
from scdseg.inference.windows import Rows

GRID = (24, 20, 16)
GRID_AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
CLASSES = 5
SHAPE = (40, 44, 30)


def turned(degrees: float) -> np.ndarray:
    """Affine of an input that lies askew in the grid and looks beyond it at some corners."""
    a = np.radians(degrees)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    affine[:3, 3] = (6, -3, 1.3)
    return affine


AFFINES = {
    "finer": np.array([[1.1, 0, 0, 0.3], [0, 0.9, 0, -2], [0, 0, 1.2, -0.7], [0, 0, 0, 1]]),
    "other axes": np.array([[0, 0, -1.3, 41], [1.1, 0, 0, 0.5], [0, 0.7, 0, -0.4], [0, 0, 0, 1]]),
    "askew": turned(25),
    "the same": GRID_AFFINE,
}


def labels(count: int) -> tuple[Label, ...]:
    code = Code("SCT", "0", "any")
    return tuple(Label(10 * n, f"label {n}", (1, 2, 3), code, code, None, None, n) for n in range(1, count))


def smooth_logits(seed: int) -> Tensor:
    """Regions with borders, and noise that makes third classes win between them."""
    generator = torch.Generator().manual_seed(seed)
    coarse = 6 * torch.randn(1, CLASSES, 6, 5, 4, generator=generator)
    noise = torch.randn(CLASSES, *GRID, generator=generator)
    return F.interpolate(coarse, size=GRID, mode="trilinear")[0] + 0.5 * noise


def expected(logits: Tensor, affine: np.ndarray, sigmoid: bool) -> tuple[np.ndarray, np.ndarray]:
    """Labels by MONAI's resampling of all logits, and how far each is from being another."""
    resample = SpatialResample(mode="bilinear", padding_mode="border", align_corners=False, dtype=torch.float64)
    image = MetaTensor(logits, affine=torch.from_numpy(GRID_AFFINE))
    found = resample(image, dst_affine=torch.from_numpy(affine), spatial_size=SHAPE).as_tensor()
    if sigmoid:
        values = torch.zeros(SHAPE, dtype=torch.uint8)
        for label in labels(CLASSES):
            values[found[label.channel] > 0] = label.value
        margin = found[1:].abs().amin(dim=0)
    else:
        values = 10 * found.argmax(dim=0).byte()
        best = found.topk(2, dim=0).values
        margin = best[0] - best[1]
    # Nothing is seen more than a voxel beyond the grid.
    index = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    place = (index @ affine[:3, :3].T + affine[:3, 3]) / 2
    seen = ((place > -1) & (place <= GRID)).all(axis=-1)
    return np.where(seen, values.numpy(), 0), np.where(seen, margin.numpy(), np.inf)


@pytest.mark.parametrize("chunk_bytes", [2**26, 2**15])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("name", AFFINES)
def test_labels_are_those_of_logits_interpolated_everywhere(
    name: str, activation: str, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "CHUNK_BYTES", chunk_bytes)
    logits = smooth_logits(3)
    restorer = LabelRestorer(SHAPE, AFFINES[name], GRID, GRID_AFFINE, labels(CLASSES), activation, CLASSES)
    for begin, end in pairwise((0, 8, 9, 24)):
        first = max(0, begin - 1)
        restorer.add(Rows(first, logits[:, first:end], end == GRID[0]))
    values, margin = expected(logits, AFFINES[name], activation == "sigmoid")
    assert len(np.unique(values)) == CLASSES
    differ = restorer.array != values
    assert (margin[differ] < 1e-4).all()
    assert differ.mean() < 1e-3


def test_one_label_everywhere_needs_no_interpolation() -> None:
    logits = torch.zeros(CLASSES, *GRID)
    logits[2] = 1
    affine = AFFINES["finer"]
    restorer = LabelRestorer(SHAPE, affine, GRID, GRID_AFFINE, labels(CLASSES), "softmax", CLASSES)
    restorer.add(Rows(0, logits, True))
    assert (restorer.array == np.where(np.isfinite(expected(logits, affine, False)[1]), 20, 0)).all()
