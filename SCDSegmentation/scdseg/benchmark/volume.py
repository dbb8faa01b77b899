"""A whole volume from file to file, with sparse tokens and with the dense network in the same pipeline."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scdseg.benchmark.machine import Machine
from scdseg.benchmark.networks import DENSE, dense_baseline
from scdseg.benchmark.timing import Spread, spread, time_by_turns
from scdseg.bundle import Bundle
from scdseg.inference import Segmenter
from scdseg.inference.shared import WindowNetwork
from scdseg.networks import UNETR
from scdseg.networks.inference_format import prepare_for_inference
from scdseg.networks.scd_unetr import TokenTrace


@dataclass(frozen=True)
class VolumeFigures:
    """What was measured of one way through the pipeline.

    Args:
        name: for tables.
        keep_ratio: None for the dense network.
        seconds: from the input file to label and report files, with the model loaded, round by round.
        steps: median seconds of every step of the pipeline.
        windows: that were computed.
        skipped: windows that showed nothing.
    """

    name: str
    keep_ratio: float | None
    seconds: tuple[float, ...]
    steps: dict[str, float]
    windows: int
    skipped: int

    def speedup(self, over: VolumeFigures) -> Spread:
        """Volumes a second as a multiple of another way's, round by round."""
        return spread([theirs / ours for theirs, ours in zip(over.seconds, self.seconds, strict=True)])

    def to_json(self, over: VolumeFigures) -> dict[str, Any]:
        """Everything in types that JSON has; the speed-up is ``over`` another way."""
        return {
            "name": self.name,
            "keep_ratio": self.keep_ratio,
            "seconds": spread(self.seconds)._asdict(),
            "speedup": self.speedup(over)._asdict(),
            "steps": self.steps,
            "windows": self.windows,
            "windows_skipped": self.skipped,
        }


class _Recorded:
    """A network that keeps the logits of all its windows, in main memory."""

    def __init__(self, network: WindowNetwork) -> None:
        self.network = network
        self.logits: list[Tensor] = []

    def share(self, windows: Tensor) -> Any:
        return self.network.share(windows)

    def finish(self, features: Any, keep_ratio: Any) -> tuple[Tensor, TokenTrace]:
        logits, trace = self.network.finish(features, keep_ratio)
        self.logits += logits.cpu()
        return logits, trace


class _Unpruned:
    """A dense network where the pipeline expects a sparse one: all tokens are kept to the end.

    Its weights are fresh, so its logits mean nothing. Those of the sparse network are handed on in their place: what
    it takes to bring labels back to the input's grid depends on where their borders are.
    """

    def __init__(self, network: UNETR, stages: int, logits: Sequence[Tensor]) -> None:
        self.network = network
        self.stages = stages
        self.logits = cycle(logits)

    def share(self, windows: Tensor) -> Tensor:
        return windows

    def finish(self, windows: Tensor, keep_ratio: Any) -> tuple[Tensor, TokenTrace]:
        grid = self.network.grid
        scores = windows.new_zeros(windows.shape[0], math.prod(grid))
        stage = torch.full((windows.shape[0], *grid), self.stages + 1, dtype=torch.uint8, device=windows.device)
        self.network(windows)
        logits = torch.stack([next(self.logits) for _ in windows]).to(windows.device)
        return logits, TokenTrace([scores] * self.stages, stage)


def measure_volume(
    bundle: Bundle,
    images: Sequence[Path],
    keep_ratios: Sequence[float],
    machine: Machine,
    rounds: int = 3,
    progress: Callable[[int, int], None] | None = None,
) -> list[VolumeFigures]:
    """Time a whole volume: the dense network with fresh weights first, if there is one, then the model at each keep
    ratio.

    Args:
        bundle: the model.
        images: one for each of its channels.
        keep_ratios: of the model.
        machine: to measure on.
        rounds: how often each way is timed.
        progress: told the rounds done and all rounds.

    Raises:
        ScdsegError: with one sentence that says what is wrong with the input or the machine.
    """
    sparse = machine.segmenter(bundle)
    ways: list[tuple[str, float | None, Segmenter]] = []
    baseline = dense_baseline(bundle.network)
    if baseline is not None:
        ways.append((DENSE, None, _with_dense_network(bundle, baseline, images, machine)))
    ways += [(f"SCD-UNETR, keep {ratio:g}", ratio, sparse) for ratio in keep_ratios]
    reports: list[list[dict[str, Any]]] = [[] for _ in ways]
    with tempfile.TemporaryDirectory() as folder:

        def run(number: int) -> None:
            _, ratio, segmenter = ways[number]
            result = segmenter.run(segmenter.prepare(images), ratio)
            result.save(labels=Path(folder) / "labels.nii.gz", report=Path(folder) / "report.json")
            reports[number].append(result.report)

        def task(number: int) -> Callable[[], None]:
            return lambda: run(number)

        seconds = time_by_turns([task(n) for n in range(len(ways))], machine.device, rounds, progress)
    return [
        VolumeFigures(name, ratio, seconds[n], _steps(reports[n][1:]), *_windows(reports[n][0]))
        for n, (name, ratio, _) in enumerate(ways)
    ]


def _with_dense_network(bundle: Bundle, baseline: UNETR, images: Sequence[Path], machine: Machine) -> Segmenter:
    """The model's pipeline with another network in it."""
    segmenter = machine.segmenter(bundle)
    recorded = _Recorded(segmenter.network)
    segmenter.network = recorded
    segmenter.run(segmenter.prepare(images))
    prepare_for_inference(baseline.to(machine.device), machine.device, machine.dtype)
    segmenter.network = _Unpruned(baseline, len(bundle.network["prune_after"]), recorded.logits)
    return segmenter


def _steps(reports: Sequence[dict[str, Any]]) -> dict[str, float]:
    names = [name for name in reports[0]["seconds"] if name not in ("total", "load model")]
    return {name: spread([report["seconds"][name] for report in reports]).median for name in names}


def _windows(report: dict[str, Any]) -> tuple[int, int]:
    return report["windows"]["count"], report["windows"]["skipped"]
