"""The token head: its logits lie where their tokens lie, and are added to the decoder's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from scdseg.networks import SCDUNETR
from scdseg.networks.token_head import TokenHead, add_doubled


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 4), (5, 1, 2)])
def test_doubling_is_trilinear_interpolation(shape: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    cells = torch.randn(2, 3, *shape, generator=generator)
    logits = torch.randn(2, 3, *(2 * n for n in shape), generator=generator)
    expected = logits + F.interpolate(cells, scale_factor=2, mode="trilinear")
    torch.testing.assert_close(add_doubled(logits, cells), expected)


def test_a_token_speaks_for_its_own_patch() -> None:
    head = TokenHead(12, 3, (2, 3, 2), 8)
    tokens = torch.zeros(1, 12, 12)
    changed = tokens.clone()
    changed[0, 7] = 1.0  # token (1, 0, 1) of the 2 × 3 × 2 grid
    difference = (head(changed) - head(tokens)).abs().sum(dim=1)[0]
    assert difference.shape == (8, 12, 8)
    assert difference[4:, :4, 4:].min() > 0
    difference[4:, :4, 4:] = 0
    assert difference.max() == 0


def test_its_logits_are_added_to_the_decoders() -> None:
    arguments = {
        "in_channels": 1,
        "out_channels": 3,
        "img_size": (16, 16, 32),
        "feature_size": 4,
        "hidden_size": 24,
        "mlp_dim": 48,
        "num_layers": 3,
        "num_heads": 4,
        "prune_after": (1, 2),
        "assembly_size": 24,
        "assembly_heads": 4,
        "decoder": "shallow",
    }
    net = SCDUNETR(**arguments, token_head=True).eval()
    plain = SCDUNETR(**arguments).eval()
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("token_head")})
    window = torch.randn(2, 1, 16, 16, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tokens = net.complete(net.encode(window))
        torch.testing.assert_close(net(window), add_doubled(plain(window), net.token_head(tokens)))
