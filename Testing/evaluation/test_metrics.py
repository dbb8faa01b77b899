"""Metrics on shapes whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance

from scdseg.evaluation import compare_label_maps, dice

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
SHEARED = np.array([[1, 0, 0.8, 5], [0, 1, 0, -7], [0, 0, 2, 0], [0, 0, 0, 1.0]])


def block(start: int, stop: int, value: int = 1) -> np.ndarray:
    labels = np.zeros((20, 12, 10), np.uint8)
    labels[start:stop, 4:8, 3:7] = value
    return labels


def test_equal_label_maps_agree_perfectly() -> None:
    metrics = compare_label_maps(block(2, 10), block(2, 10), [1], AFFINE)[1]
    assert metrics.dice == 1
    assert metrics.hd95_mm == 0
    assert metrics.volume_ml == metrics.reference_ml == pytest.approx(8 * 4 * 4 * 2 / 1000)


def test_half_overlap_has_the_dice_that_counting_gives() -> None:
    metrics = compare_label_maps(block(2, 10), block(6, 14), [1], AFFINE)[1]
    assert metrics.dice == pytest.approx(0.5)
    assert metrics.volume_ml == metrics.reference_ml


@pytest.mark.parametrize(("axis", "millimetres"), [(0, 3.0), (2, 6.0)])
def test_distance_of_shifted_plates_is_their_shift_in_millimetres(axis: int, millimetres: float) -> None:
    plate = np.zeros((16, 16, 16), np.uint8)
    index: list[slice | int] = [slice(3, 13)] * 3
    index[axis] = 5
    plate[tuple(index)] = 1
    metrics = compare_label_maps(np.roll(plate, 3, axis), plate, [1], AFFINE)[1]
    assert metrics.hd95_mm == pytest.approx(millimetres)
    assert metrics.dice == 0


def test_a_label_at_the_border_of_the_image_is_compared_like_any_other() -> None:
    inside = compare_label_maps(block(2, 10), block(4, 10), [1], AFFINE)[1]
    at_border = compare_label_maps(
        block(2, 10)[2:10, 4:8, 3:7].copy(), block(4, 10)[2:10, 4:8, 3:7].copy(), [1], AFFINE
    )[1]
    assert at_border == inside


def test_a_label_that_one_side_lacks_has_dice_0_and_no_distance() -> None:
    metrics = compare_label_maps(block(2, 10), block(2, 10, value=2), [1, 2, 3], AFFINE)
    assert metrics[1].dice == metrics[2].dice == 0
    assert math.isnan(metrics[1].hd95_mm)
    assert metrics[1].reference_ml == metrics[2].volume_ml == 0
    assert math.isnan(metrics[3].dice)


def test_distances_are_those_of_an_independent_implementation() -> None:
    draw = np.random.default_rng(0)
    ours, theirs = (np.pad(draw.random((9, 10, 11)) < share, 1) for share in (0.5, 0.02))
    masks = [torch.from_numpy(mask[None, None]) for mask in (ours, theirs)]
    expected = compute_hausdorff_distance(*masks, include_background=True, percentile=95, spacing=[1.0, 1.0, 2.0])
    metrics = compare_label_maps(ours.astype(np.uint8), theirs.astype(np.uint8), [1], AFFINE)[1]
    assert expected > 1
    assert metrics.hd95_mm == pytest.approx(float(expected), rel=1e-5)


def test_a_sheared_grid_has_its_own_volumes_and_distances() -> None:
    one, other = np.zeros((2, 12, 4, 4), np.uint8)
    one[2, 1, 1], other[5, 1, 3] = 1, 1
    metrics = compare_label_maps(one, other, [1], SHEARED)[1]
    assert metrics.volume_ml == pytest.approx(0.002)
    assert metrics.hd95_mm == pytest.approx(math.hypot(3 + 2 * 0.8, 2 * 2))


def test_dice_of_masks() -> None:
    assert dice(block(2, 10) > 0, block(6, 14) > 0) == pytest.approx(0.5)
    assert math.isnan(dice(np.zeros(3, bool), np.zeros(3, bool)))
