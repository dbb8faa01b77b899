"""Influence: how much each token moved the labels, by one backward pass a window.

Importance is what the network scored; influence is what its labels depend on: the gradient of the labels' margins by
the tokens, as they leave the patch embedding (Simonyan et al., *Deep inside convolutional networks*, 2014, of image
classes and voxels). It is not the paper's. ``Testing/measure_influence.py`` tests by deletion whether it says whose
loss changes labels, and compares other measures of the gradient.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from monai.data.utils import compute_importance_map
from torch import Tensor, nn

from scdseg.bundle import Bundle, Label
from scdseg.errors import Cancelled, DeviceError, InputError
from scdseg.inference.arguments import check_keep_ratio, check_overlap
from scdseg.inference.maps import token_affine
from scdseg.inference.memory import machine_errors, peak_memory, require_memory, window_bytes
from scdseg.inference.result import Result
from scdseg.inference.segmenter import Prepared, Progress, Segmenter
from scdseg.inference.windows import Start, window_starts, worth_computing
from scdseg.networks import SCDUNETR
from scdseg.volumes import Volume
from scdseg.window_cost import window_tokens

# What a window keeps for its backward pass, in activations of its forward pass alone, and in numbers as many as a token
# has channels, for every block.
_BACKWARD = 2
_BLOCK_KEEPS = 14
# Of the tokens with any influence: as many reach 1, so that one that stands out does not leave all others dark.
_SATURATED = 0.005
Measure = Callable[[Tensor, Tensor], Tensor]
"""Influence (L,) of tokens from their gradient (L, C) and themselves (L, C)."""


def token_influence(
    segmenter: Segmenter,
    prepared: Prepared,
    label: str | int | None = None,
    keep_ratio: float | Sequence[float] | None = None,
    overlap: float | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Volume:
    """Influence of every token on the labels.

    Args:
        segmenter: the model on its device.
        prepared: images, from :meth:`Segmenter.prepare`.
        label: name or value of the structure whose voxels count; None: those of all structures.
        keep_ratio: as that of :meth:`Segmenter.run`, whose labels are asked about.
        overlap: likewise.
        progress: called with ``"influence"``, windows done and in all, and the seconds left.
        cancelled: polled between windows.

    Returns:
        (X', Y', Z') float32 in [0, 1] on the token grid; all 0 if the structure is nowhere.

    Raises:
        InputError: no such label, or keep ratio or overlap out of range.
        ResourceError: too little memory.
        DeviceError: the network computed gradients that are not numbers.
        Cancelled: ``cancelled`` returned True.
    """
    channels = [each.channel for each in labels_asked_for(segmenter.bundle, label)]
    raw = raw_influence(segmenter, prepared, channels, keep_ratio, overlap, progress, cancelled)
    affine = token_affine(prepared.image.affine.numpy(), segmenter.bundle.network["patch_size"])
    return Volume(normalised(raw.numpy()), affine)


def with_influence(
    segmenter: Segmenter, prepared: Prepared, result: Result, label: str | int | None, progress: Progress | None = None
) -> Result:
    """A run's result with the influence of its tokens on a label, or on all; see :func:`token_influence`."""
    began = time.perf_counter()
    report = result.report
    overlap = report["windows"]["overlap"]
    influence = token_influence(segmenter, prepared, label, report["keep_ratio"], overlap, progress)
    taken = round(time.perf_counter() - began, 3)
    steps = {step: seconds for step, seconds in report["seconds"].items() if step != "total"}
    total = round(report["seconds"]["total"] + taken, 3)
    name = None if label is None else labels_asked_for(segmenter.bundle, label)[0].name
    changed = {
        "influence": {"label": name},
        "threads": _of_both(report["threads"], segmenter.threads.to_json()),
        "seconds": {**steps, "influence": taken, "total": total},
        "peak_memory_bytes": peak_memory(segmenter.device),
    }
    return replace(result, influence=influence, report={**report, **changed})


def labels_asked_for(bundle: Bundle, label: str | int | None) -> list[Label]:
    """The label of this name or value, or all of them.

    Raises:
        InputError: the model has no such label.
    """
    found = [each for each in bundle.labels if label is None or label in (each.name, each.value, str(each.value))]
    if not found:
        raise InputError(f"model {bundle.name} has no label {label!r:.100}: give the name or value of one that it has")
    return found


def gradient_norm(gradient: Tensor, tokens: Tensor) -> Tensor:
    """How fast the labels' margins change as a token does, in the direction in which they change most."""
    return gradient.norm(dim=-1)


def raw_influence(
    segmenter: Segmenter,
    prepared: Prepared,
    channels: Sequence[int],
    keep_ratio: float | Sequence[float] | None = None,
    overlap: float | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    measure: Measure = gradient_norm,
) -> Tensor:
    """Influence (X', Y', Z') float32 of the tokens on labels of these channels, before it is normalised.

    A window's margins count as much as the window does where its logits are blended with those of others; then the
    windows that see a token are added up.
    """
    bundle, device = segmenter.bundle, segmenter.device
    ratio = check_keep_ratio(bundle.keep_ratio if keep_ratio is None else keep_ratio, bundle)
    share = check_overlap(bundle.overlap if overlap is None else overlap)
    window, patch = bundle.network["img_size"], bundle.network["patch_size"]
    image = prepared.image.as_tensor()
    computed = worth_computing(image, window_starts(image.shape[1:], window, patch, share), window)
    require_memory(backward_bytes(bundle.network, device), "influence", device)
    blend = compute_importance_map(tuple(window), mode="gaussian", device=device)
    network = cast(SCDUNETR, segmenter.network).requires_grad_(False)  # of the tokens alone
    total = torch.zeros([n // patch for n in image.shape[1:]])
    began = time.perf_counter()
    _tell(progress, cancelled, 0, len(computed), None)
    # Within an inference mode there would be no gradients, and what was made there has none.
    with (
        machine_errors(device), torch.inference_mode(False), torch.enable_grad(), segmenter.threads,
        _leaves(network.encoder.embedding) as leaves,
    ):  # fmt: skip
        for done, start in enumerate(computed, start=1):
            pixels = image[(slice(None), *_slices(start, window, 1))][None].to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=segmenter.dtype == torch.bfloat16):
                logits, _ = network.finish(network.share(pixels), ratio)
            direction = _margin_gradient(logits, channels, bundle.activation, _shares(start, computed, blend))
            tokens = leaves.pop()
            (gradient,) = torch.autograd.grad(logits, tokens, direction)
            moved = measure(gradient[0, 1:].float(), tokens[0, 1:].detach().float()).cpu()
            if not moved.isfinite().all():
                raise DeviceError(
                    f"gradients of the labels are not numbers on {device}: use another device or precision"
                )
            total[_slices(start, window, patch)] += moved.reshape(network.encoder.embedding.grid)
            segmenter.threads.choose_again()
            left = (time.perf_counter() - began) / done * (len(computed) - done)
            _tell(progress, cancelled, done, len(computed), left)
    return total


def backward_bytes(network: Mapping[str, Any], device: torch.device) -> int:
    """Upper estimate of what one window takes forward and back, bytes; as if no token were pruned.

    Args:
        network: arguments of ``SCDUNETR``.
        device: that computes.
    """
    features, inputs, classes = (network[name] for name in ("feature_size", "in_channels", "out_channels"))
    tokens = 4 * _BLOCK_KEEPS * window_tokens(network) * network["hidden_size"] * network["num_layers"]
    return _BACKWARD * window_bytes(network["img_size"], features, inputs, classes, device) + tokens


def normalised(raw: np.ndarray) -> np.ndarray:
    """Influence in [0, 1]: 1 for the two hundredth part of the tokens that have most."""
    positive = raw[raw > 0]
    scale = np.quantile(positive, 1 - _SATURATED) if positive.size else 1.0
    return np.clip(raw / scale, 0, 1).astype(np.float32)


@contextmanager
def _leaves(embedding: nn.Module) -> Iterator[list[Tensor]]:
    """The tokens (B, L + 1, C) of each forward pass, as what gradients can be taken of."""
    leaves: list[Tensor] = []

    def keep(module: nn.Module, images: tuple[Tensor, ...], tokens: Tensor) -> Tensor:
        leaves.append(tokens.detach().requires_grad_())
        return leaves[-1]

    hook = None
    try:
        # Within, since an interrupt can come right behind it.
        hook = embedding.register_forward_hook(keep)
        yield leaves
    finally:
        if hook is not None:
            hook.remove()


@torch.no_grad()
def _margin_gradient(logits: Tensor, channels: Sequence[int], activation: str, weight: Tensor) -> Tensor:
    """Gradient of the labels' margins by the logits (1, K, *window), each voxel's times its weight (*window).

    The margin of a voxel is how far its label's logit lies above the next one, or above 0 where labels overlap. It
    counts where the label is one of these channels'.
    """
    wanted = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
    wanted[list(channels)] = True
    weight = weight.to(logits.dtype)[None, None]
    if activation == "sigmoid":
        return (logits > 0) * wanted[:, None, None, None] * weight
    winner, next_one = logits.topk(2, dim=1).indices.split(1, dim=1)
    weight = weight * wanted[winner]
    return torch.zeros_like(logits).scatter_(1, winner, weight).scatter_(1, next_one, -weight)


def _shares(start: Start, starts: Sequence[Start], blend: Tensor) -> Tensor:
    """Share (*window) of a window's logits in those of the volume, where windows are blended with this weight."""
    total = torch.zeros_like(blend)
    for other in starts:
        shift = [b - a for a, b in zip(start, other, strict=True)]
        if all(abs(s) < n for s, n in zip(shift, blend.shape, strict=True)):
            here = tuple(slice(max(0, s), n + min(0, s)) for s, n in zip(shift, blend.shape, strict=True))
            there = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, blend.shape, strict=True))
            total[here] += blend[there]
    return blend / total


def _of_both(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Threads of a report for two pieces of work."""
    return {**now, "least": min(before["least"], now["least"]), "most": max(before["most"], now["most"])}


def _slices(start: Start, window: Sequence[int], unit: int) -> tuple[slice, ...]:
    return tuple(slice(s // unit, (s + w) // unit) for s, w in zip(start, window, strict=True))


def _tell(
    progress: Progress | None, cancelled: Callable[[], bool] | None, done: int, total: int, left: float | None
) -> None:
    if cancelled is not None and cancelled():
        raise Cancelled("cancelled: nothing was written")
    if progress is not None:
        progress("influence", done, total, left)
