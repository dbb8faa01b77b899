"""For every test: no GPU tests where there is no GPU, and no models but those that ship or that the test makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import numpy as np

    from scdseg.bundle import Bundle


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu_tests = [item for item in items if "gpu" in item.keywords]
    if not gpu_tests:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu_tests:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def no_user_models(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hide the models of whoever runs the tests: platformdirs looks below these folders."""
    home: Path = tmp_path_factory.mktemp("home")
    monkeypatch.delenv("SCDSEG_MODELS", raising=False)
    for variable in ("HOME", "XDG_DATA_HOME", "LOCALAPPDATA", "USERPROFILE"):
        monkeypatch.setenv(variable, str(home))


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model with random weights: windows of 16 voxels of 2 mm, two pruning stages, two labels."""
    from tiny_model import write_tiny_model

    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with everything it needs: label maps of three heads of nested ellipsoids, their labels, and a network of
    16-voxel windows that trains in seconds. Sections that a recipe may leave out are left out.
    """
    import nibabel as nib
    import numpy as np
    import yaml

    folder = tmp_path_factory.mktemp("training")
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (40, 48, 40)), indexing="ij"), axis=-1)

    def inside(centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
        return np.asarray((((grid - centre) / radii) ** 2).sum(-1) <= 1)

    for number, size in enumerate((1.0, 0.9, 0.95)):
        head = np.zeros(grid.shape[:3], np.int16)
        head[inside((20, 23, 20), (18, 22, 18))] = 516  # scalp
        head[inside((20, 23, 20), (15 * size, 19 * size, 15 * size))] = 24  # fluid
        brain = inside((20, 23, 20), (13 * size, 17 * size, 13 * size))
        left = grid[..., 0] < 20  # RAS+: x grows to the right
        head[brain & left], head[brain & ~left] = 2, 41
        head[inside((13, 22, 20), (4 * size, 5, 4))] = 17
        head[inside((27, 22, 20), (4 * size, 7, 4))] = 53
        head[inside((12, 32, 20), (2, 2, 2))] = 25  # a lesion of the left side, which has no label of its own
        # One head is stored from right to left, as many are.
        axes, stored = ((-4.0, 4.0, 4.0), head[::-1]) if number == 1 else ((4.0, 4.0, 4.0), head)
        (folder / "heads").mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(stored, np.diag([*axes, 1.0])), folder / "heads" / f"person_{number}.nii.gz")

    category = {"scheme": "SCT", "value": "123037004", "meaning": "Anatomical Structure"}
    labels = [
        {"value": value, "name": name, "color": [value, 0, 0], "category": category, "type": category, "mirror": mirror}
        for value, name, mirror in (
            (2, "left white matter", 41),
            (17, "left hippocampus", 53),
            (24, "fluid", None),
            (41, "right white matter", 2),
            (53, "right hippocampus", 17),
        )
    ]
    (folder / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    recipe = {
        "name": "Tiny heads",
        "seed": 3,
        "network": {
            "in_channels": 1,
            "img_size": [16, 16, 16],
            "feature_size": 4,
            "hidden_size": 48,
            "mlp_dim": 96,
            "num_layers": 3,
            "num_heads": 4,
            "prune_after": [1, 2, 3],
            "assembly_size": 48,
            "assembly_heads": 4,
            "decoder": "shallow",
            "stem": "convolutional",
            "token_head": True,
        },
        "data": {
            "root": str(folder / "heads"),
            "labels": "labels.json",
            "spacing": [8.0, 8.0, 8.0],
            "validation": ["person_2"],
            "workers": 0,
            "merge": {25: 2},
        },
        "optimisation": {"steps": 30, "learning_rate": 3.0e-3, "warmup_steps": 3},
        "export": {
            "description": "Ellipsoids, for tests",
            "channels": ["T1"],
            "intensity": [
                {
                    "name": "percentiles",
                    "arguments": {"lower": 0.5, "upper": 99.0, "b_min": 0.0, "b_max": 1.0, "nonzero": True},
                }
            ],
        },
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_run(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of the tiny recipe's run of 30 steps, validated after each 15."""
    from scdseg.training.recipe import load_recipe
    from scdseg.training.train import train

    recipe = load_recipe(tiny_recipe, {"validation.every_steps": "15"})
    return train(recipe, tmp_path_factory.mktemp("runs") / "tiny", devices="cpu")
