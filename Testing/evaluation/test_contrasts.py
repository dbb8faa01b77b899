"""The contrasts that a model is held against look like what they are called, and show one head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning", reason="synthesis belongs to the training code")

from scdseg.evaluation.contrasts import ContrastScan, contrast_scans
from scdseg.training.recipe import load_recipe
from scdseg.training.synthetic import read_heads

WHITE, FLUID = 1, 3  # channels of the tiny recipe


@pytest.fixture(scope="module")
def scans(tiny_recipe: Path) -> dict[str, ContrastScan]:
    recipe = load_recipe(tiny_recipe)
    contrast = {0: (0.0, 0.0), 2: (0.8, 0.0), 17: (0.5, 0.0), 24: (0.2, 0.0), 516: (0.5, 0.0)}
    quiet = replace(
        recipe.synthesis, contrast=contrast, bias_field=0.0, gamma=0.0, thick_slices=0.0, brain_extracted=0.0
    )
    recipe = replace(recipe, synthesis=quiet)
    scheme, _, held_out = read_heads(recipe)
    return {scan.contrast: scan for scan in contrast_scans(recipe, scheme, held_out[0], seed=5)}


def mean(scan: ContrastScan, channel: int) -> float:
    return float(scan.image[scan.target == channel].mean())


def test_fluid_is_dark_as_listed_and_bright_otherwise(scans: dict[str, ContrastScan]) -> None:
    assert mean(scans["listed"], FLUID) < mean(scans["listed"], WHITE)
    assert mean(scans["inverted"], FLUID) > mean(scans["inverted"], WHITE)
    assert mean(scans["T2-like"], FLUID) > mean(scans["T2-like"], WHITE)


def test_all_contrasts_show_one_head(scans: dict[str, ContrastScan]) -> None:
    assert np.array_equal(scans["listed"].target, scans["inverted"].target)
    assert np.array_equal(scans["listed"].target, scans["T2-like"].target)
    volumes = {
        name: (scan.target > 0).sum() * abs(np.linalg.det(scan.affine[:3, :3])) / 1000 for name, scan in scans.items()
    }
    assert volumes["listed, 1 × 1 × 5 mm"] == pytest.approx(volumes["listed"], rel=0.1)


def test_thick_slices_are_averages_of_fine_ones(scans: dict[str, ContrastScan]) -> None:
    scan = scans["listed, 1 × 1 × 5 mm"]
    assert scan.image.shape == scan.target.shape == (224, 256, 44)
    assert np.diag(scan.affine).tolist() == [1, 1, 5, 1]
    assert mean(scan, FLUID) < mean(scan, WHITE)
