"""What was made faster finds what it found before: the sample volume, against the results of the plain way.

``data/sample_results`` holds labels and token importance as they were computed with the model that ships in single
precision, every window, every voxel's logits interpolated, weights as autocast takes them (commit 116f461).
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scdseg import segment
from scdseg.evaluation import dice
from scdseg.resources import sample_volume

RESULTS = Path(__file__).parent / "data" / "sample_results"


def expected(name: str) -> np.ndarray:
    return np.asarray(nib.load(RESULTS / f"{name}.nii.gz").dataobj)


@pytest.mark.parametrize(
    ("precision", "same_labels", "mean_dice", "importance"),
    [("fp32", 0.99999, 0.9999, 1e-4), ("bf16", 0.998, 0.99, 0.02)],
)
def test_labels_and_importance_of_the_sample_volume_are_those_of_before(
    precision: str, same_labels: float, mean_dice: float, importance: float
) -> None:
    result = segment(sample_volume(), "brain-structures", device="cpu", precision=precision)
    labels = expected("labels")
    assert np.mean(result.labels.array == labels) >= same_labels
    scores = [dice(result.labels.array == value, labels == value) for value in np.unique(labels)[1:]]
    assert len(scores) > 25
    assert np.mean(scores) >= mean_dice
    difference = np.abs(result.importance.array - expected("importance"))
    assert np.quantile(difference, 0.99) <= importance
