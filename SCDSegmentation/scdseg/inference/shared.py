"""What the runs of one image at several keep ratios have in common, kept from the first run for the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from scdseg.inference.windows import Start
from scdseg.networks.scd_unetr import SharedFeatures, TokenTrace


class WindowNetwork(Protocol):
    """What the pipeline needs of a network, which :class:`~scdseg.networks.SCDUNETR` has."""

    def share(self, x: Tensor) -> Any:
        """The part of the work on windows (B, in_channels, *img_size) that is the same at every keep ratio."""
        ...

    def finish(self, shared: Any, keep_ratio: float | Sequence[float] | None) -> tuple[Tensor, TokenTrace]:
        """The rest of it: logits (B, out_channels, *img_size), and what happened to each token."""
        ...


class SharedWork:
    """Keeps the shared features of windows as long as there is room, and the time that each saves.

    Belongs to one image, one overlap and one model.

    Args:
        device: that the network is on.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds_saved = 0.0
        self._limit: int | None = None
        self._kept: dict[tuple[Start, ...], tuple[SharedFeatures, float]] = {}

    def begin(self, limit: int) -> None:
        """A run begins: nothing is saved yet.

        Args:
            limit: bytes that may be taken; those of the first run count.
        """
        self.seconds_saved = 0.0
        self._limit = limit if self._limit is None else self._limit

    def features(self, starts: Sequence[Start], compute: Callable[[], SharedFeatures]) -> SharedFeatures:
        """The shared features of the windows that begin at these voxels: those that were kept, or computed now."""
        key = tuple(starts)
        if key in self._kept:
            features, seconds = self._kept[key]
            self.seconds_saved += seconds
            return features
        _finish_work(self._device)
        began = time.perf_counter()
        features = compute()
        _finish_work(self._device)
        seconds = time.perf_counter() - began
        room = (self._limit or 0) - sum(_size(kept) for kept, _ in self._kept.values())
        if _size(features) <= room:
            self._kept[key] = features, seconds
        return features


def _size(features: SharedFeatures) -> int:
    """In bytes."""
    return sum(part.numel() * part.element_size() for part in features if part is not None)


def _finish_work(device: torch.device) -> None:
    """Wait until a GPU has done what it was given, or its time would be counted elsewhere."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
