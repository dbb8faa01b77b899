"""Importance and survival mean what the results' description says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scdseg.inference.maps import TokenMap, token_affine, token_importance, token_survival
from scdseg.networks import SCDUNETR
from scdseg.networks.scd_unetr import TokenTrace

NAN = torch.nan


def test_importance_orders_by_stage_then_by_rank_among_the_tokens_scored_there() -> None:
    # Five tokens, two stages: 0 and 3 pruned at stage 1, 4 at stage 2, 1 and 2 kept.
    trace = TokenTrace(
        [torch.tensor([[-5.0, -1.0, -2.0, -4.0, -3.0]]), torch.tensor([[NAN, -9.0, -7.0, NAN, -9.5]])],
        torch.tensor([[1, 3, 3, 1, 2]], dtype=torch.uint8).reshape(1, 5, 1, 1),
    )
    importance = token_importance(trace).flatten().tolist()
    # Stage 1 ranks all five scored there; stage 2 the three that came so far.
    assert importance == pytest.approx(
        [(0 + 0 / 4) / 2, (1 + 1 / 2) / 2, (1 + 2 / 2) / 2, (0 + 1 / 4) / 2, (1 + 0) / 2]
    )
    assert token_survival(trace).flatten().tolist() == [0, 1, 1, 0, 0.5]


def test_equal_scores_are_equally_important_and_a_lone_token_is_most_important() -> None:
    stage = torch.tensor([[2, 2, 2, 2]], dtype=torch.uint8).reshape(1, 4, 1, 1)
    tied = TokenTrace([torch.tensor([[-1.0, -1.0, -3.0, -0.5]])], stage)
    assert token_importance(tied).flatten().tolist() == pytest.approx([0.5, 0.5, 0, 1])
    alone = TokenTrace(
        [torch.tensor([[-1.0, -2.0]]), torch.tensor([[-7.0, NAN]])],
        torch.tensor([[3, 1]], dtype=torch.uint8).reshape(1, 2, 1, 1),
    )
    assert token_importance(alone).flatten().tolist() == pytest.approx([1, 0])


def test_a_real_trace_gives_values_from_0_to_1_where_survivors_come_first() -> None:
    torch.manual_seed(0)
    sizes = {"feature_size": 4, "hidden_size": 24, "mlp_dim": 24, "num_layers": 3, "assembly_size": 12}
    network = SCDUNETR(1, 2, (16, 16, 32), num_heads=2, prune_after=(1, 2, 3), assembly_heads=2, **sizes).eval()
    with torch.inference_mode():
        _, trace = network.forward_with_trace(torch.randn(2, 1, 16, 16, 32), keep_ratio=0.5)
    importance, survival = token_importance(trace), token_survival(trace)
    assert importance.shape == survival.shape == (2, 2, 2, 4)
    assert importance.min() == 0
    assert importance.max() == 1
    for stage in (1, 2, 3):
        # Pruned at a stage: scored below every token that survived it.
        pruned, survived = importance[trace.stage == stage], importance[trace.stage > stage]
        assert pruned.max() < survived.min()


def test_windows_are_averaged_where_they_overlap() -> None:
    tokens = TokenMap((24, 8, 8), patch=8)
    tokens.add((0, 0, 0), torch.tensor([0.2, 0.4]).reshape(2, 1, 1))
    tokens.add((8, 0, 0), torch.tensor([0.8, 1.0]).reshape(2, 1, 1))
    np.testing.assert_allclose(tokens.mean().ravel(), [0.2, 0.6, 1.0], rtol=1e-6)


def test_the_first_token_lies_at_the_centre_of_the_first_patch_also_if_oblique() -> None:
    rotated = np.array([[0.0, -2, 0, 5], [1, 0, 0, -3], [0, 0, 3, 7], [0, 0, 0, 1]])
    tokens = token_affine(rotated, 8)
    corners = np.array([[i, j, k, 1] for i in (0, 7) for j in (0, 7) for k in (0, 7)])
    np.testing.assert_allclose(tokens @ [0, 0, 0, 1], (corners @ rotated.T).mean(axis=0))
    np.testing.assert_allclose(tokens @ [1, 2, 3, 1], ((corners + np.array([8, 16, 24, 0])) @ rotated.T).mean(axis=0))
