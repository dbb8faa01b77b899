"""The whole benchmark in one call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from scdseg.benchmark import PARTS, PEERS
from scdseg.benchmark.machine import Machine
from scdseg.benchmark.networks import own_subjects, peer_subjects, tuned_subjects
from scdseg.benchmark.report import Benchmark, Stages
from scdseg.benchmark.scaling import measure_growth
from scdseg.benchmark.stages import measure_stages
from scdseg.benchmark.volume import measure_volume
from scdseg.benchmark.windows import measure_windows
from scdseg.bundle import find_bundle
from scdseg.errors import InputError
from scdseg.inference.images import read_headers
from scdseg.networks import SCDUNETR
from scdseg.published import PUBLISHED


def benchmark(
    model: str,
    images: Sequence[Path] = (),
    parts: Sequence[str] | None = None,
    peers: Sequence[str] = PEERS,
    keep_ratios: Sequence[float] | None = None,
    training: bool = False,
    device: str = "auto",
    precision: str = "auto",
    rounds: int = 5,
    progress: Callable[[str, int, int], None] | None = None,
) -> Benchmark:
    """Measure a model, or a published configuration with fresh weights, beside what else users would take.

    Args:
        model: name of a model, the folder of a bundle, or a key of ``scdseg.published.PUBLISHED``.
        images: for the part ``"volume"``, one for each channel.
        parts: of ``scdseg.benchmark.PARTS``; None: all but ``"growth"``, and ``"volume"`` only if there are images.
        peers: of ``scdseg.benchmark.PEERS``.
        keep_ratios: of the sparse network; None: its own. Stages are measured at the last.
        training: whether to time training steps, too.
        device: ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``.
        precision: ``"auto"``, ``"bf16"`` or ``"fp32"``.
        rounds: how often everything is timed.
        progress: told the part, what of it is done, and all of it.

    Raises:
        ScdsegError: with one sentence that says what is wrong with the arguments or the machine.
    """
    machine = Machine.choose(device, precision)
    bundle = None if model in PUBLISHED else find_bundle(model)
    arguments = _published(model) if bundle is None else dict(bundle.network)
    own_ratio = arguments["keep_ratio"] if bundle is None else bundle.keep_ratio
    ratios = [own_ratio] if keep_ratios is None else list(keep_ratios)
    for ratio in ratios:
        if not 0 < ratio <= 1:
            raise InputError(f"a keep ratio must be above 0 and at most 1, not {ratio:g}")
    if parts is None:
        parts = PARTS[:3] if images else ("windows", "stages")
    elif "volume" in parts and bundle is None:
        raise InputError(f"{model} has no preprocessing for a volume: leave the part 'volume' away, or name a model")
    elif "volume" in parts and not images:
        raise InputError(f"the part 'volume' needs an image for {model}: give it with --image, or leave that part away")
    if training and "windows" not in parts:
        raise InputError("--training times steps of the part 'windows': add it, or leave --training away")
    if "windows" in parts and find_spec("einops") is None:
        raise InputError(
            "MONAI's transformers, which the part 'windows' measures, need the package einops: pip install einops, or "
            "install scdseg with its extra [benchmark]"
        )
    if images and bundle is None:
        raise InputError(f"{images[0]}: {model} has no preprocessing for a volume; give the name or folder of a model")
    if images and bundle is not None:
        read_headers(images, bundle)

    def tell(part: str) -> Callable[[int, int], None]:
        def show(done: int, total: int) -> None:
            if progress is not None:
                progress(part, done, total)

        return show

    parts_done: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries' internals
        if "windows" in parts:
            activation = PUBLISHED[model].activation if bundle is None else bundle.activation
            own = own_subjects(arguments, ratios, sigmoid=activation == "sigmoid")
            others = peer_subjects(peers, own[0])
            if machine.dtype == torch.bfloat16 and not training:
                others += tuned_subjects(others, machine.dtype)
            subjects = [*own, *others]
            parts_done["windows"] = measure_windows(subjects, machine, rounds, training, tell("windows"))
        if "volume" in parts and bundle is not None:
            parts_done["volume"] = measure_volume(bundle, images, ratios, machine, rounds, tell("volume"))
        if "stages" in parts:
            network = SCDUNETR(**arguments).eval() if bundle is None else bundle.load_network()
            parts_done["stages"] = Stages(ratios[-1], *measure_stages(network, ratios[-1], machine, rounds))
        if "growth" in parts:
            parts_done["growth"] = measure_growth(arguments, bundle, machine, rounds, tell("growth"))
    name = f"{model}, fresh weights" if bundle is None else f"{bundle.name} {bundle.version}"
    return Benchmark(name, machine, rounds, **parts_done)


def _published(name: str) -> dict[str, Any]:
    """Arguments of ``SCDUNETR`` for a published configuration; the others are its defaults."""
    found = PUBLISHED[name]
    return {
        "in_channels": len(found.channels),
        "out_channels": len(found.labels) + (found.activation == "softmax"),
        "img_size": list(found.img_size),
        "num_heads": found.num_heads,
        "prune_after": list(found.prune_after),
        "keep_ratio": found.keep_ratio,
    }
