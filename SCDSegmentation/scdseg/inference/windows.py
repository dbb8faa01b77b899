"""Sliding windows by whole patches, blended with a Gaussian, that never hold more logits than one window is deep.

MONAI's ``sliding_window_inference`` holds the logits of the whole volume and knows no token grid; its window positions
and its Gaussian are used here. Windows come in order along one axis, mostly the volume's longest. As soon as no further
window reaches a row of voxels across that axis, the row is finished: it is handed on and its memory is used for the
next rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from torch import Tensor

Start = tuple[int, int, int]
Order = tuple[int, int, int]
"""A volume's axes, first the one along which bands follow each other."""


class Rows(NamedTuple):
    """Finished logits of a band of the volume."""

    first: int  # index of the first row on the axis along which bands follow each other
    logits: Tensor  # (classes, rows, …) with the axes in the bands' order; overwritten when the next band is asked for
    last: bool  # True if no band follows


def window_starts(shape: Sequence[int], window: Sequence[int], patch: int, overlap: float) -> list[Start]:
    """First voxels of the windows that cover a volume, all multiples of the patch, ascending.

    Args:
        shape: of the volume in voxels, at least a window and divisible by the patch.
        window: in voxels, divisible by the patch.
        patch: edge in voxels.
        overlap: share of a window, in [0, 1), that the next one covers again; rounded to whole patches.
    """
    steps = [max(patch, round((1 - overlap) * w / patch) * patch) for w in window]
    slices = dense_patch_slices(tuple(shape), tuple(window), steps)
    return sorted({(int(x.start), int(y.start), int(z.start)) for x, y, z in slices})


def band_order(shape: Sequence[int], window: Sequence[int]) -> Order:
    """The axes in the order in which bands hold the fewest voxels: as deep as a window, and a row that they share.

    Args:
        shape: (3,) of the volume in voxels.
        window: (3,) voxels.
    """
    axis = min(range(3), key=lambda axis: band_voxels(shape, window, axis))
    first, second = (other for other in range(3) if other != axis)
    return axis, first, second


def band_voxels(shape: Sequence[int], window: Sequence[int], axis: int) -> int:
    """Voxels that are held at a time when bands follow each other along an axis."""
    return (window[axis] + 1) * math.prod(count for other, count in enumerate(shape) if other != axis)


def worth_computing(image: Tensor, starts: Sequence[Start], window: Sequence[int]) -> list[Start]:
    """The windows that show anything at all; if none does, the first.

    Air, padding and what lies outside a field of view have one value throughout once intensities are normalised. There
    is nothing to find in a window where every channel has one value.

    Args:
        image: (C, X, Y, Z).
        starts: from :func:`window_starts`.
        window: (3,) voxels.
    """
    found = [start for start in starts if not _is_uniform(_crop(image, start, window))]
    return found or list(starts[:1])


def _is_uniform(window: Tensor) -> bool:
    """Whether every channel of (C, X, Y, Z) has one value, which is a number."""
    first = window[:, :1, :1, :1]
    # Most windows differ in their first rows already.
    return all(bool((rows == first).all()) for rows in window.split(8, dim=1))


def sliding_windows(
    image: Tensor,
    starts: Sequence[Start],
    computed: Collection[Start],
    window: Sequence[int],
    classes: int,
    batch_size: int,
    stitch_device: torch.device,
    predict: Callable[[Tensor, Sequence[Start]], Tensor],
    order: Order = (0, 1, 2),
    dtype: torch.dtype = torch.float32,
) -> Iterator[Rows]:
    """Blended logits, band by band.

    Args:
        image: (C, X, Y, Z).
        starts: from :func:`window_starts`.
        computed: those of them that are predicted, from :func:`worth_computing`.
        window: (3,) voxels.
        classes: channels of the logits.
        batch_size: windows that are predicted at once.
        stitch_device: where logits are added up.
        predict: windows (B, C, *window) and their starts → logits (B, classes, *window).
        order: of the axes in the bands, from :func:`band_order`.
        dtype: of the logits while they are added up; each sum is rounded to it from float32.

    Yields:
        Bands that follow each other. Each begins with the last row of the one before, for interpolation between them.
        Where no window was predicted, logits are 0: background, be it by the largest logit or by each one's sign.
    """
    axis, depth = order[0], window[order[0]]
    weight = compute_importance_map(tuple(window), mode="gaussian", device=stitch_device)
    # Row 0 repeats the last finished row; the rows still open follow.
    held = (depth + 1, *(image.shape[1 + dim] for dim in order[1:]))
    logits = torch.zeros((classes, *held), dtype=dtype, device=stitch_device)
    weights = torch.zeros(held, device=stitch_device)
    weight = _in_order(weight[None], order)[0].contiguous()
    across = [(dim, window[dim]) for dim in order[1:]]
    groups = [
        (first, [start for start in group if start in computed])
        for first, group in groupby(sorted(starts, key=itemgetter(axis)), key=itemgetter(axis))
    ]
    ends = [first for first, _ in groups[1:]] + [image.shape[1 + axis]]
    for (first, group), end in zip(groups, ends, strict=True):
        for batch in (group[i : i + batch_size] for i in range(0, len(group), batch_size)):
            crops = torch.stack([_crop(image, start, window) for start in batch])
            places = [(slice(1, None), *(slice(start[dim], start[dim] + n) for dim, n in across)) for start in batch]
            # Nothing here holds on to what is predicted: the next windows need its memory.
            _add(logits, predict(crops, batch), weight, places, order)
            for here in places:
                weights[here] += weight
        finished = end - first
        weight_sums = weights[1 : finished + 1].clamp(min=torch.finfo().tiny)
        for channel in logits:
            # All at once, PyTorch would copy half-precision sums to single precision, all of them.
            channel[1 : finished + 1] /= weight_sums
        repeated = 1 if first == 0 else 0
        yield Rows(first - 1 + repeated, logits[:, repeated : finished + 1], end == image.shape[1 + axis])
        _move_up(logits, finished)
        _move_up(weights[None], finished)


def _add(logits: Tensor, predicted: Tensor, weight: Tensor, places: Sequence[tuple[slice, ...]], order: Order) -> None:
    """Add windows (B, classes, *window) times their weight at their places, one channel at a time to save memory."""
    for here, window in zip(places, predicted, strict=True):
        for sums, channel in zip(logits, _in_order(window.to(logits.device, torch.float32), order), strict=True):
            sums[here] += channel * weight


def _crop(image: Tensor, start: Start, window: Sequence[int]) -> Tensor:
    x, y, z = (slice(s, s + w) for s, w in zip(start, window, strict=True))
    return image[:, x, y, z]


def _in_order(tensor: Tensor, order: Order) -> Tensor:
    """A view of (C, X, Y, Z) with the axes in another order."""
    return tensor.permute(0, *(1 + dim for dim in order))


def _move_up(rows: Tensor, count: int) -> None:
    """Move rows (C, R, Y, Z) forward by ``count`` and clear the rest, one channel at a time to save memory."""
    for channel in rows:
        channel[: channel.shape[0] - count] = channel[count:].clone()
        channel[channel.shape[0] - count :] = 0
