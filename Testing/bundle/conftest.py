"""A tiny model, written once and copied for each test that changes it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scdseg.bundle import Bundle, Code, Intensity, Label, write_bundle
from scdseg.networks import SCDUNETR

ANATOMY = Code("SCT", "123037004", "Anatomical Structure")
LABELS = (
    Label(
        4,
        "Left thalamus",
        (0, 118, 14),
        ANATOMY,
        Code("SCT", "42695009", "Thalamus"),
        Code("SCT", "7771000", "Left"),
        None,
        1,
    ),
    Label(9, "Brainstem", (119, 159, 176), ANATOMY, Code("SCT", "15926001", "Brainstem"), None, None, 2),
)
SETTINGS: dict[str, Any] = {
    "name": "Tiny",
    "description": "Two labels for tests.",
    "channels": ["T1"],
    "labels": LABELS,
    "activation": "softmax",
    "orientation": "RAS",
    "spacing": (1.0, 1.5, 2.0),
    "intensity": [Intensity("percentiles", {"lower": 0.5, "upper": 99.5, "b_min": 0, "b_max": 1, "nonzero": True})],
    "overlap": 0.25,
    "keep_ratio": 0.5,
    "keep_ratio_range": (0.1, 1.0),
    "modality": "MR",
}


def tiny_network(out_channels: int = 3) -> SCDUNETR:
    torch.manual_seed(0)
    return SCDUNETR(
        1,
        out_channels,
        img_size=(16, 16, 16),
        feature_size=2,
        hidden_size=48,
        mlp_dim=96,
        num_layers=3,
        num_heads=4,
        prune_after=(1, 2, 3),
        keep_ratio=0.5,
        assembly_size=48,
        assembly_heads=4,
        decoder="shallow",
    ).eval()


@pytest.fixture
def network() -> SCDUNETR:
    return tiny_network()


@pytest.fixture
def settings() -> dict[str, Any]:
    return dict(SETTINGS)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("original") / "tiny", tiny_network(), **SETTINGS)


@pytest.fixture
def bundle_dir(original: Bundle, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may damage."""
    return shutil.copytree(original.path, tmp_path / "models" / "tiny")


@pytest.fixture
def edit(bundle_dir: Path) -> Callable[[str, Any], None]:
    """Set an entry of the metadata, given by its keys with dots between; ``None`` takes it out."""

    def change(entry: str, value: Any) -> None:
        path = bundle_dir / "configs" / "metadata.json"
        metadata = json.loads(path.read_text(encoding="utf-8"))
        *parents, last = entry.split(".")
        place = metadata
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value
        path.write_text(json.dumps(metadata), encoding="utf-8")

    return change
