"""How well two label maps agree, label by label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance
from scipy import ndimage


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
    prediction: np.ndarray, reference: np.ndarray, values: Sequence[int], spacing: Sequence[float]
) -> dict[int, LabelMetrics]:
    """Metrics of every value in ``values``.

    Args:
        prediction: (X, Y, Z) integers.
        reference: (X, Y, Z) integers, on the same grid.
        values: label values, above 0.
        spacing: voxel spacing along the three axes in mm.
    """
    voxel_ml = math.prod(spacing) / 1000
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
            hd95_mm=_hd95(ours, theirs, spacing) if len(boxes) == 2 else math.nan,
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


def _hd95(ours: np.ndarray, theirs: np.ndarray, spacing: Sequence[float]) -> float:
    # A rim of background: the surface finder ignores what touches the border of the array.
    masks = [torch.from_numpy(np.pad(mask, 1)[None, None]) for mask in (ours, theirs)]
    distance = compute_hausdorff_distance(*masks, include_background=True, percentile=95, spacing=list(spacing))
    return float(distance)
