"""The memory of a training step is known before it is taken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from scdseg.errors import InputError
from scdseg.networks import SCDUNETR
from scdseg.training import memory
from scdseg.training.devices import Devices

NETWORK: dict[str, Any] = {
    "in_channels": 1,
    "out_channels": 4,
    "img_size": [32, 32, 32],
    "feature_size": 8,
    "hidden_size": 48,
    "mlp_dim": 96,
    "num_layers": 6,
    "num_heads": 4,
    "prune_after": [2, 4],
    "assembly_size": 48,
    "assembly_heads": 4,
    "decoder": "shallow",
}


def kept_for_backward(network: SCDUNETR, batch: int) -> int:
    """Bytes that a real step keeps for its backward pass, weights apart."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network.train()(torch.rand(batch, 1, 32, 32, 32), 0.5)
    return sum(kept.values())


@pytest.mark.parametrize("batch", [1, 3])
def test_the_estimate_is_what_a_step_keeps(batch: int) -> None:
    network = SCDUNETR(**NETWORK)
    fixed = sum(p.numel() for p in network.parameters()) * 16 + batch * 4 * 32**3 * 4 * 5
    estimate = memory.step_bytes(network, batch, 0.5) - fixed
    assert estimate == pytest.approx(kept_for_backward(network, batch), rel=0.1)


def test_mixed_precision_keeps_less() -> None:
    network = SCDUNETR(**NETWORK)
    assert memory.step_bytes(network, 2, 0.5, half=True) < memory.step_bytes(network, 2, 0.5)


def test_a_step_that_does_not_fit_is_refused_with_what_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    network = SCDUNETR(**NETWORK)
    needed = memory.step_bytes(network, 2, 1.0)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=needed - 1))
    with pytest.raises(InputError, match=r"one training step takes about .* GB.*the batch \(2\) or network\.img_size"):
        memory.check_memory(network, 2, 1.0, False, Devices("cpu"))
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=needed))
    memory.check_memory(network, 2, 1.0, False, Devices("cpu"))


def test_every_process_on_the_cpu_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    network = SCDUNETR(**NETWORK)
    needed = memory.step_bytes(network, 2, 1.0)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=1.5 * needed))
    memory.check_memory(network, 2, 1.0, False, Devices("cpu"))
    with pytest.raises(InputError, match="one training step takes"):
        memory.check_memory(network, 2, 1.0, False, Devices("cpu", per_node=2))
