"""The published configurations cost what the paper's repository says, and ``macs`` counts as torchprofile does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torchprofile import profile_macs

from scdseg.networks import SCDUNETR, UNETR, macs

BTCV: dict[str, Any] = {"in_channels": 1, "out_channels": 14, "img_size": (96, 96, 96), "keep_ratio": 0.1}
BRATS: dict[str, Any] = {"in_channels": 4, "out_channels": 3, "img_size": (128, 128, 128), "keep_ratio": 0.25}
SMALL: dict[str, Any] = {
    "in_channels": 2,
    "out_channels": 3,
    "img_size": (32, 48, 32),
    "feature_size": 8,
    "hidden_size": 96,
    "mlp_dim": 192,
    "num_layers": 10,
    "num_heads": 4,
}
ASSEMBLY: dict[str, Any] = {"assembly_size": 48, "assembly_heads": 3}

LAYOUTS: list[dict[str, Any]] = [
    {},
    {"decoder": "shallow"},
    {"decoder": "light"},
    {"patch_size": 16},
    {"stem": "convolutional"},
]


def counted_by_torchprofile(net: SCDUNETR | UNETR) -> int:
    with torch.no_grad():
        return int(profile_macs(net.eval(), torch.zeros(1, net.config["in_channels"], *net.img_size)))


@pytest.mark.parametrize(
    ("configuration", "published"),
    [(BTCV, 146.627e9), (BRATS, 439.42e9), ({**BRATS, "decoder": "shallow"}, 428.28e9)],
    ids=["BTCV", "BraTS", "BraTS shallow"],
)
def test_published_configurations_cost_the_published_macs(configuration: dict[str, Any], published: float) -> None:
    net = SCDUNETR(**configuration)
    assert counted_by_torchprofile(net) == pytest.approx(published, rel=0.003)
    assert macs(net) == pytest.approx(published, rel=0.003)


@pytest.mark.parametrize("keep_ratio", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_macs_agree_with_torchprofile(keep_ratio: float, layout: dict[str, Any]) -> None:
    net = SCDUNETR(**SMALL, **ASSEMBLY, **layout, keep_ratio=keep_ratio)
    assert macs(net) == pytest.approx(counted_by_torchprofile(net), rel=0.01)


def test_macs_of_the_dense_baseline_agree_with_torchprofile() -> None:
    net = UNETR(**SMALL)
    assert macs(net) == pytest.approx(counted_by_torchprofile(net), rel=0.01)


def test_macs_follow_the_keep_ratio_of_the_call_and_leave_the_network_alone() -> None:
    net = SCDUNETR(**SMALL, **ASSEMBLY, keep_ratio=0.5).eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert macs(net, 0.1) < macs(net, 0.5) == macs(net) < macs(net, 1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
