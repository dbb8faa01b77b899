"""The most memory that tensors take at a time."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# What the figures are, by type of device.
MEANING = {
    "cuda": "most that was allocated on the GPU beyond what was there before",
    "cpu": "most that tensors made meanwhile took at a time; the libraries' own scratch memory is not counted",
}


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Bytes that a piece of work takes at its peak, beyond what was there before; see :data:`MEANING`."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with _LiveTensors() as live:
        work()
    return live.most


class _LiveTensors(TorchDispatchMode):
    """Counts the memory behind every tensor that an operation hands out, for as long as something holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._now = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                key = storage._cdata
                if key not in self._known and key not in given:
                    self._now += storage.nbytes()
                    self._known[key] = weakref.finalize(storage, self._forget, key, storage.nbytes())
        self.most = max(self.most, self._now)
        return result

    def _forget(self, key: int, count: int) -> None:
        self._now -= count
        self._known.pop(key, None)
