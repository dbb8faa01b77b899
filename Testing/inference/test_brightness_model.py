"""The model that scores by brightness does so, and the engine finds its cube where the voxels are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from brightness_model import AFFINE, BRIGHT, TOKEN, write_brightness_model, write_cube
from scdseg import segment
from scdseg.bundle import Bundle
from scdseg.inference import Result
from scdseg.volumes import read_volume


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_brightness_model(tmp_path_factory.mktemp("models") / "brightness")


@pytest.fixture(scope="module")
def cube(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("cube") / "cube.nrrd"
    write_cube(path, bundle)
    return path


@pytest.fixture(scope="module")
def known(cube: Path) -> dict[str, Any]:
    return json.loads(cube.with_suffix(".json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def result(bundle: Bundle, cube: Path) -> Result:
    return segment(cube, bundle.path, device="cpu", precision="fp32")


def window_of(brightness: Tensor, generator: torch.Generator) -> Tensor:
    """A window whose patches have these mean brightnesses (36,), but voxels that differ."""
    texture = torch.rand((36, 8, 8, 8), generator=generator)
    patches = brightness[:, None, None, None] * texture / texture.mean(dim=(1, 2, 3), keepdim=True)
    return patches.reshape(4, 3, 3, 8, 8, 8).permute(0, 3, 1, 4, 2, 5).reshape(1, 1, 32, 24, 24)


def test_at_every_stage_scores_rise_strictly_with_the_mean_brightness_of_the_patch(bundle: Bundle) -> None:
    network, generator = bundle.load_network(), torch.Generator().manual_seed(0)
    brightness = torch.linspace(0, 1, 36)[torch.randperm(36, generator=generator)]
    window = window_of(brightness, generator)
    with torch.inference_mode():
        _, dense = network.forward_with_trace(window, keep_ratio=1.0)
        _, sparse = network.forward_with_trace(window, keep_ratio=bundle.keep_ratio)
    order = brightness.argsort()
    for scores in dense.scores:
        assert (scores[0, order].diff() > 0).all()
    ranked = sparse.stage.flatten()[order].tolist()
    assert ranked == [1] * 29 + [2] * 6 + [3]


def test_the_cube_fills_the_token_and_nothing_else(cube: Path, known: dict[str, Any]) -> None:
    """Which voxels lie in the box of the eight corners is told by the box's own edges."""
    volume = read_volume(cube)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-9)
    corners = np.array(known["corners_ras_mm"])
    edges = corners[[4, 2, 1]] - corners[0]
    np.testing.assert_allclose(np.linalg.norm(edges, axis=1), 16, rtol=1e-5)
    np.testing.assert_allclose(corners.mean(axis=0), known["center_ras_mm"], atol=1e-6)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in volume.array.shape), indexing="ij"), axis=-1)
    along = (index @ AFFINE[:3, :3].T + AFFINE[:3, 3] - corners[0]) @ np.linalg.inv(edges)
    inside = ((along >= 0) & (along < 1)).all(axis=-1)
    assert inside.sum() > 400
    np.testing.assert_array_equal(volume.array == 1000, inside)
    assert volume.array[~inside].max() <= 160


def test_the_cubes_token_is_the_most_important_and_the_only_one_kept_to_the_end(
    result: Result, known: dict[str, Any]
) -> None:
    importance, stage = result.importance.array, result.stage.array
    assert result.report["windows"]["count"] == 8
    assert list(stage.shape) == known["grid"]
    assert known["token"] == list(TOKEN)
    assert np.argwhere(stage == 3).tolist() == [known["token"]]
    assert importance[TOKEN] == 1
    assert np.argwhere(importance > 0.95).tolist() == [known["token"]]
    assert result.scores.array[TOKEN].tolist() == [1, 1]
    np.testing.assert_allclose((result.importance.affine @ [*TOKEN, 1])[:3], known["center_ras_mm"], atol=1e-4)


def test_the_cube_gets_the_label_of_bright_voxels_alone(result: Result, cube: Path, known: dict[str, Any]) -> None:
    bright, filled = result.labels.array == BRIGHT, read_volume(cube).array == 1000
    assert known["label"] == BRIGHT
    assert not bright[~filled].any()
    # Interpolation takes some of the cube's corners.
    assert bright.sum() > 0.98 * filled.sum()
    row = next(row for row in result.report["tokens"]["labels"] if row["value"] == BRIGHT)
    assert row == {"value": BRIGHT, "name": "bright", "tokens": 1, "importance": 1.0, "kept": [1.0, 1.0]}
