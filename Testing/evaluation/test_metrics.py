"""Metrics on shapes whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scdseg.evaluation import compare_label_maps, dice

SPACING = (1.0, 1.0, 2.0)


def block(start: int, stop: int, value: int = 1) -> np.ndarray:
    labels = np.zeros((20, 12, 10), np.uint8)
    labels[start:stop, 4:8, 3:7] = value
    return labels


def test_equal_label_maps_agree_perfectly() -> None:
    metrics = compare_label_maps(block(2, 10), block(2, 10), [1], SPACING)[1]
    assert metrics.dice == 1
    assert metrics.hd95_mm == 0
    assert metrics.volume_ml == metrics.reference_ml == pytest.approx(8 * 4 * 4 * 2 / 1000)


def test_half_overlap_has_the_dice_that_counting_gives() -> None:
    metrics = compare_label_maps(block(2, 10), block(6, 14), [1], SPACING)[1]
    assert metrics.dice == pytest.approx(0.5)
    assert metrics.volume_ml == metrics.reference_ml


@pytest.mark.parametrize(("axis", "millimetres"), [(0, 3.0), (2, 6.0)])
def test_distance_of_shifted_plates_is_their_shift_in_millimetres(axis: int, millimetres: float) -> None:
    plate = np.zeros((16, 16, 16), np.uint8)
    index: list[slice | int] = [slice(3, 13)] * 3
    index[axis] = 5
    plate[tuple(index)] = 1
    metrics = compare_label_maps(np.roll(plate, 3, axis), plate, [1], SPACING)[1]
    assert metrics.hd95_mm == pytest.approx(millimetres)
    assert metrics.dice == 0


def test_a_label_at_the_border_of_the_image_is_compared_like_any_other() -> None:
    inside = compare_label_maps(block(2, 10), block(4, 10), [1], SPACING)[1]
    at_border = compare_label_maps(
        block(2, 10)[2:10, 4:8, 3:7].copy(), block(4, 10)[2:10, 4:8, 3:7].copy(), [1], SPACING
    )[1]
    assert at_border == inside


def test_a_label_that_one_side_lacks_has_dice_0_and_no_distance() -> None:
    metrics = compare_label_maps(block(2, 10), block(2, 10, value=2), [1, 2, 3], SPACING)
    assert metrics[1].dice == metrics[2].dice == 0
    assert math.isnan(metrics[1].hd95_mm)
    assert metrics[1].reference_ml == metrics[2].volume_ml == 0
    assert math.isnan(metrics[3].dice)


def test_dice_of_masks() -> None:
    assert dice(block(2, 10) > 0, block(6, 14) > 0) == pytest.approx(0.5)
    assert math.isnan(dice(np.zeros(3, bool), np.zeros(3, bool)))
