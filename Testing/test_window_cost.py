"""The arithmetic that the user interface asks agrees with counting the operations of the real network."""

from __future__ import annotations

import subprocess
import sys
from inspect import signature
from typing import Any

import pytest

from scdseg.networks import SCDUNETR, UNETR
from scdseg.networks.cost import macs
from scdseg.published import FAST
from scdseg.window_cost import dense_window_macs, keep_counts, window_macs

SMALL = {"hidden_size": 96, "mlp_dim": 384, "num_layers": 12, "num_heads": 4, "prune_after": (2, 4)}
SMALL |= {"assembly_size": 48, "assembly_heads": 4, "feature_size": 8}
NETWORKS: dict[str, dict[str, Any]] = {
    "full": {"in_channels": 1, "out_channels": 5, "img_size": (48, 32, 32), **SMALL},
    "shallow": {"in_channels": 4, "out_channels": 3, "img_size": (32, 32, 48), "decoder": "shallow", **SMALL},
    "patch 16": {"in_channels": 1, "out_channels": 2, "img_size": (64, 64, 64), "patch_size": 16, **SMALL},
    "stem and head": {"in_channels": 1, "out_channels": 7, "img_size": (32, 40, 32), "decoder": "shallow", **SMALL}
    | {"stem": "convolutional", "token_head": True},
    "light": {"in_channels": 2, "out_channels": 5, "img_size": (32, 40, 32), "decoder": "light", **SMALL}
    | {"token_head": True},
    "fast": {"in_channels": 1, "out_channels": 5, "img_size": (32, 40, 32), **SMALL, **FAST}
    | {"assembly_size": 48, "assembly_heads": 4},
    "light, patch 4": {"in_channels": 1, "out_channels": 3, "img_size": (16, 20, 16), "patch_size": 4, **SMALL}
    | {"decoder": "light", "stem": "narrow", "token_head": True},
    "light, patch 16": {"in_channels": 1, "out_channels": 3, "img_size": (32, 48, 32), "patch_size": 16, **SMALL}
    | {"decoder": "light"},
}
WORDS: dict[str, dict[str, str]] = {
    "no noise": {"pruning": "stp_no_noise"},
    "CLS attention": {"pruning": "cls_attention"},
    "random": {"pruning": "random"},
    "mask tokens": {"completion": "mask_tokens"},
    "CLS attention and mask tokens": {"pruning": "cls_attention", "completion": "mask_tokens"},
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("keep_ratio", [1.0, 0.5, 0.1])
def test_arithmetic_and_counted_operations_agree(kind: str, keep_ratio: float) -> None:
    network = SCDUNETR(**NETWORKS[kind])
    assert window_macs(network.config, keep_ratio) == pytest.approx(macs(network, keep_ratio), rel=1e-3)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("keep_ratio", [1.0, 0.3])
def test_so_they_do_for_every_way_to_prune_and_to_complete(words: str, keep_ratio: float) -> None:
    network = SCDUNETR(**NETWORKS["light"], **WORDS[words])
    # Closer than above: where nothing is learned to score tokens, the scores cost next to nothing.
    assert window_macs(network.config, keep_ratio) == pytest.approx(macs(network, keep_ratio), rel=1e-5)


def test_a_model_of_before_there_was_a_choice_costs_what_it_did() -> None:
    config = SCDUNETR(**NETWORKS["light"]).config
    old = {key: value for key, value in config.items() if key not in ("pruning", "completion")}
    assert window_macs(old, 0.5) == window_macs(config, 0.5)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_dense_baseline_is_counted_as_well(kind: str) -> None:
    config = SCDUNETR(**NETWORKS[kind]).config
    dense = UNETR(**{key: value for key, value in config.items() if key in signature(UNETR).parameters})
    assert dense_window_macs(config) == pytest.approx(macs(dense), rel=1e-3)


def test_ratios_multiply_over_the_stages() -> None:
    assert keep_counts(1728, [0.1] * 3) == [172, 17, 1]
    assert keep_counts(1728, [0.25] * 3) == [432, 108, 27]


def test_asking_for_the_cost_loads_no_pytorch() -> None:
    code = "import sys, scdseg.window_cost; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
