"""Any keep ratio in (0, 1] on the same weights: small grids, training, batches, half precision, compilation."""

from __future__ import annotations

import math
import shutil
from typing import Any

import pytest
import torch

from scdseg.networks import SCDUNETR, keep_counts

FOUR_TOKENS = (16, 16, 8)
SMALL: dict[str, Any] = {
    "in_channels": 1,
    "out_channels": 3,
    "patch_size": 8,
    "feature_size": 4,
    "hidden_size": 48,
    "mlp_dim": 96,
    "num_layers": 4,
    "num_heads": 3,
    "prune_after": (1, 2, 3),
    "assembly_size": 48,
    "assembly_heads": 3,
}


def network(img_size: tuple[int, int, int] = (32, 32, 32), **arguments: Any) -> SCDUNETR:
    torch.manual_seed(0)
    return SCDUNETR(**{**SMALL, "img_size": img_size, **arguments})


def window(net: SCDUNETR, batch: int = 1) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(batch, net.config["in_channels"], *net.img_size)


@pytest.mark.parametrize("keep_ratio", [1.0, 0.5, 0.1, 0.01])
@pytest.mark.parametrize("img_size", [FOUR_TOKENS, (24, 16, 16), (16, 32, 24)])
@pytest.mark.parametrize("decoder", ["full", "shallow"])
def test_every_keep_ratio_gives_finite_logits_on_small_and_non_cubic_windows(
    keep_ratio: float, img_size: tuple[int, int, int], decoder: str
) -> None:
    net = network(img_size, decoder=decoder).eval()
    with torch.no_grad():
        logits = net(window(net), keep_ratio)
    assert logits.shape == (1, 3, *img_size)
    assert logits.isfinite().all()


def test_patches_of_16_run_on_four_tokens() -> None:
    net = network((32, 32, 16), patch_size=16).eval()
    with torch.no_grad():
        assert net(window(net), 0.01).isfinite().all()


@pytest.mark.parametrize("keep_ratio", [1.0, 0.5, 0.1, 0.01])
@pytest.mark.parametrize("img_size", [FOUR_TOKENS, (32, 32, 32)])
def test_every_score_predictor_that_has_a_choice_gets_gradient(
    keep_ratio: float, img_size: tuple[int, int, int]
) -> None:
    net = network(img_size).train()
    net(window(net, batch=2), keep_ratio).square().mean().backward()
    token_count = math.prod(net.grid)
    arriving = [token_count, *keep_counts(token_count, [keep_ratio] * 3)]
    for stage, count in zip(net.encoder.pruning, arriving, strict=False):
        gradients = [parameter.grad for parameter in stage.predictor.parameters()]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
        if count > 1:  # one token is kept whatever its score is
            assert all(gradient.abs().max() > 0 for gradient in gradients[2:])


def test_tokens_kept_per_stage_multiply_and_stages_never_starve() -> None:
    assert keep_counts(1728, [0.1] * 3) == [172, 17, 1]
    assert keep_counts(4, [0.01] * 3) == [1, 1, 0]  # CLS goes on alone, as in the authors' code
    assert keep_counts(4096, [0.25] * 3) == [1024, 256, 64]
    assert keep_counts(27, [1.0] * 3) == [27, 27, 27]


@pytest.mark.parametrize("keep_ratio", [1.0, 0.5, 0.1, 0.01, (0.9, 0.5, 0.2)])
def test_trace_scores_and_stages_tell_the_same_story(keep_ratio: float | tuple[float, ...]) -> None:
    net = network().eval()
    with torch.no_grad():
        _, trace = net.forward_with_trace(window(net, batch=2), keep_ratio)
    token_count = math.prod(net.grid)
    ratios = keep_ratio if isinstance(keep_ratio, tuple) else (keep_ratio,) * 3
    counts = keep_counts(token_count, ratios)
    stage = trace.stage.flatten(1)
    assert trace.stage.shape == (2, *net.grid)
    assert trace.stage.dtype == torch.uint8
    for number, scores in enumerate(trace.scores, start=1):
        assert scores.shape == (2, token_count)
        assert torch.equal(scores.isnan(), stage < number)
        kept, pruned = scores.clone(), scores.clone()
        kept[stage <= number] = math.inf
        pruned[stage != number] = -math.inf
        assert (kept.amin(1) >= pruned.amax(1)).all()
        assert ((stage > number).sum(1) == counts[number - 1]).all()


def test_each_sample_of_a_batch_is_pruned_on_its_own() -> None:
    net = network().eval()
    batch = window(net, batch=3)
    with torch.no_grad():
        together, trace = net.forward_with_trace(batch, 0.25)
        alone = [net.forward_with_trace(batch[i : i + 1], 0.25) for i in range(3)]
    assert not torch.equal(trace.stage[0], trace.stage[1])
    for i, (logits, own) in enumerate(alone):
        assert torch.equal(trace.stage[i], own.stage[0])
        torch.testing.assert_close(together[i], logits[0], atol=1e-5, rtol=1e-5)


def test_the_default_keep_ratio_is_the_constructor_s() -> None:
    net = network(keep_ratio=0.3).eval()
    x = window(net)
    with torch.no_grad():
        assert torch.equal(net(x), net(x, 0.3))
        assert not torch.equal(net(x), net(x, 1.0))


@pytest.mark.parametrize("keep_ratio", [0.0, 1.5, -0.1, math.nan, (0.5, 0.5), (0.5, 0.5, 0.0)])
def test_keep_ratios_that_make_no_sense_are_refused(keep_ratio: float | tuple[float, ...]) -> None:
    net = network(FOUR_TOKENS).eval()
    with pytest.raises(ValueError, match="keep ratio"):
        net(window(net), keep_ratio)


def test_training_differs_between_calls_and_inference_does_not() -> None:
    net = network().train()
    x = window(net)
    with torch.no_grad():
        assert not torch.equal(net(x, 0.25), net(x, 0.25))
        net.eval()
        assert torch.equal(net(x, 0.25), net(x, 0.25))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_autocast_runs_and_stays_near_full_precision(dtype: torch.dtype, training: bool) -> None:
    net = network().train(training)
    x = window(net, batch=2)
    with torch.autocast("cpu", dtype):
        logits = net(x, 0.5)
        # Whole tokens change sides when scores move a little, so numbers are compared where none is pruned.
        dense = net.eval()(x, 1.0)
    assert logits.isfinite().all()
    with torch.no_grad():
        reference = net(x, 1.0)
    assert (dense.float() - reference).norm() < 0.05 * reference.norm()


@pytest.mark.parametrize(
    "backend",
    [
        "eager",  # traces the graph, as every backend does, without generating code
        pytest.param(
            "inductor",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler on the CPU"),
            ],
        ),
    ],
)
def test_inference_compiles_without_graph_breaks(backend: str) -> None:
    net = network().eval()
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    x = window(net)
    with torch.no_grad():
        for keep_ratio in (0.5, 0.25):
            torch.testing.assert_close(compiled(x, keep_ratio), net(x, keep_ratio), atol=1e-4, rtol=1e-4)


@pytest.mark.gpu
def test_cuda_gives_the_cpu_s_logits() -> None:
    net = network().eval()
    x = window(net)
    with torch.no_grad():
        expected = net(x, 0.25)
        torch.testing.assert_close(net.cuda()(x.cuda(), 0.25).cpu(), expected, atol=1e-3, rtol=1e-3)
