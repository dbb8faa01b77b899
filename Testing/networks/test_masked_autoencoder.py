"""The masked autoencoder: what it sees, what it is asked for, and that its encoder is the networks' own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from scdseg.networks import SCDUNETR, UNETR
from scdseg.networks.masked_autoencoder import MaskedAutoencoder

WINDOW = (16, 24, 32)


def make_network(**arguments: Any) -> MaskedAutoencoder:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 32, "mlp_dim": 48, "num_layers": 2, "num_heads": 4, "decoder_width": 24}
    return MaskedAutoencoder(**({"in_channels": 2, "img_size": WINDOW, "decoder_layers": 1} | sizes | arguments)).eval()


def make_batch(network: MaskedAutoencoder, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    order = torch.stack([torch.randperm(network.patches, generator=generator) for _ in range(batch)])
    return torch.rand(batch, 2, *WINDOW, generator=generator), order


def patch_of(number: int) -> tuple[slice, slice, slice]:
    """Voxels of a patch by its row-major number on the grid of 2 × 3 × 4 patches."""
    x, y, z = number // 12, number // 4 % 3, number % 4
    return slice(8 * x, 8 * x + 8), slice(8 * y, 8 * y + 8), slice(8 * z, 8 * z + 8)


@pytest.mark.parametrize("stem", ["linear", "convolutional"])
def test_masked_patches_are_not_looked_at(stem: str) -> None:
    network = make_network(stem=stem)
    image, order = make_batch(network)
    assert network.visible == 6
    before = network(image, order)
    seen, masked = int(order[0, 5]), int(order[0, 6])
    image[0, :, *patch_of(masked)] = torch.nan
    assert torch.equal(network(image, order), before)
    image[0, :, *patch_of(seen)] += 1.0
    after = network(image, order)
    assert not torch.allclose(after[0], before[0])
    assert torch.equal(after[1], before[1])


def test_only_masked_patches_count() -> None:
    network = make_network()
    image, order = make_batch(network)
    targets = network.patch_targets(image)
    wrong = targets.clone()
    network.forward = lambda *_: wrong  # type: ignore[method-assign]
    for row in range(2):
        wrong[row, order[row, :6]] += 5.0
    assert float(network.loss(image, order)) == 0.0
    wrong[1, order[1, 6]] += 3.0
    assert float(network.loss(image, order)) == pytest.approx(9.0 / 36)  # 18 masked patches in each of two windows


def test_targets_are_the_patches_own_voxels_normalised() -> None:
    network = make_network()
    image, _ = make_batch(network)
    image[0, :, *patch_of(3)] = 7.0
    targets = network.patch_targets(image)
    assert targets.shape == (2, 24, 1024)
    voxels = image[1, :, *patch_of(17)].reshape(-1)
    torch.testing.assert_close(targets[1, 17], (voxels - voxels.mean()) / voxels.std(unbiased=False), atol=1e-4, rtol=0)
    assert torch.equal(targets[0, 3], torch.zeros(1024))
    torch.testing.assert_close(network.patch_targets(3 * image + 2)[1], targets[1], atol=1e-3, rtol=0)


def test_the_order_of_the_seen_patches_does_not_matter_but_their_places_do() -> None:
    network = make_network()
    image, order = make_batch(network)
    before = network(image, order).detach()
    turned = torch.cat((order[:, :6].flip(1), order[:, 6:].flip(1)), dim=1)
    torch.testing.assert_close(network(image, turned), before, atol=1e-5, rtol=1e-4)
    masked = before[0, order[0, 6:]]
    assert float((masked - masked[:1]).abs().max()) > 1e-3  # mask tokens differ by their positions


@pytest.mark.parametrize("stem", ["linear", "convolutional"])
def test_the_encoder_is_the_segmentation_networks_own(stem: str) -> None:
    pretrained = make_network(stem=stem)
    arguments = pretrained.config | {"out_channels": 3, "decoder": "light", "feature_size": 4}
    dense = UNETR(**arguments).eval()
    sparse = SCDUNETR(**arguments, prune_after=(2,), assembly_size=24, assembly_heads=4).eval()
    state = {
        name: tensor
        for name, tensor in pretrained.state_dict().items()
        if name.startswith(("embedding.", "blocks.", "norm."))
    }
    assert not dense.load_state_dict(state, strict=False).unexpected_keys
    assert not sparse.encoder.load_state_dict(state, strict=False).unexpected_keys
    image, order = make_batch(pretrained)
    tokens = dense.embedding(image)
    torch.testing.assert_close(sparse.encoder.embedding(image), tokens)
    if stem == "linear":  # kernels of the other one reach into masked neighbours
        seen = order[:, :6, None].expand(-1, -1, 32)
        kept = torch.cat((tokens[:, :1], tokens[:, 1:].gather(1, seen)), dim=1)
        for block in dense.blocks:
            kept = block(kept)
        torch.testing.assert_close(pretrained.encode(image, order), dense.norm(kept), atol=1e-5, rtol=1e-4)


def test_every_weight_learns() -> None:
    network = make_network(stem="convolutional").train()
    network.loss(*make_batch(network)).backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_the_decoder_grows_with_the_encoder() -> None:
    widths = {}
    for hidden_size in (96, 192, 384, 768):
        with torch.device("meta"):
            network = MaskedAutoencoder(1, (16, 16, 16), hidden_size=hidden_size, num_layers=1, num_heads=3)
        widths[hidden_size] = network.narrow.out_features
    assert widths == {96: 96, 192: 96, 384: 192, 768: 384}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mask_ratio": 0.99}, "leaves 0 of the window's 24 patches"),
        ({"mask_ratio": 0.0}, "mask_ratio 0.0 leaves 24"),
        ({"decoder_width": 100}, "3-D sine-cosine positions need a width divisible by 6|not divisible by its 3 heads"),
        ({"img_size": (16, 24, 30)}, "three multiples of the patch size"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_network(**arguments)
