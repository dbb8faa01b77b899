"""Throughput: what is timed is what training and inference do, and it leaves the networks as they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from scdseg.errors import DeviceError
from scdseg.networks import SCDUNETR, UNETR, macs
from scdseg.training.settings import OptimisationSettings
from scdseg.training.throughput import Candidate, Throughput, measure_throughput

SETTINGS = OptimisationSettings(steps=1, learning_rate=1e-2, batch_size=2)
BOTH: dict[str, Any] = {
    "in_channels": 1,
    "out_channels": 3,
    "img_size": (32, 32, 32),
    "feature_size": 4,
    "hidden_size": 48,
    "mlp_dim": 96,
    "num_layers": 9,
    "num_heads": 4,
    "decoder": "light",
    "token_head": True,
}


def networks() -> tuple[UNETR, SCDUNETR]:
    torch.manual_seed(0)
    return UNETR(**BOTH), SCDUNETR(**BOTH, prune_after=(3, 6), assembly_size=48, assembly_heads=4)


def test_candidates_are_measured_and_left_as_they_were() -> None:
    dense, sparse = networks()
    before = {name: weight.clone() for name, weight in sparse.state_dict().items()}
    candidates = [
        Candidate("dense", dense, None, SETTINGS),
        Candidate("keep 1", sparse, 1.0, SETTINGS),
        Candidate("keep 0.1", sparse, 0.1, replace(SETTINGS, gradient_clip=0.0)),
    ]
    told = []
    measured = measure_throughput(candidates, "cpu", "fp32", 2, lambda done, total: told.append((done, total)))
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert (measured.precision, measured.rounds, measured.threads) == ("fp32", 2, torch.get_num_threads())
    assert "CPU" in measured.device
    assert "keeps for the backward pass" in measured.memory
    assert [row.name for row in measured.rows] == ["dense", "keep 1", "keep 0.1"]
    for row, candidate in zip(measured.rows, candidates, strict=True):
        assert len(row.step_seconds) == len(row.window_seconds) == 2
        assert min(row.step_seconds) > min(row.window_seconds) > 0
        assert row.macs == macs(candidate.network, candidate.keep_ratio)
        assert row.parameters == sum(weight.numel() for weight in candidate.network.parameters())
    # Fewer tokens keep less for the backward pass, and one scan's logits alone are 2 · 3 · 32³ numbers of 4 bytes.
    memory = [row.training_bytes for row in measured.rows]
    assert memory[1] > memory[2] > 2 * 3 * 32**3 * 4
    assert all(torch.equal(before[name], weight) for name, weight in sparse.state_dict().items())
    assert all(weight.grad is None for weight in sparse.parameters())


def test_a_sigmoid_network_is_measured_in_bfloat16() -> None:
    network = UNETR(**{**BOTH, "token_head": False})
    settings = replace(SETTINGS, loss="dice_sigmoid", batch_size=1)
    measured = measure_throughput([Candidate("regions", network, None, settings)], "cpu", "bf16", 1)
    assert (measured.precision, measured.rows[0].batch_size) == ("bf16", 1)


def test_rates_and_multiples_are_of_the_seconds_measured() -> None:
    slow = Throughput("slow", None, 1, 1, 1, (2.0, 4.0, 2.0), (1.0, 1.0, 3.0), 0)
    fast = Throughput("fast", 0.1, 1, 1, 2, (1.0, 1.0, 2.0), (0.5, 0.25, 0.5), 0)
    assert (slow.training_rate, slow.inference_rate) == (0.5, 1.0)
    assert (fast.training_rate, fast.inference_rate) == (2.0, 2.0)
    assert fast.step == (1.0, 1.0, 1.5)
    # Round by round 2, 4 and 1 times as fast a step, each of twice the windows.
    assert fast.training_speedup(slow) == (4.0, 3.0, 6.0)
    assert fast.inference_speedup(slow) == (4.0, 3.0, 5.0)
    assert slow.training_speedup(slow) == (1.0, 1.0, 1.0)


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(DeviceError, match="'quantum' is not available"):
        measure_throughput([Candidate("dense", networks()[0], None, SETTINGS)], "quantum")
