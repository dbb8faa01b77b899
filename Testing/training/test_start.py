"""Weights to start from: every kind of source gives the features that it gave before, and what does not fit is said."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import monai.networks.nets as monai_nets
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from scdseg.bundle import Bundle
from scdseg.checkpoints import official_name
from scdseg.errors import InputError
from scdseg.networks import SCDUNETR, UNETR
from scdseg.training.start import load_start

SIZES: dict[str, Any] = {"hidden_size": 24, "mlp_dim": 36, "num_layers": 3, "num_heads": 4}
WINDOW = (16, 24, 16)


def make_network(kind: type[SCDUNETR] | type[UNETR] = UNETR, **arguments: Any) -> Any:
    torch.manual_seed(1)
    sizes = {"in_channels": 1, "out_channels": 3, "img_size": WINDOW, "feature_size": 4, "decoder": "light", **SIZES}
    if kind is SCDUNETR:
        sizes |= {"prune_after": (2,), "assembly_size": 24, "assembly_heads": 4}
    return kind(**(sizes | arguments)).eval()


def make_monai(kind: type[nn.Module] = monai_nets.ViT, **arguments: Any) -> nn.Module:
    torch.manual_seed(2)
    network = kind(**({"in_channels": 1, "img_size": WINDOW} | arguments)).eval()
    for parameter in network.parameters():  # biases and norms that tell whether they were taken
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


def vit(network: SCDUNETR | UNETR) -> Any:
    return network.encoder if isinstance(network, SCDUNETR) else network


def block_outputs(network: SCDUNETR | UNETR, tokens: Tensor) -> list[Tensor]:
    outputs = []
    for block in vit(network).blocks:
        tokens = block(tokens)
        outputs.append(tokens)
    return outputs


def image(channels: int = 1, window: tuple[int, ...] = WINDOW) -> Tensor:
    return torch.rand(2, channels, *window, generator=torch.Generator().manual_seed(0))


def save(network: nn.Module, path: Path) -> Path:
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize("kind", [UNETR, SCDUNETR])
@pytest.mark.parametrize("projection", ["conv", "perceptron"])
@pytest.mark.parametrize("qkv_bias", [False, True])
def test_a_monai_vit_gives_the_features_that_it_gave(
    tmp_path: Path, kind: type[SCDUNETR] | type[UNETR], projection: str, qkv_bias: bool
) -> None:
    source: Any = make_monai(**SIZES, patch_size=8, classification=True, in_channels=2, proj_type=projection, qkv_bias=qkv_bias)
    network = make_network(kind, in_channels=2)
    report = load_start(network, save(source, tmp_path / "vit.pth"))
    assert not [name for name in report.random if name.startswith(("embedding.", "blocks.", "norm."))]
    assert report.ignored == ["classification_head.0.weight", "classification_head.0.bias"] or all(
        name.startswith(("classification_head.", "blocks.")) for name in report.ignored
    )
    with torch.no_grad():
        expected = source(image(2))[1]
        found = block_outputs(network, vit(network).embedding(image(2)))
        # MONAI's norms have another epsilon.
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(vit(network).norm(found[-1]), source.norm(expected[-1]), atol=1e-3, rtol=1e-3)
    assert float((found[-1][0] - found[-1][1]).abs().max()) > 0.1


def test_a_monai_autoencoder_and_masked_autoencoder_are_known(tmp_path: Path) -> None:
    source: Any = make_monai(monai_nets.MaskedAutoEncoderViT, **SIZES, patch_size=8, decoder_num_heads=4, decoder_hidden_size=24)
    network = make_network()
    report = load_start(network, save(source, tmp_path / "mae.pt"))
    assert not [name for name in report.random if name.startswith(("embedding.", "blocks.", "norm."))]
    with torch.no_grad():
        tokens = torch.cat((source.cls_token.expand(2, -1, -1), source.patch_embedding(image())), dim=1)
        ours = network.norm(block_outputs(network, network.embedding(image()))[-1])
        torch.testing.assert_close(ours, source.blocks(tokens), atol=1e-3, rtol=1e-3)
    autoencoder: Any = make_monai(monai_nets.ViTAutoEnc, **SIZES, patch_size=16, img_size=(32, 32, 32))
    network = make_network(img_size=(32, 32, 32), patch_size=16, decoder="full", num_layers=10)
    with pytest.raises(InputError, match=r"auto\.pt: its vision transformer has num_layers 3, the network 10"):
        load_start(network, save(autoencoder, tmp_path / "auto.pt"))


def test_a_monai_unetr_segments_as_before_but_for_cls(tmp_path: Path) -> None:
    sizes = {key: value for key, value in SIZES.items() if key != "num_layers"}  # MONAI's has 12
    source: Any = make_monai(monai_nets.UNETR, img_size=(32, 32, 48), out_channels=3, feature_size=4, **sizes)
    network = make_network(img_size=(32, 32, 48), patch_size=16, decoder="full", num_layers=12)
    report = load_start(network, save(source, tmp_path / "unetr.pth"))
    assert report.random == ["embedding.cls_token"]
    with torch.no_grad():
        torch.testing.assert_close(
            network.embedding(image(1, (32, 32, 48)))[:, 1:], source.vit.patch_embedding(image(1, (32, 32, 48)))
        )
        hidden = [torch.randn(1, 12, 24) for _ in range(4)]
        expected = source.decoder5(source.proj_feat(hidden[3]), source.encoder4(source.proj_feat(hidden[2])))
        expected = source.decoder4(expected, source.encoder3(source.proj_feat(hidden[1])))
        expected = source.decoder3(expected, source.encoder2(source.proj_feat(hidden[0])))
        detail = image(1, (32, 32, 48))[:1]
        expected = source.out(source.decoder2(expected, source.encoder1(detail)))
        torch.testing.assert_close(network.decode(detail, hidden), expected)
