"""The models that ship do on the sample volume what their cards say."""

from __future__ import annotations

import numpy as np
import pytest

from scdseg import segment
from scdseg.bundle import find_bundle, find_bundles
from scdseg.inference import Result
from scdseg.resources import resource_dir, sample_volume

PAIRS = [(2, 41), (3, 42), (4, 43), (8, 47), (10, 49), (11, 50), (12, 51), (13, 52), (17, 53), (18, 54), (26, 58)]


@pytest.fixture(scope="module")
def brain() -> Result:
    return segment(sample_volume(), model="brain-structures", device="cpu")


def test_every_shipped_folder_is_a_sound_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCDSEG_MODELS", raising=False)
    folders = {p.name for p in (resource_dir() / "Models").iterdir() if p.is_dir()}
    bundles, problems = find_bundles()
    assert not problems
    assert folders == {"brain-structures"} <= {bundle.name for bundle in bundles}
    assert find_bundle("brain-structures").bytes < 20e6


def test_all_structures_are_found_and_the_brain_has_a_brains_size(brain: Result) -> None:
    ml = {label["value"]: label["ml"] for label in brain.report["labels"]}
    assert min(ml.values()) > 0.1
    assert 1100 < sum(volume for value, volume in ml.items() if value != 24) < 1800
    assert brain.report["warnings"] == []


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_left_is_left_and_both_sides_are_alike(brain: Result, left: int, right: int) -> None:
    def voxels(value: int) -> np.ndarray:
        index = np.argwhere(brain.labels.array == value)
        return index @ brain.labels.affine[:3, :3].T + brain.labels.affine[:3, 3]

    ours, theirs = voxels(left), voxels(right)
    assert ours[:, 0].mean() < -3  # mm; x grows to the right
    assert theirs[:, 0].mean() > 3
    assert 0.6 < len(ours) / len(theirs) < 1.7


def test_the_brain_matters_more_than_the_air(brain: Result) -> None:
    from nibabel import Nifti1Image
    from nibabel.processing import resample_from_to

    tokens = Nifti1Image(brain.importance.array, brain.importance.affine)
    grid = (brain.labels.array.shape, brain.labels.affine)
    importance = np.asarray(resample_from_to(tokens, grid, order=0, cval=np.nan).dataobj)
    assert 0 <= brain.importance.array.min() <= brain.importance.array.max() <= 1
    inside, outside = importance[brain.labels.array > 0], importance[brain.labels.array == 0]
    assert np.nanmean(inside) > np.nanmean(outside) + 0.1
