"""Preprocessing and the way back are exact, for any orientation, spacing and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor

from scdseg.bundle import Bundle, Intensity
from scdseg.errors import InputError
from scdseg.inference import restore
from scdseg.inference.preprocess import normalize_intensity, to_network_grid
from scdseg.inference.restore import LabelRestorer
from scdseg.inference.windows import sliding_windows, window_starts

SHAPE = (50, 40, 44)
ROTATION = nib.eulerangles.euler2mat(0.4, -0.3, 0.6)
AFFINES = {
    "network's grid": np.diag([2.0, 2.0, 2.0, 1.0]),
    "anisotropic": np.diag([1.0, 1.5, 5.0, 1.0]),
    "fine": np.diag([0.7, 0.7, 0.7, 1.0]),
    "LPS": np.array([[-2.0, 0, 0, 30], [0, -2, 0, 40], [0, 0, 2, -50], [0, 0, 0, 1]]),
    "permuted": np.array([[0, 0, 1.2, -5], [-1.8, 0, 0, 7], [0, 2.5, 0, 3], [0, 0, 0, 1]]),
    "oblique": np.block([[ROTATION * [1.7, 1.3, 3.0], np.array([[11.0], [-22.0], [33.0]])], [np.eye(4)[3:]]]),
    "sheared": np.array([[1.5, 0, 0.4, 0], [0, 1.5, 0, 0], [0, 0, 2.5, 0], [0, 0, 0, 1]]),
}


def ramp(affine: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A linear function of the place in mm on a grid: linear interpolation reproduces it exactly."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    return (world @ [0.7, -0.4, 0.5]).astype(np.float32)


@pytest.mark.parametrize("name", AFFINES)
def test_labels_return_to_the_voxels_that_they_belong_to(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Where a threshold on a linear function is the model, every voxel's label is known."""
    # Small chunks, so that borders between chunks are there.
    monkeypatch.setattr(restore, "CHUNK_BYTES", 40_000)
    bundle = replace(tiny_bundle, intensity=())
    affine = AFFINES[name]
    values = ramp(affine, SHAPE)
    threshold = float(np.quantile(values, 0.4))
    image = to_network_grid(values[None], affine, bundle)
    grid = tuple(image.shape[1:])
    assert all(n % 8 == 0 and n >= 16 for n in grid)

    def predict(windows: Tensor, starts: Sequence[tuple[int, int, int]]) -> Tensor:
        above = windows - threshold
        return torch.cat([torch.zeros_like(above), torch.full_like(above, -1e6), above], dim=1)

    labels = LabelRestorer(SHAPE, affine, grid, image.affine.numpy(), bundle.labels, "softmax", classes=3)
    starts = window_starts(grid, (16, 16, 16), 8, 0.5)
    assert len({x for x, _, _ in starts}) > 1
    for rows in sliding_windows(image.as_tensor(), starts, starts, (16, 16, 16), 3, 1, torch.device("cpu"), predict):
        labels.add(rows)
    clear = np.abs(values - threshold) > 1e-2
    # On the volume's faces, interpolation and padding leave the linear function.
    clear[[0, -1]] = clear[:, [0, -1]] = clear[:, :, [0, -1]] = False
    clear &= away_from_outside(affine, SHAPE, image.affine.numpy(), grid)
    expected = np.where(values > threshold, 17, 0)
    assert clear.sum() > 0.5 * values.size
    np.testing.assert_array_equal(labels.array[clear], expected[clear])


def away_from_outside(
    affine: np.ndarray, shape: Sequence[int], grid_affine: np.ndarray, grid: Sequence[int]
) -> np.ndarray:
    """Input voxels whose neighbours on the network's grid were all interpolated inside the input."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    to_grid = np.linalg.inv(grid_affine) @ affine
    base = np.floor(index @ to_grid[:3, :3].T + to_grid[:3, 3])
    back = np.linalg.inv(to_grid)
    inside = np.ones(shape, dtype=bool)
    for corner in np.ndindex(2, 2, 2):
        place = np.clip(base + corner, 0, np.array(grid) - 1) @ back[:3, :3].T + back[:3, 3]
        inside &= ((place >= -1e-4) & (place <= np.array(shape) - 1 + 1e-4)).all(axis=-1)
    return inside


@pytest.mark.parametrize("name", AFFINES)
def test_the_networks_grid_has_the_bundles_spacing_orientation_and_place(tiny_bundle: Bundle, name: str) -> None:
    affine = AFFINES[name]
    image = to_network_grid(ramp(affine, SHAPE)[None], affine, replace(tiny_bundle, intensity=()))
    grid_affine = image.affine.numpy()
    assert nib.aff2axcodes(grid_affine) == ("R", "A", "S")
    np.testing.assert_allclose(np.linalg.norm(grid_affine[:3, :3], axis=0), 2.0, rtol=1e-5)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape[1:]), indexing="ij"), axis=-1)
    place = index @ (np.linalg.inv(affine) @ grid_affine)[:3, :3].T + (np.linalg.inv(affine) @ grid_affine)[:3, 3]
    inside = ((place > 0.01) & (place < np.array(SHAPE) - 1.01)).all(axis=-1)
    difference = np.abs(image.as_tensor().numpy()[0] - ramp(grid_affine, image.shape[1:]))
    assert inside.sum() > 500
    assert difference[inside].max() < 1e-2


def test_a_volume_smaller_than_a_window_lies_in_the_middle_of_background(tiny_bundle: Bundle) -> None:
    voxels = np.random.default_rng(0).random((1, 6, 8, 10)).astype(np.float32) + 1
    image = to_network_grid(voxels, AFFINES["network's grid"], tiny_bundle)
    assert tuple(image.shape) == (1, 16, 16, 16)
    np.testing.assert_allclose(image.affine.numpy()[:3, 3], [-10, -8, -6])
    inner = image.as_tensor()[0, 5:11, 4:12, 3:13]
    assert inner.mean() > 0.3
    outside = image.as_tensor().clone()
    outside[0, 5:11, 4:12, 3:13] = 0
    assert outside.abs().max() == 0


def test_cropping_keeps_the_foreground_and_its_place(tiny_bundle: Bundle) -> None:
    voxels = np.full((1, 40, 40, 40), -1000, dtype=np.float32)
    voxels[0, 10:34, 12:34, 14:34] = np.random.default_rng(0).random((24, 22, 20)) + 5
    bundle = replace(tiny_bundle, intensity=(), crop_foreground=True)
    image = to_network_grid(voxels, AFFINES["network's grid"], bundle)
    assert tuple(image.shape) == (1, 24, 24, 24)
    corner = np.linalg.inv(image.affine.numpy()) @ (AFFINES["network's grid"] @ [10, 12, 14, 1])
    i, j, k = np.round(corner[:3]).astype(int)
    np.testing.assert_allclose(image.as_tensor()[0, i, j, k], voxels[0, 10, 12, 14], rtol=1e-5)


def test_intensity_steps_do_what_their_names_say() -> None:
    from monai.data import MetaTensor

    voxels = torch.linspace(0, 100, 1000).reshape(1, 10, 10, 10)
    voxels[voxels < 20] = 0
    image = MetaTensor(torch.cat([voxels, 3 * voxels]))

    def apply(name: str, **arguments: float) -> Tensor:
        return normalize_intensity(image.clone(), [Intensity(name, arguments)], ["T1", "T2"]).as_tensor()

    clipped = apply("clip_range", a_min=10, a_max=60, b_min=-1, b_max=1)
    torch.testing.assert_close(clipped[0], ((voxels[0] - 10) / 25 - 1).clamp(-1, 1))
    scaled = apply("percentiles", lower=10, upper=90, b_min=0, b_max=1, nonzero=True)
    low, high = np.percentile(voxels[voxels != 0].numpy(), (10, 90))
    torch.testing.assert_close(scaled[0], ((voxels[0] - low) / (high - low)).clamp(0, 1))
    torch.testing.assert_close(scaled[1], scaled[0])
    normal = apply("zscore", nonzero=True)
    tissue = voxels[0] != 0
    for channel in normal:
        assert channel[tissue].mean().abs() < 1e-4
        assert channel[tissue].std() == pytest.approx(1, abs=1e-2)
        assert (channel[~tissue] == 0).all()


def test_an_image_of_two_values_with_equal_percentiles_is_refused() -> None:
    from monai.data import MetaTensor

    image = MetaTensor(torch.zeros(1, 10, 10, 10))
    step = Intensity("percentiles", {"lower": 1, "upper": 99, "b_min": 0, "b_max": 1, "nonzero": True})
    for value in (1, 0):
        image[0, 0, 0, 0] = value
        with pytest.raises(InputError, match="image T1 has no contrast"):
            normalize_intensity(image, [step], ["T1"])


def test_sigmoid_channels_are_painted_in_the_order_of_the_labels(tiny_bundle: Bundle) -> None:
    whole, core = (replace(label, channel=i) for i, label in enumerate(tiny_bundle.labels))
    affine = np.eye(4)
    logits = torch.full((2, 8, 8, 8), -1.0)
    logits[0, :, :, 2:] = 1
    logits[1, :, :, 5:] = 0.1
    for labels, expected in (((whole, core), [0, 2, 17]), ((core, whole), [0, 2, 2])):
        restorer = LabelRestorer((8, 8, 8), affine, (8, 8, 8), affine, labels, "sigmoid", classes=2)
        restorer.add(restore.Rows(0, logits, True))
        assert restorer.array[3, 3, [0, 3, 6]].tolist() == expected
