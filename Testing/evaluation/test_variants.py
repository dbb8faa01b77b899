"""Changed copies of an image show the same anatomy, and their labels find the way back."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from scdseg.evaluation import dice
from scdseg.evaluation.variants import Variant, variants

AFFINE = np.array([[0.0, -1.1, 0, 40], [1.0, 0, 0, -30], [0, 0, 1.2, -50], [0, 0, 0, 1]])
SHAPE = (48, 56, 52)
MIRROR = {1: 2, 2: 1}


def head() -> np.ndarray:
    """A blob of intensity 100 with a bright left (label 1) and a dark right (label 2) structure."""
    places = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    world = places @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    image = 100.0 * (np.linalg.norm(world - [10, -8, -20], axis=-1) < 20)
    image[np.linalg.norm(world - [2, -8, -20], axis=-1) < 6] = 200
    image[np.linalg.norm(world - [18, -4, -16], axis=-1) < 6] = 50
    return image.astype(np.float32)


def threshold(image: np.ndarray) -> np.ndarray:
    """A stand-in for a model: labels by intensity."""
    return np.where(image > 150, 1, np.where((image > 30) & (image < 75), 2, 0)).astype(np.uint8)


COPIES = {variant.name: variant for variant in variants(head(), AFFINE)}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_labels_of_a_copy_come_back_to_the_first_grid(copy: Variant) -> None:
    expected = threshold(head())
    labels = threshold(copy.array)
    if copy.mirrored:  # the bright structure lies on the right now, and a model would name it so
        labels = np.choose(labels, [0, 2, 1]).astype(np.uint8)
    back = copy.labels_on_first_grid(labels, SHAPE, AFFINE, MIRROR)
    reach = copy.reach(SHAPE, AFFINE)
    assert dice((back == 1) & reach, (expected == 1) & reach) > 0.85


def test_there_are_all_kinds_of_copies() -> None:
    codes = {"".join(nib.aff2axcodes(copy.affine)) for copy in COPIES.values()}
    assert {"LAS", "LPS", "PIR"} <= codes
    assert sum(copy.mirrored for copy in COPIES.values()) == 1
    assert sum("rotated" in name for name in COPIES) == 3


@pytest.mark.parametrize("name", [name for name in COPIES if name.startswith("stored")])
def test_storage_changes_nothing_in_patient_space(name: str) -> None:
    back = nib.Nifti1Image(COPIES[name].array, COPIES[name].affine)
    first = nib.Nifti1Image(head(), AFFINE)
    straight = [nib.as_closest_canonical(image) for image in (back, first)]
    np.testing.assert_allclose(straight[0].affine, straight[1].affine)
    np.testing.assert_array_equal(straight[0].get_fdata(), straight[1].get_fdata())


@pytest.mark.parametrize("name", [name for name in COPIES if "rotated" in name])
def test_a_rotated_head_lies_elsewhere_but_keeps_its_volume(name: str) -> None:
    copy = COPIES[name]
    assert (copy.array > 50).sum() == pytest.approx((head() > 50).sum(), rel=0.03)
    stays = copy.labels_on_first_grid(threshold(copy.array), SHAPE, AFFINE, {})
    unmoved = Variant(copy.name, copy.array, copy.affine, copy.affine)
    moves = unmoved.labels_on_first_grid(threshold(copy.array), SHAPE, AFFINE, {})
    assert dice(moves == 1, threshold(head()) == 1) < dice(stays == 1, threshold(head()) == 1)


def test_the_coarse_copy_averages() -> None:
    smooth = gaussian_filter(head(), 4)
    coarse = next(v for v in variants(smooth, AFFINE) if "twice" in v.name)
    assert coarse.array.shape == tuple(n // 2 for n in SHAPE)
    assert coarse.array.mean() == pytest.approx(smooth.mean(), rel=1e-4)
    np.testing.assert_allclose(np.linalg.norm(coarse.affine[:3, :3], axis=0), [2.0, 2.2, 2.4])


def test_only_the_cropped_copy_does_not_reach_everywhere() -> None:
    for name, copy in COPIES.items():
        share = copy.reach(SHAPE, AFFINE).mean()
        assert share == pytest.approx(0.84**3, abs=0.03) if "cropped" in name else share > 0.85
