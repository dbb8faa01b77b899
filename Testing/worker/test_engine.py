"""The engine within this process: what it keeps from one request to the next."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from scdseg.bundle import Bundle
from scdseg.errors import InputError
from scdseg.threads import usable_cores
from scdseg.worker.engine import Engine
from scdseg.worker.jobs import Job
from scdseg.worker.requests import Segment


@pytest.fixture
def engine() -> Iterator[Engine]:
    yield Engine()
    gc.unfreeze()


def segment(engine: Engine, bundle: Bundle, image: Path, threads: int | None) -> None:
    outputs = {"labels": str(image.with_name("labels.nii"))}
    request = Segment(
        id=1, images=(str(image),), model=str(bundle.path), overlap=None, device="cpu", precision="fp32",
        threads=threads, compress=False, scratch=None, keep_ratio=None, outputs=outputs,
    )  # fmt: skip
    engine.run(Job(request, lambda *_, **__: None))


def test_what_is_known_of_the_load_is_kept_while_the_same_threads_are_wanted(
    engine: Engine, tiny_bundle: Bundle, image: Path
) -> None:
    kept = []
    for threads in (None, None, 1, 1, None):
        segment(engine, tiny_bundle, image, threads)
        kept.append(engine._segmenter.threads)
    assert kept[0] is kept[1]
    assert kept[2] is kept[3]
    assert [each.wanted for each in kept] == [None, None, 1, 1, None]
    with pytest.raises(InputError, match="threads cannot be used"):
        segment(engine, tiny_bundle, image, usable_cores() + 1)


def test_threads_that_an_interrupt_left_behind_are_given_back(engine: Engine) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    engine.clean_up()
    assert torch.get_num_threads() == before
