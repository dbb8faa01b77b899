"""How fast networks train and predict, measured side by side in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from scdseg.benchmark.timing import Spread, autocast, spread, time_by_turns
from scdseg.benchmark.windows import random_target
from scdseg.errors import ResourceError
from scdseg.inference.device import device_name, resolve_device, resolve_precision
from scdseg.networks import SCDUNETR, UNETR, macs
from scdseg.networks.inference_format import inference_copies
from scdseg.training.objective import Objective
from scdseg.training.optimiser import build_optimiser, decayed_weights
from scdseg.training.settings import OptimisationSettings

# What ``Throughput.training_bytes`` is, by type of device.
MEMORY = {
    "cuda": "most that a training step allocates on the GPU beyond weights and optimiser state",
    "cpu": "tensors that the forward pass of a training step keeps for the backward pass",
}


@dataclass(frozen=True)
class Candidate:
    """One network as it is to be measured; several may share a network and differ in the keep ratio.

    Args:
        name: for tables.
        network: on any device; it is moved to the one measured on, and its weights stay as they are.
        keep_ratio: share of tokens kept at each stage; None for a dense network.
        optimisation: batch size, losses and gradient clipping of a training step.
    """

    name: str
    network: SCDUNETR | UNETR
    keep_ratio: float | None
    optimisation: OptimisationSettings


@dataclass(frozen=True)
class Throughput:
    """What was measured of a candidate.

    Args:
        name: the candidate's.
        keep_ratio: the candidate's.
        parameters: number of weights.
        macs: multiply-accumulate operations of one window's forward pass.
        batch_size: windows of a training step.
        step_seconds: of forward pass, loss, backward pass and optimiser, round by round.
        window_seconds: of the forward pass of one window without gradients, round by round.
        training_bytes: memory of a training step; :data:`MEMORY` says what is counted.
    """

    name: str
    keep_ratio: float | None
    parameters: int
    macs: int
    batch_size: int
    step_seconds: tuple[float, ...]
    window_seconds: tuple[float, ...]
    training_bytes: int

    @property
    def step(self) -> Spread:
        """Seconds of a training step."""
        return spread(self.step_seconds)

    @property
    def window(self) -> Spread:
        """Seconds of a window's inference."""
        return spread(self.window_seconds)

    @property
    def training_rate(self) -> float:
        """Windows trained on per second."""
        return self.batch_size / self.step.median

    @property
    def inference_rate(self) -> float:
        """Windows predicted per second."""
        return 1 / self.window.median

    def training_speedup(self, other: Throughput) -> Spread:
        """Training rate as a multiple of another candidate's, round by round."""
        scale = self.batch_size / other.batch_size
        pairs = zip(other.step_seconds, self.step_seconds, strict=True)
        return spread([scale * theirs / ours for theirs, ours in pairs])

    def inference_speedup(self, other: Throughput) -> Spread:
        """Inference rate as a multiple of another candidate's, round by round."""
        pairs = zip(other.window_seconds, self.window_seconds, strict=True)
        return spread([theirs / ours for theirs, ours in pairs])


@dataclass(frozen=True)
class Measurement:
    """Candidates measured in one run, in the order given, and what they were measured on.

    ``memory`` says what ``training_bytes`` are.
    """

    device: str
    threads: int
    precision: str
    rounds: int
    memory: str
    rows: tuple[Throughput, ...]


def measure_throughput(
    candidates: Sequence[Candidate],
    device: str = "auto",
    precision: str = "auto",
    rounds: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> Measurement:
    """Time a training step and a window's inference of every candidate.

    After one round that warms up, every round does each of these once, in an order drawn anew, so that whatever else
    the machine does meets all alike.

    Args:
        candidates: what to measure.
        device: ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``.
        precision: ``"auto"``, ``"bf16"`` or ``"fp32"``.
        rounds: how often each is timed.
        progress: told the rounds done and all rounds.

    Raises:
        DeviceError: the device or the precision is not available.
        ResourceError: the device's memory is too small.
    """
    target = resolve_device(device)
    number_format = resolve_precision(precision, target)
    try:
        networks = (candidate.network.to(target) for candidate in candidates)
        copies = inference_copies(networks, target, number_format)
        subjects = [_Subject(candidate, copies[candidate.network], target, number_format) for candidate in candidates]
        saved = [subject.training_bytes() for subject in subjects]
        tasks = [work for subject in subjects for work in (subject.step, subject.window)]
        seconds = time_by_turns(tasks, target, rounds, progress)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ResourceError(
            f"{device_name(target)} has too little memory to train {len(candidates)} networks side by side ({error}): "
            "measure fewer, or with a smaller batch_size"
        ) from error
    return Measurement(
        device=device_name(target),
        threads=torch.get_num_threads(),
        precision={torch.bfloat16: "bf16", torch.float32: "fp32"}[number_format],
        rounds=rounds,
        memory=MEMORY["cuda" if target.type == "cuda" else "cpu"],
        rows=tuple(
            subject.result(memory, step, window)
            for subject, memory, step, window in zip(subjects, saved, seconds[::2], seconds[1::2], strict=True)
        ),
    )


class _Subject:
    """A candidate on the device, with an optimiser and a batch."""

    def __init__(
        self, candidate: Candidate, predicting: nn.Module, device: torch.device, number_format: torch.dtype
    ) -> None:
        self.candidate = candidate
        self.predicting = predicting
        self.device = device
        self.number_format = number_format
        self.network = candidate.network
        settings = candidate.optimisation
        # At a rate of zero a step takes as long and leaves the weights as they are.
        self.optimiser = build_optimiser(self.network, settings, 0.0, decayed_weights(self.network))
        self.objective = Objective(settings)
        config, generator = self.network.config, torch.Generator().manual_seed(0)
        shape = (settings.batch_size, *self.network.img_size)
        self.image = torch.randn(shape[0], config["in_channels"], *shape[1:], generator=generator).to(device)
        sigmoid = settings.activation == "sigmoid"
        self.target = random_target(shape, config["out_channels"], sigmoid).to(device)

    def training_bytes(self) -> int:
        """Memory of one training step; see :data:`MEMORY`."""
        self.network.train()
        if self.device.type == "cuda":
            self.step()  # makes the optimiser's state, which stays
            before = torch.cuda.memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self.step()
            return torch.cuda.max_memory_allocated(self.device) - before
        storages: dict[int, int] = {}
        weights = {parameter.untyped_storage().data_ptr() for parameter in self.network.parameters()}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            self._forward()
        return sum(storages.values())

    def result(self, training_bytes: int, step: tuple[float, ...], window: tuple[float, ...]) -> Throughput:
        """All that was measured."""
        return Throughput(
            self.candidate.name,
            self.candidate.keep_ratio,
            sum(parameter.numel() for parameter in self.network.parameters()),
            macs(self.network, self.candidate.keep_ratio),
            self.candidate.optimisation.batch_size,
            step,
            window,
            training_bytes,
        )

    def step(self) -> None:
        """A training step."""
        self.network.train()
        self._forward().backward()
        if self.candidate.optimisation.gradient_clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.candidate.optimisation.gradient_clip)
        self.optimiser.step()
        self.optimiser.zero_grad()

    def _forward(self) -> Tensor:
        """The loss of a training step, as :class:`scdseg.training.module.SegmentationModule` forms it."""
        with autocast(self.device, self.number_format):
            return self.objective(self.network, self.image, self.target, self.candidate.keep_ratio).total

    def window(self) -> None:
        """The forward pass of one window, without gradients."""
        self.predicting.eval()
        ratio = () if isinstance(self.network, UNETR) else (self.candidate.keep_ratio,)
        with torch.inference_mode(), autocast(self.device, self.number_format):
            self.predicting(self.image[:1], *ratio)
