"""How well two label maps agree, label by label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree


@dataclass(frozen=True)
class LabelMetrics:
    """Agreement on one label.

    Args:
        dice: Dice coefficient in [0, 1]; NaN if both label maps lack the label.
        hd95_mm: 95 % Hausdorff distance of the surfaces in mm, the larger of the two directions; NaN if either label
            map lacks the label.
        volume_ml: volume of the label in the prediction.
        reference_ml: volume of the label in the reference.
    """

    dice: float
    hd95_mm: float
    volume_ml: float
    reference_ml: float


def compare_label_maps(
    prediction: np.ndarray, reference: np.ndarray, values: Sequence[int], affine: np.ndarray
) -> dict[int, LabelMetrics]:
    """Metrics of every value in ``values``.

    Args:
        prediction: (X, Y, Z) integers.
        reference: (X, Y, Z) integers, on the same grid.
        values: label values, above 0.
        affine: (4, 4), voxel index → mm, of both; its axes may be at any angle.
    """
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    boxes_prediction, boxes_reference = (
        ndimage.find_objects(labels, max(values)) for labels in (prediction, reference)
    )
    metrics = {}
    for value in values:
        boxes = [box for box in (boxes_prediction[value - 1], boxes_reference[value - 1]) if box]
        here = _bounding_box(boxes)
        ours, theirs = prediction[here] == value, reference[here] == value
        metrics[value] = LabelMetrics(
            dice=dice(ours, theirs),
            hd95_mm=_hd95(ours, theirs, affine) if len(boxes) == 2 else math.nan,
            volume_ml=int(np.count_nonzero(ours)) * voxel_ml,
            reference_ml=int(np.count_nonzero(theirs)) * voxel_ml,
        )
    return metrics


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Dice coefficient of two masks; NaN if both are empty."""
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference))
    return 2 * int(np.count_nonzero(prediction & reference)) / total if total else math.nan


def _bounding_box(boxes: Sequence[tuple[slice, ...]]) -> tuple[slice, ...]:
    """Smallest box around all boxes; an empty one around none."""
    if not boxes:
        return (slice(0, 0),) * 3
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))


def _hd95(ours: np.ndarray, theirs: np.ndarray, affine: np.ndarray) -> float:
    # Distance transforms know right-angled grids only; the points of the surfaces know any.
    surfaces = [_surface(mask, affine) for mask in (ours, theirs)]
    there, back = (KDTree(to).query(of)[0] for of, to in (surfaces, surfaces[::-1]))
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def _surface(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Places (N, 3) in mm, up to a shift, of the voxels that have a face neighbour outside the mask."""
    return np.argwhere(mask & ~ndimage.binary_erosion(mask)) @ affine[:3, :3].T
