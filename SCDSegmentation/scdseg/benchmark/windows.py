"""One window through every network: inference, and a training step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from scdseg.benchmark.machine import Machine
from scdseg.benchmark.memory import peak_bytes
from scdseg.benchmark.networks import DENSE, Subject
from scdseg.benchmark.timing import Spread, autocast, spread, time_by_turns
from scdseg.inference.memory import machine_errors
from scdseg.networks.inference_format import inference_copies
from scdseg.training.losses import segmentation_loss


@dataclass(frozen=True)
class WindowFigures:
    """What was measured of a network.

    Args:
        subject: the network.
        parameters: number of weights.
        macs: multiply-accumulate operations of one window's forward pass.
        seconds: of one window's forward pass without gradients, round by round.
        step_seconds: of a training step of one window (forward pass, loss, backward pass, AdamW), round by round; none
            if training was not asked for.
        peak_bytes: see :mod:`scdseg.benchmark.memory`, of the forward pass.
        step_peak_bytes: the same of the training step, weights' gradients included.
    """

    subject: Subject
    parameters: int
    macs: int
    seconds: tuple[float, ...]
    step_seconds: tuple[float, ...]
    peak_bytes: int
    step_peak_bytes: int | None

    def speedup(self, over: WindowFigures, training: bool = False) -> Spread:
        """Voxels a second as a multiple of another network's, round by round: windows may differ in size."""
        scale = prod(self.subject.window) / prod(over.subject.window)
        theirs, ours = (f.step_seconds if training else f.seconds for f in (over, self))
        return spread([scale * a / b for a, b in zip(theirs, ours, strict=True)])

    def to_json(self, over: WindowFigures) -> dict[str, Any]:
        """Everything in types that JSON has; speed-ups are ``over`` another network."""
        inference = {
            "seconds": spread(self.seconds)._asdict(),
            "windows_per_second": 1 / spread(self.seconds).median,
            "speedup": self.speedup(over)._asdict(),
            "peak_bytes": self.peak_bytes,
        }
        training = {
            "seconds": spread(self.step_seconds)._asdict(),
            "windows_per_second": 1 / spread(self.step_seconds).median,
            "speedup": self.speedup(over, training=True)._asdict(),
            "peak_bytes": self.step_peak_bytes,
        } if self.step_seconds else None  # fmt: skip
        return {
            "name": self.subject.name,
            "window": list(self.subject.window),
            "keep_ratio": self.subject.keep_ratio,
            "parameters": self.parameters,
            "macs": self.macs,
            "inference": inference,
            "training": training,
        }


def reference_of(figures: Sequence[WindowFigures]) -> WindowFigures:
    """The network that speed-ups are over: the dense baseline, or the first one where there is none."""
    return next((found for found in figures if found.subject.name == DENSE), figures[0])


def measure_windows(
    subjects: Sequence[Subject],
    machine: Machine,
    rounds: int = 5,
    training: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[WindowFigures]:
    """Time one window's forward pass, and a training step, of every network, by turns.

    Args:
        subjects: what to measure; they may share networks.
        machine: to measure on; networks are moved there.
        rounds: how often each is timed.
        training: whether to time training steps, too.
        progress: told the rounds done and all rounds.

    Raises:
        ResourceError: the device's memory is too small.
    """
    device = machine.device
    with machine_errors(device):
        copies = inference_copies((subject.network.to(device) for subject in subjects), device, machine.dtype)
        works = [_forward_pass(subject, copies[subject.network], machine) for subject in subjects]
        steps = [_training_step(subject, machine) for subject in subjects] if training else []
        seconds = time_by_turns([*works, *steps], device, rounds, progress)
        peaks = [peak_bytes(work, device) for work in works]
        step_peaks = [peak_bytes(step, device) for step in steps]
    return [
        WindowFigures(
            subject,
            sum(weight.numel() for weight in subject.network.parameters()),
            subject.macs(),
            seconds[number],
            seconds[len(works) + number] if training else (),
            peaks[number],
            step_peaks[number] if training else None,
        )
        for number, subject in enumerate(subjects)
    ]


def _window(subject: Subject, device: torch.device) -> Tensor:
    shape = (1, subject.channels[0], *subject.window)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(device)


def _forward_pass(subject: Subject, network: nn.Module, machine: Machine) -> Callable[[], None]:
    image = _window(subject, machine.device)

    def run() -> None:
        network.eval()
        with torch.inference_mode(), autocast(machine.device, machine.dtype):
            network(image, *subject.arguments)

    return run


def random_target(shape: Sequence[int], channels: int, sigmoid: bool) -> Tensor:
    """What a loss compares logits (B, channels, *window) with: labels of ``shape`` (B, *window), or regions."""
    generator = torch.Generator().manual_seed(0)
    if sigmoid:
        return torch.randint(2, (shape[0], channels, *shape[1:]), generator=generator).float()
    return torch.randint(channels, tuple(shape), generator=generator)


def _training_step(subject: Subject, machine: Machine) -> Callable[[], None]:
    image, network = _window(subject, machine.device), subject.network
    target = random_target((1, *subject.window), subject.channels[1], subject.sigmoid).to(machine.device)
    # At a rate of zero a step takes as long and leaves the weights as they are.
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.0, fused=True)
    objective = segmentation_loss("dice_sigmoid" if subject.sigmoid else "dice_ce", squared=False)

    def run() -> None:
        network.train()
        with autocast(machine.device, machine.dtype):
            loss = objective(network(image, *subject.arguments), target)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return run
