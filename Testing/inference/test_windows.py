"""Windows cover the volume by whole patches and blend as MONAI's do, with a fraction of the memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from monai.inferers.utils import sliding_window_inference
from torch import Tensor

from scdseg.inference.windows import (
    Order,
    Rows,
    band_order,
    band_voxels,
    sliding_windows,
    window_starts,
    worth_computing,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(16, 24, 16), (40, 24, 56), (24, 32, 64)])
def test_windows_step_by_whole_patches_and_cover_everything(shape: tuple[int, int, int], overlap: float) -> None:
    starts = window_starts(shape, (16, 24, 16), 8, overlap)
    covered = torch.zeros(shape)
    for x, y, z in starts:
        assert x % 8 == y % 8 == z % 8 == 0
        covered[x : x + 16, y : y + 24, z : z + 16] += 1
    assert covered.sum() == len(starts) * 16 * 24 * 16
    assert covered.min() >= 1


def test_neighbouring_windows_overlap_as_asked() -> None:
    assert [x for x, _, _ in window_starts((64, 32, 32), (32, 32, 32), 8, 0.5)] == [0, 16, 32]
    assert [x for x, _, _ in window_starts((64, 32, 32), (32, 32, 32), 8, 0.75)] == [0, 8, 16, 24, 32]


@pytest.mark.parametrize(
    ("order", "shape", "batch_size"),
    [
        ((0, 1, 2), (40, 24, 32), 1),
        ((0, 1, 2), (40, 24, 32), 3),
        ((1, 0, 2), (24, 40, 32), 1),
        ((2, 0, 1), (24, 32, 40), 3),
    ],
)
def test_bands_are_the_rows_of_monais_blended_volume(order: Order, shape: tuple[int, ...], batch_size: int) -> None:
    torch.manual_seed(0)
    image = torch.randn(1, *shape)
    network = torch.nn.Conv3d(1, 3, 5, padding=2)
    window = (16, 16, 16)

    def predict(windows: Tensor, starts: Sequence[tuple[int, int, int]]) -> Tensor:
        return network(windows)

    with torch.inference_mode():
        expected = sliding_window_inference(image[None], window, 1, network, overlap=0.5, mode="gaussian")[0]
        starts = window_starts(image.shape[1:], window, 8, 0.5)
        bands = [
            Rows(band.first, band.logits.clone(), band.last)
            for band in sliding_windows(image, starts, starts, window, 3, batch_size, CPU, predict, order)
        ]
    assert order == band_order(shape, window)
    expected = expected.movedim(1 + order[0], 1)
    assert [band.first for band in bands] == [0, 7, 15, 23]
    assert [band.last for band in bands] == [False, False, False, True]
    for band in bands:
        rows = slice(band.first, band.first + band.logits.shape[1])
        torch.testing.assert_close(band.logits, expected[:, rows], atol=1e-5, rtol=1e-5)
    assert bands[-1].first + bands[-1].logits.shape[1] == 40


def test_bands_follow_the_axis_along_which_they_hold_least() -> None:
    assert band_order((512, 512, 1000), (96, 96, 96)) == (2, 0, 1)
    assert band_order((200, 300, 200), (64, 64, 64)) == (1, 0, 2)
    assert band_order((128, 128, 128), (64, 64, 64)) == (0, 1, 2)
    # A window that is long where the volume is, too, would hold more of it.
    assert band_order((100, 120, 100), (64, 96, 64)) == (0, 1, 2)
    assert band_voxels((512, 512, 1000), (96, 80, 64), 2) == 65 * 512 * 512


def test_sums_in_half_precision_are_those_in_single_precision_rounded() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 24, 24, 32)
    starts = window_starts(image.shape[1:], (16, 16, 16), 8, 0.5)
    single, half = (
        [
            band.logits.clone()
            for band in sliding_windows(
                image, starts, starts, (16, 16, 16), 1, 1, CPU, lambda windows, at: windows, (2, 0, 1), dtype
            )
        ]
        for dtype in (torch.float32, torch.float16)
    )
    for exact, rounded in zip(single, half, strict=True):
        assert rounded.dtype == torch.float16
        torch.testing.assert_close(rounded.float(), exact, atol=5e-3, rtol=5e-3)


def test_windows_of_one_value_are_not_worth_computing() -> None:
    image = torch.full((2, 32, 16, 16), -1.0)
    image[1] = 4
    starts = window_starts(image.shape[1:], (16, 16, 16), 8, 0.5)
    assert worth_computing(image, starts, (16, 16, 16)) == [(0, 0, 0)]
    image[1, 31, 2, 3] = 4.5
    assert worth_computing(image, starts, (16, 16, 16)) == [(16, 0, 0)]
    image[0, 15, 2, 3] = torch.nan
    assert worth_computing(image, starts, (16, 16, 16)) == starts


def test_where_no_window_was_computed_all_logits_are_zero() -> None:
    image = torch.zeros(1, 48, 16, 16)
    starts = [(0, 0, 0), (16, 0, 0), (32, 0, 0)]
    seen: list[tuple[int, int, int]] = []

    def predict(windows: Tensor, at: Sequence[tuple[int, int, int]]) -> Tensor:
        seen.extend(at)
        return torch.ones(len(at), 2, 16, 16, 16)

    bands = [
        Rows(band.first, band.logits.clone(), band.last)
        for band in sliding_windows(image, starts, [(16, 0, 0)], (16, 16, 16), 2, 1, CPU, predict)
    ]
    assert seen == [(16, 0, 0)]
    assert [(band.first, band.logits.shape[1], band.last) for band in bands] == [
        (0, 16, False), (15, 17, False), (31, 17, True)
    ]  # fmt: skip
    torch.testing.assert_close(bands[0].logits, torch.zeros(2, 16, 16, 16))
    torch.testing.assert_close(bands[1].logits[:, 1:], torch.ones(2, 16, 16, 16))
    torch.testing.assert_close(bands[2].logits[:, 1:], torch.zeros(2, 16, 16, 16))
