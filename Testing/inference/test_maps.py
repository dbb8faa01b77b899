"""Importance, survival, stages and scores mean what the results' description says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scdseg.inference.maps import TokenMaps, token_affine, token_importance, token_scores
from scdseg.networks import SCDUNETR
from scdseg.networks.scd_unetr import TokenTrace

NAN = np.nan


def trace_of(stage: list[list[int]], *scores: list[list[float]]) -> TokenTrace:
    """Trace of windows whose tokens lie in a row: stage (B, L), and log-scores (B, L) for each stage."""
    return TokenTrace([torch.tensor(of_stage) for of_stage in scores], torch.tensor(stage).byte()[:, :, None, None])


def maps_of(length: int, stages: int, *windows: tuple[int, TokenTrace]) -> TokenMaps:
    """Maps of a row of so many tokens that these windows saw, each beginning at a token."""
    maps = TokenMaps((8 * length, 8, 8), 8, stages)
    for first, trace in windows:
        maps.add([(8 * first, 0, 0)], trace)
    return maps


# Five tokens, two stages: 0 and 3 pruned at stage 1, 4 at stage 2, 1 and 2 kept.
FIVE = trace_of([[1, 3, 3, 1, 2]], [[-5, -1, -2, -4, -3]], [[NAN, -9, -7, NAN, -9.5]])


def test_scores_are_ranks_among_the_tokens_scored_at_the_stage_and_nan_where_none_was() -> None:
    scores = token_scores(FIVE)
    assert scores.shape == (1, 2, 5, 1, 1)
    # Stage 1 ranks all five scored there; stage 2 the three that came so far.
    expected = [[0, 1, 0.75, 0.25, 0.5], [NAN, 0.5, 1, NAN, 0]]
    np.testing.assert_allclose(scores.reshape(2, 5), expected, rtol=1e-6)


def test_importance_orders_by_stage_then_by_score() -> None:
    maps = maps_of(5, 2, (0, FIVE))
    assert maps.importance().ravel() == pytest.approx(
        [(0 + 0) / 2, (1 + 0.5) / 2, (1 + 1) / 2, (0 + 0.25) / 2, (1 + 0) / 2]
    )
    assert maps.survival().ravel().tolist() == [0, 1, 1, 0, 0.5]
    assert maps.stage().ravel().tolist() == [1, 3, 3, 1, 2]
    assert maps.stage().dtype == np.uint8


def test_equal_scores_are_equally_important_and_a_lone_token_is_most_important() -> None:
    tied = trace_of([[2, 2, 2, 2]], [[-1.0, -1.0, -3.0, -0.5]])
    assert maps_of(4, 1, (0, tied)).importance().ravel() == pytest.approx([0.5, 0.5, 0, 1])
    alone = trace_of([[3, 1]], [[-1.0, -2.0]], [[-7.0, NAN]])
    assert maps_of(2, 2, (0, alone)).importance().ravel() == pytest.approx([1, 0])


def test_a_score_of_minus_infinity_is_the_lowest() -> None:
    # In float32 the logarithm of a probability of 0.
    scores = token_scores(trace_of([[1, 2, 2]], [[-torch.inf, -1e30, -2.0]]))
    assert scores.flatten().tolist() == [0, 0.5, 1]


def test_windows_of_one_batch_are_ranked_each_by_itself() -> None:
    both = trace_of([[1, 2], [2, 1]], [[-1.0, -0.5], [-8.0, -9.0]])
    maps = TokenMaps((32, 8, 8), 8, 1)
    maps.add([(0, 0, 0), (16, 0, 0)], both)
    assert maps.importance().ravel().tolist() == [0, 1, 1, 0]
    assert maps.stage().ravel().tolist() == [1, 2, 2, 1]


def test_a_real_trace_gives_values_from_0_to_1_where_survivors_come_first() -> None:
    torch.manual_seed(0)
    sizes = {"feature_size": 4, "hidden_size": 24, "mlp_dim": 24, "num_layers": 3, "assembly_size": 12}
    network = SCDUNETR(1, 2, (16, 16, 32), num_heads=2, prune_after=(1, 2, 3), assembly_heads=2, **sizes).eval()
    with torch.inference_mode():
        _, trace = network.forward_with_trace(torch.randn(2, 1, 16, 16, 32), keep_ratio=0.5)
    scores = token_scores(trace)
    importance = token_importance(trace.stage, scores)
    assert importance.shape == (2, 2, 2, 4)
    assert importance.min() == 0
    assert importance.max() == 1
    for stage in (1, 2, 3):
        pruned, survived = trace.stage == stage, trace.stage > stage
        assert importance[pruned].max() < importance[survived].min()
        assert scores[:, stage - 1][pruned].max() < scores[:, stage - 1][survived].min()


def test_importance_stage_and_scores_of_a_single_window_belong_together() -> None:
    torch.manual_seed(1)
    sizes = {"feature_size": 4, "hidden_size": 24, "mlp_dim": 24, "num_layers": 3, "assembly_size": 12}
    network = SCDUNETR(1, 2, (24, 16, 32), num_heads=2, prune_after=(1, 2, 3), assembly_heads=2, **sizes).eval()
    maps = TokenMaps((24, 16, 32), 8, 3)
    with torch.inference_mode():
        _, trace = network.forward_with_trace(torch.randn(1, 1, 24, 16, 32), keep_ratio=0.6)
        maps.add([(0, 0, 0)], trace)
    importance, stage, scores = maps.importance(), maps.stage(), maps.scores()
    assert importance.shape == stage.shape == (3, 2, 4)
    assert scores.shape == (3, 2, 4, 3)
    np.testing.assert_array_equal(stage, trace.stage[0])
    last = np.minimum(stage, 3).astype(int)
    rank = np.take_along_axis(scores, last[..., None] - 1, axis=3)[..., 0]
    np.testing.assert_allclose(importance, (last - 1 + rank) / 3, rtol=1e-6)
    np.testing.assert_allclose(maps.survival(), (stage - 1) / 3, rtol=1e-6)
    # A stage scores what came to it and nothing else.
    np.testing.assert_array_equal(np.isnan(scores), stage[..., None] < np.arange(1, 4))


def test_overlapping_windows_are_averaged_and_each_score_only_over_those_that_scored_the_token() -> None:
    # Token 1 is the best of the first window and pruned first in the second; token 2 is seen by the second alone.
    first = trace_of([[1, 3]], [[-2.0, -1.0]], [[NAN, -1.0]])
    second = trace_of([[1, 3]], [[-2.0, -1.0]], [[NAN, -1.0]])
    maps = maps_of(3, 2, (0, first), (1, second))
    assert maps.importance().ravel() == pytest.approx([0, (1 + 0) / 2, 1])
    assert maps.survival().ravel() == pytest.approx([0, (1 + 0) / 2, 1])
    expected = [[0, NAN], [(1 + 0) / 2, 1], [1, 1]]
    np.testing.assert_allclose(maps.scores().reshape(3, 2), expected)


# How far a token came in each of the windows that saw it, of two stages, and in all.
MAJORITIES = {
    "all alike": ([2, 2, 2], 2),
    "most pruned it first": ([1, 3, 1], 1),
    "most kept it": ([3, 1, 3], 3),
    "half kept it": ([1, 3], 3),
    "half pruned it first, none kept it": ([1, 2], 2),
    "each stage by itself": ([1, 2, 3], 2),
    "half of four at the first stage, fewer at the second": ([1, 1, 3, 2], 2),
}


@pytest.mark.parametrize("case", MAJORITIES)
def test_a_token_counts_as_kept_at_a_stage_if_at_least_half_of_its_windows_kept_it(case: str) -> None:
    stages, expected = MAJORITIES[case]
    windows = [(0, trace_of([[stage]], [[-1.0]], [[NAN if stage == 1 else -1.0]])) for stage in stages]
    assert maps_of(1, 2, *windows).stage().tolist() == [[[expected]]]


def test_the_first_token_lies_at_the_centre_of_the_first_patch_also_if_oblique() -> None:
    rotated = np.array([[0.0, -2, 0, 5], [1, 0, 0, -3], [0, 0, 3, 7], [0, 0, 0, 1]])
    tokens = token_affine(rotated, 8)
    corners = np.array([[i, j, k, 1] for i in (0, 7) for j in (0, 7) for k in (0, 7)])
    np.testing.assert_allclose(tokens @ [0, 0, 0, 1], (corners @ rotated.T).mean(axis=0))
    np.testing.assert_allclose(tokens @ [1, 2, 3, 1], ((corners + np.array([8, 16, 24, 0])) @ rotated.T).mean(axis=0))
