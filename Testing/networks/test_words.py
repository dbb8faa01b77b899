"""What tokens are pruned by and how the map is completed, each by one word, and the dense network in parts."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from scdseg.bundle.schema import METADATA_SCHEMA
from scdseg.networks import SCDUNETR, UNETR, keep_counts
from scdseg.networks.assembly import COMPLETIONS
from scdseg.networks.decoders import DECODERS, build_decoder
from scdseg.networks.patch_embedding import STEMS
from scdseg.networks.pruning import PRUNINGS
from scdseg.networks.scd_unetr import DETAILS
from scdseg.networks.token_head import add_doubled

SMALL: dict[str, Any] = {
    "in_channels": 1,
    "out_channels": 3,
    "img_size": (24, 32, 24),
    "feature_size": 4,
    "hidden_size": 48,
    "mlp_dim": 96,
    "num_layers": 4,
    "num_heads": 3,
    "decoder": "light",
}
SPARSE: dict[str, Any] = {**SMALL, "prune_after": (1, 3), "assembly_size": 48, "assembly_heads": 3}
DENSE: dict[str, Any] = {**SMALL, "num_layers": 9, "decoder": "shallow"}
WORDS = list(product(PRUNINGS, COMPLETIONS))


def network(**arguments: Any) -> SCDUNETR:
    torch.manual_seed(0)
    return SCDUNETR(**{**SPARSE, **arguments})


def windows(batch: int = 2) -> Tensor:
    return torch.randn(batch, 1, *SMALL["img_size"], generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("pruning", "completion"), WORDS)
@pytest.mark.parametrize("training", [False, True])
def test_every_word_prunes_the_counts_asked_for_by_its_own_scores(
    pruning: str, completion: str, training: bool
) -> None:
    net = network(pruning=pruning, completion=completion).train(training)
    with torch.no_grad():
        logits, trace = net.forward_with_trace(windows(), (0.5, 0.3))
    assert logits.isfinite().all()
    tokens = math.prod(net.grid)
    stage = trace.stage.flatten(1)
    for number, (scores, count) in enumerate(zip(trace.scores, keep_counts(tokens, (0.5, 0.3)), strict=True), start=1):
        assert ((stage > number).sum(1) == count).all()
        assert scores.shape == (2, tokens)
        assert torch.equal(scores.isnan(), stage < number)
        assert scores[stage >= number].isfinite().all()
        assert scores[stage >= number].max() <= 0
        if not (training and pruning == "stp"):  # the noise has a say there
            kept, pruned = scores.clone(), scores.clone()
            kept[stage <= number], pruned[stage != number] = math.inf, -math.inf
            assert (kept.amin(1) >= pruned.amax(1)).all()


@pytest.mark.parametrize(("pruning", "completion"), WORDS)
def test_shared_work_serves_every_keep_ratio(pruning: str, completion: str) -> None:
    net, x = network(pruning=pruning, completion=completion).eval(), windows()
    with torch.no_grad():
        shared = net.share(x)
        for keep_ratio in (1.0, 0.25, 0.5):
            logits, trace = net.finish(shared, keep_ratio)
            torch.testing.assert_close(logits, net(x, keep_ratio))
            assert torch.equal(trace.stage, net.forward_with_trace(x, keep_ratio)[1].stage)


@pytest.mark.parametrize(("pruning", "completion"), WORDS)
def test_every_weight_learns(pruning: str, completion: str) -> None:
    # Also what distributed training asks for: no weight may be left out of a step.
    net = network(pruning=pruning, completion=completion, token_head=True).train()
    net(windows(), 0.5).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # Biases before a softmax or an instance norm move nothing, but for rounding.
        if "predictor" in name or name == "assembly.mask_token":
            assert parameter.grad.abs().max() > 0, name
    learned = any(True for _ in net.encoder.pruning.parameters())
    assert learned == pruning.startswith("stp")
    assert hasattr(net.assembly, "mask_token") == (completion == "mask_tokens")


@pytest.mark.parametrize(
    ("pruning", "repeats"), [("stp", False), ("stp_no_noise", True), ("cls_attention", True), ("random", False)]
)
def test_only_noise_and_chance_make_training_differ_between_calls(pruning: str, repeats: bool) -> None:
    net, x = network(pruning=pruning), windows()
    with torch.no_grad():
        first, second = (net.train().forward_with_trace(x, 0.3)[1].stage for _ in range(2))
        assert torch.equal(first, second) == repeats
        assert torch.equal(net.eval()(x, 0.3), net(x, 0.3))


def test_chance_is_new_for_each_training_window_and_fixed_for_inference() -> None:
    net, other, x = network(pruning="random"), network(pruning="random"), windows(3)
    with torch.no_grad():
        trained = net.train().forward_with_trace(x, 0.3)[1].stage
        together = net.eval().forward_with_trace(x, 0.3)[1].stage
        alone = other.eval().forward_with_trace(x[2:], 0.3)[1].stage
    assert not torch.equal(trained[0], trained[1])
    assert torch.equal(together[0], together[1])
    assert torch.equal(together[2], alone[0])


def test_cls_attention_is_the_mean_over_heads_of_the_block_before_the_stage() -> None:
    net, x, seen = network(pruning="cls_attention").eval(), windows(), []
    attention = net.encoder.blocks[0].attention
    attention.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        _, trace = net.forward_with_trace(x, 0.5)
        queries, keys, _ = attention.qkv(seen[0]).chunk(3, dim=-1)
        heads = [
            (query[:, :1] @ key.transpose(1, 2) / math.sqrt(16)).softmax(dim=-1)[:, 0, 1:]
            for query, key in zip(queries.split(16, dim=-1), keys.split(16, dim=-1), strict=True)
        ]
    torch.testing.assert_close(trace.scores[0], torch.stack(heads).mean(dim=0).log())


def test_cls_attention_tells_tokens_apart_in_half_precision() -> None:
    net = network(pruning="cls_attention").eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        _, trace = net.forward_with_trace(windows(), 0.5)
    assert trace.scores[0].dtype == torch.float32
    assert len(trace.scores[0][0].unique()) > 0.9 * trace.scores[0].shape[1]


def test_mask_tokens_stand_for_all_that_was_pruned() -> None:
    net = network(completion="mask_tokens").eval()
    with torch.no_grad():
        encoding = net.encode(windows(), 0.5)
        filled = net.assembly.fill(encoding)
    assert filled.shape == (2, math.prod(net.grid) + 1, 48)
    for sample in range(2):
        kept = encoding.positions[-1][sample]
        torch.testing.assert_close(filled[sample, kept], net.assembly.projection(encoding.groups[-1][sample]))
        pruned = torch.cat([positions[sample] for positions in encoding.positions[:-1]])
        assert len(pruned) + len(kept) == filled.shape[1]
        assert torch.equal(filled[sample, pruned], net.assembly.mask_token[0].expand(len(pruned), -1))


@pytest.mark.parametrize(("completion", "matters"), [("mta", True), ("mask_tokens", False)])
def test_pruned_tokens_matter_to_the_assembly_alone(completion: str, matters: bool) -> None:
    net = network(completion=completion).eval()
    with torch.no_grad():
        encoding = net.encode(windows(), 0.5)
        before = net.complete(encoding)
        encoding.groups[0].add_(1.0)
        assert torch.equal(net.complete(encoding), before) != matters


@pytest.mark.parametrize(("pruning", "completion"), WORDS)
def test_a_config_builds_the_same_network(pruning: str, completion: str) -> None:
    net = network(pruning=pruning, completion=completion).eval()
    again = SCDUNETR(**net.config).eval()
    again.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert torch.equal(again(windows(1), 0.5), net(windows(1), 0.5))


@pytest.mark.parametrize("argument", ["pruning", "completion"])
def test_a_word_that_does_not_exist_is_answered_with_those_that_do(argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument} must be one of .*, not 'best'"):
        network(**{argument: "best"})


def test_a_bundle_may_hold_every_word() -> None:
    schema = METADATA_SCHEMA["properties"]["scd"]["properties"]["network"]["properties"]
    assert schema["pruning"]["enum"] == list(PRUNINGS)
    assert schema["completion"]["enum"] == list(COMPLETIONS)
    assert schema["decoder"]["enum"] == list(DECODERS)
    assert schema["stem"]["enum"] == list(STEMS)
    assert schema["detail"]["enum"] == list(DETAILS)


def test_dense_logits_come_from_hidden_states_and_the_token_head() -> None:
    torch.manual_seed(0)
    net, plain, x = UNETR(**DENSE, token_head=True).eval(), UNETR(**DENSE).eval(), windows()
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("token_head")})
    with torch.no_grad():
        hidden = net.hidden_states(x)
        assert [tuple(tokens.shape) for tokens in hidden] == [(2, 36, 48)] * 3  # two skips of the decoder, and the last
        assert torch.equal(net.decode(x, hidden), net(x))
        torch.testing.assert_close(net(x), add_doubled(plain(x), net.token_head(hidden[-1])))
    assert UNETR(**net.config).config == net.config


@pytest.mark.parametrize("decoder", DECODERS)
def test_no_decoder_writes_into_views_in_training(decoder: str) -> None:
    built = build_decoder(decoder, 1, 3, 12, 8, 4)
    maps = [torch.randn(1, 12, 2, 2, 2)] * 4
    logits = built(built.skip1(torch.randn(1, 1, 16, 16, 16)), maps[:3], maps[3])
    nodes, seen = [logits.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            nodes += [function for function, _ in node.next_functions]
    assert len(seen) > 20
    assert "CopySlices" not in {type(node).__name__ for node in seen}
