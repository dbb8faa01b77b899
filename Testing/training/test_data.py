"""The order of samples: the same for every number of loading processes, devices and interruptions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from scdseg.training.data import SampleStream


class Numbers:
    """Samples that say their number."""

    def sample(self, number: int) -> tuple[Tensor, Tensor]:
        return torch.tensor(number), torch.tensor(0)


def batches(count: int, workers: int = 0, **arguments: int) -> list[list[int]]:
    stream = SampleStream(Numbers(), **arguments)
    loader = iter(DataLoader(stream, batch_size=arguments["batch_size"], num_workers=workers))
    return [next(loader)[0].tolist() for _ in range(count)]


@pytest.mark.parametrize("workers", [0, 3])
def test_batches_follow_each_other_whatever_loads_them(workers: int) -> None:
    assert batches(5, workers, batch_size=2) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_can_be_entered_at_any_batch(workers: int) -> None:
    assert batches(2, workers, batch_size=2, first_batch=3) == batches(5, batch_size=2)[3:]


def test_two_devices_draw_what_one_with_the_double_batch_draws() -> None:
    one = batches(4, batch_size=4)
    ranks = [batches(4, batch_size=2, rank=rank, world_size=2) for rank in (0, 1)]
    assert [first + second for first, second in zip(*ranks, strict=True)] == one
