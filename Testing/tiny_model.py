"""A model with random weights: windows of 16 voxels of 2 mm, pruning stages after the named blocks, two labels.

python Testing/tiny_model.py FOLDER [CHANNELS [BLOCK …]]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from scdseg.bundle import Bundle, Code, Intensity, Label, write_bundle
from scdseg.networks import SCDUNETR


def write_tiny_model(folder: Path, channels: int = 1, prune_after: Sequence[int] = (1, 2)) -> Bundle:
    """Write the model's bundle into a new folder."""
    torch.manual_seed(0)
    network = SCDUNETR(
        in_channels=channels,
        out_channels=3,
        img_size=(16, 16, 16),
        feature_size=4,
        hidden_size=48,
        mlp_dim=96,
        num_layers=max(3, *prune_after),
        num_heads=4,
        prune_after=prune_after,
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
        folder,
        network,
        name="Tiny",
        description="Random weights, for tests",
        channels=["T1", "T2", "PD", "FLAIR"][:channels],
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


if __name__ == "__main__":
    channels, *blocks = [int(argument) for argument in sys.argv[2:]] or [1]
    write_tiny_model(Path(sys.argv[1]), channels, blocks or (1, 2))
