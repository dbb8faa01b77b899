"""For every test: no GPU tests where there is no GPU, and no models but those that ship or that the test makes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
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
    import torch

    from scdseg.bundle import Code, Intensity, Label, write_bundle
    from scdseg.networks import SCDUNETR

    torch.manual_seed(0)
    network = SCDUNETR(
        in_channels=1,
        out_channels=3,
        img_size=(16, 16, 16),
        feature_size=4,
        hidden_size=48,
        mlp_dim=96,
        num_layers=3,
        num_heads=4,
        prune_after=(1, 2),
        keep_ratio=0.5,
        assembly_size=48,
        assembly_heads=4,
    )
    category = Code("SCT", "123037004", "Anatomical Structure")
    labels = [
        Label(
            2,
            "white matter",
            (245, 245, 245),
            category,
            Code("SCT", "68523003", "Cerebral White Matter"),
            None,
            None,
            1,
        ),
        Label(17, "hippocampus", (220, 216, 20), category, Code("SCT", "5366008", "Hippocampus"), None, None, 2),
    ]
    return write_bundle(
        tmp_path_factory.mktemp("models") / "tiny",
        network,
        name="Tiny",
        description="Random weights, for tests",
        channels=["T1"],
        labels=labels,
        activation="softmax",
        orientation="RAS",
        spacing=(2.0, 2.0, 2.0),
        intensity=[
            Intensity("percentiles", {"lower": 0.5, "upper": 99.5, "b_min": 0.0, "b_max": 1.0, "nonzero": True})
        ],
        overlap=0.5,
        keep_ratio=0.5,
        keep_ratio_range=(0.25, 1.0),
        half=False,
    )
