"""Weights as a device likes them compute the same."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from monai.networks.blocks import UnetrBasicBlock

from scdseg.networks import SCDUNETR, UNETR
from scdseg.networks.decoders import build_decoder
from scdseg.networks.inference_format import prepare_for_inference

CPU = torch.device("cpu")
SMALL = {
    "in_channels": 1,
    "out_channels": 3,
    "img_size": (32, 32, 32),
    "hidden_size": 48,
    "mlp_dim": 96,
    "num_heads": 3,
}
SPARSE = {"num_layers": 3, "prune_after": (1, 2), "keep_ratio": 0.5, "assembly_size": 48, "assembly_heads": 3}


def network(decoder: str, dense: bool = False) -> SCDUNETR | UNETR:
    torch.manual_seed(0)
    if dense:
        return UNETR(**SMALL, num_layers=10, decoder=decoder, token_head=True).eval()
    return SCDUNETR(**SMALL, **SPARSE, decoder=decoder, token_head=True).eval()


@pytest.mark.parametrize(
    "change",
    [
        {"stem": "convolutional"}, {"pruning": "cls_attention"}, {"pruning": "random"}, {"completion": "mask_tokens"},
        {"patch_size": 16, "token_head": False},
    ],
    ids=str,
)  # fmt: skip
def test_every_kind_of_network_can_be_prepared(change: dict[str, Any]) -> None:
    torch.manual_seed(0)
    plain = SCDUNETR(**{**SMALL, **SPARSE, "token_head": True, **change}).eval()
    prepared = copy.deepcopy(plain)
    prepare_for_inference(prepared, CPU, torch.bfloat16)
    image = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected, found = plain(image).float(), prepared(image).float()
    assert (found - expected).std() < 0.01 * expected.std()


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("decoder", ["full", "shallow", "light"])
def test_what_bfloat16_computes_stays_what_autocast_makes_of_it(decoder: str, dense: bool) -> None:
    plain = network(decoder, dense)
    prepared = copy.deepcopy(plain)
    prepare_for_inference(prepared, CPU, torch.bfloat16)
    image = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        exact = plain(image)
        with torch.autocast("cpu", torch.bfloat16):
            rounded, found = plain(image), prepared(image)
    scale = exact.std()
    assert (rounded - exact).std() < 0.01 * scale
    assert (found - exact).std() < 0.01 * scale
    if decoder == "light":
        torch.testing.assert_close(found, rounded, rtol=0, atol=0)
    elif not dense:
        assert prepared.decoder.up1.conv_block.conv1.conv.weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_scores_stay_in_single_precision() -> None:
    prepared = network("full")
    prepare_for_inference(prepared, CPU, torch.bfloat16)
    assert isinstance(prepared, SCDUNETR)
    dtypes = {name: weight.dtype for name, weight in prepared.named_parameters()}
    assert {dtype for name, dtype in dtypes.items() if "predictor" in name} == {torch.float32}
    assert dtypes["encoder.blocks.0.mlp.0.weight"] == torch.bfloat16
    assert dtypes["encoder.blocks.0.mlp_norm.weight"] == torch.float32


def test_single_precision_is_left_as_it_is() -> None:
    prepared, plain = network("full"), network("full")
    prepare_for_inference(prepared, CPU, torch.float32)
    for ours, theirs in zip(prepared.parameters(), plain.parameters(), strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.stride() == theirs.stride()


@pytest.mark.parametrize("batch", [1, 2])
def test_norms_are_the_same_in_any_order_of_memory(batch: int) -> None:
    decoder = build_decoder("shallow", 1, 2, 48, 8, 4)
    block = decoder.skip1
    assert isinstance(block, UnetrBasicBlock)
    x = torch.randn(batch, 1, 12, 10, 8, generator=torch.Generator().manual_seed(2))
    expected = block(x)
    found = block.to(memory_format=torch.channels_last_3d)(x.to(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
