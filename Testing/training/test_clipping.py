"""Gradients are clipped where Lightning's own clipping refuses to."""

from __future__ import annotations

import os
import subprocess
import sys

_SHARDED = """
import os
from types import SimpleNamespace
import torch
from torch.distributed.fsdp import FullyShardedDataParallel
from scdseg.training.optimiser import ClipsGradients

torch.distributed.init_process_group("gloo")
module = ClipsGradients()
module.layer = torch.nn.Linear(4, 4)
whole = FullyShardedDataParallel(module.layer, device_id=torch.device("cpu"))
(100 * whole(torch.ones(2, 4)).sum()).backward()
module._trainer = SimpleNamespace(strategy=SimpleNamespace(model=whole))
for limit in (None, 0.5):
    module.configure_gradient_clipping(None, limit)
    print(float(torch.nn.utils.get_total_norm([weight.grad for weight in whole.parameters()])))
"""


def test_gradients_of_sharded_weights_are_clipped() -> None:
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517", "RANK": "0", "WORLD_SIZE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _SHARDED],
        check=True, capture_output=True, text=True, env={**os.environ, **group},
    )  # fmt: skip
    before, after = map(float, done.stdout.split())
    assert before > 100
    assert abs(after - 0.5) < 1e-4
