"""What the fast network has beyond the paper's: pruning before the first block, detail in kept patches, boxes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from scdseg.networks import SCDUNETR
from scdseg.networks.decode_box import Box, labelled_box
from scdseg.published import FAST
from scdseg.training.recipe import load_recipe

NETWORK: dict[str, Any] = FAST | {
    "in_channels": 1, "out_channels": 3, "img_size": (32, 48, 32), "feature_size": 4, "hidden_size": 48, "mlp_dim": 96,
    "num_heads": 4, "assembly_size": 24, "assembly_heads": 4, "keep_ratio": 0.25,
}  # fmt: skip


def built(**changes: Any) -> tuple[SCDUNETR, Tensor]:
    torch.manual_seed(0)
    return SCDUNETR(**{**NETWORK, **changes}).eval(), torch.randn(2, 1, *NETWORK["img_size"])


def test_the_recipe_is_the_published_one_with_the_fast_network() -> None:
    paper, fast = load_recipe("btcv"), load_recipe("btcv-fast")
    changed = {key: value for key, value in fast.network.items() if paper.network.get(key) != value}
    assert {key: tuple(value) if isinstance(value, list) else value for key, value in changed.items()} == FAST
    assert (fast.data, fast.augmentation, fast.validation) == (paper.data, paper.augmentation, paper.validation)


def test_tokens_pruned_before_the_first_block_pass_none() -> None:
    net, x = built(prune_after=(0,))
    reached: list[int] = []
    for block in net.encoder.blocks:
        block.register_forward_pre_hook(lambda _, given: reached.append(given[0].shape[1]))
    with torch.no_grad():
        _, trace = net.forward_with_trace(x)
    assert reached == [1 + 24] * 6  # CLS, and a quarter of 4 · 6 · 4
    assert int((trace.stage == 2).sum()) == 2 * 24
    with torch.no_grad():
        first = net.encoder.pruning[0].predictor(net.encoder.embedding(x)[:, 1:])
    torch.testing.assert_close(trace.scores[0], first)


def test_cls_attention_cannot_prune_before_the_first_block() -> None:
    with pytest.raises(ValueError, match="attended to nothing yet"):
        built(pruning="cls_attention")
    net, _ = built()
    with pytest.raises(ValueError, match="attended to nothing yet"):
        net.encoder.choose_by("cls_attention")


def test_the_image_is_seen_in_kept_patches_alone() -> None:
    net, x = built(prune_after=(0,))
    seen: list[Tensor] = []
    net.decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        stage = net.forward_with_trace(x)[1].stage
        everywhere = net.decoder.skip1(x)
    kept = (stage > 1)[:, None].repeat_interleave(4, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
    torch.testing.assert_close(seen[0], everywhere * kept)
    assert not torch.equal(seen[0], everywhere)


def test_detail_gives_scores_a_gradient_that_does_not_pass_the_blocks() -> None:
    """With everything behind the tokens cut off, the scores still learn from what the decoder saw of the image."""
    net, x = built(prune_after=(0,))
    net.train()
    encoding = net.encode(x)
    logits = net.decode(x, net.complete(encoding).detach(), encoding)
    logits.square().mean().backward()
    gradient = net.encoder.pruning[0].predictor.output_mlp[-1].weight.grad
    assert gradient is not None
    assert float(gradient.abs().max()) > 0


@pytest.mark.parametrize("ratio", [0.1, 0.5])
def test_other_choices_keep_as_many_tokens_and_learned_is_what_it_was(ratio: float) -> None:
    net, x = built()
    kept = {}
    with torch.no_grad():
        for choice in ("learned", "random", "inverted", "learned", "random"):
            net.encoder.choose_by(choice)
            stage = net.forward_with_trace(x, ratio)[1].stage
            if choice in kept:
                assert torch.equal(stage, kept[choice])
            kept[choice] = stage
    counts = {choice: int((stage > 1).sum()) for choice, stage in kept.items()}
    assert len(set(counts.values())) == 1
    if ratio == 0.5:  # the tokens scored lowest are exactly the others
        assert torch.equal(kept["inverted"] > 1, kept["learned"] == 1)
    assert not torch.equal(kept["random"], kept["learned"])


def test_cls_attention_can_choose_in_a_network_that_learned_scores() -> None:
    net, x = built(prune_after=(1, 3))
    trained, _ = built(prune_after=(1, 3), pruning="cls_attention")
    trained.load_state_dict(net.state_dict(), strict=False)
    net.encoder.choose_by("cls_attention")
    with torch.no_grad():
        assert torch.equal(net.forward_with_trace(x)[1].stage, trained.forward_with_trace(x)[1].stage)
    with pytest.raises(ValueError, match="tokens can be chosen by"):
        net.encoder.choose_by("best")


def test_the_box_holds_every_labelled_patch_and_its_surroundings() -> None:
    cells = torch.zeros(1, 2, 16, 24, 16)
    cells[:, 0] = 1.0
    cells[:, 1, 5, 9, 2] = 2.0  # in patch (1, 2, 0) of patches of four cells
    box = labelled_box(cells, (4, 6, 4))
    assert (box.low, box.high) == ((0, 1, 0), (3, 4, 2))
    nothing = -cells.abs() * torch.tensor([0.0, 1.0]).view(1, 2, 1, 1, 1)
    assert labelled_box(nothing, (4, 6, 4)) == Box((0, 0, 0), (1, 1, 1))


def test_a_decoded_box_is_exact_where_it_is_the_window_and_background_outside() -> None:
    net, x = built(decode_box=True)
    with torch.no_grad():
        everywhere = net.share(x)
        net.token_head.linear.bias.copy_(torch.tensor([0.0, 1.0, 0.0]).repeat(64))
        whole = net.finish(everywhere)[0]
        net.decode_box = False
        assert torch.equal(net.finish(everywhere)[0], whole)
        net.token_head.linear.weight.zero_()
        net.token_head.linear.bias.copy_(torch.tensor([5.0, 0.0, 0.0]).repeat(64))
        net.decode_box = True
        empty = net.finish(everywhere)[0]
    assert int((empty.argmax(1)[:, 8:] != 0).sum()) == 0
    assert empty.shape == whole.shape
    with pytest.raises(ValueError, match="the token head"):
        built(decode_box=True, token_head=False)
