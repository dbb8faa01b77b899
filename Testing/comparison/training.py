"""Train one network for so many steps or seconds, and see what it does with cases that none was trained on."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from safetensors.torch import save_model
from torch import Tensor, nn

from comparison.networks import Arm
from scdseg.evaluation.metrics import compare_label_maps
from scdseg.networks import SCDUNETR, UNETR
from scdseg.networks.cost import forward_macs
from scdseg.networks.inference_format import inference_copies
from scdseg.training.data import TrainingData, label_channels
from scdseg.training.objective import Objective
from scdseg.training.optimiser import build_optimiser, decayed_weights, rate_factor
from scdseg.training.recipe import Recipe
from scdseg.training.settings import OptimisationSettings

_CPU = torch.device("cpu")
_WARM_UP, _TIMED = 3, 8  # steps before the budget in seconds becomes one in steps
CHOICES = ("learned", "random", "inverted")


def trained(
    arm: Arm, recipe: Recipe, data: TrainingData, file: Path, seconds: float | None, marks: int
) -> dict[str, Any]:
    """What a network reached: read from its file, or trained, measured and written there.

    Args:
        arm: the network.
        recipe: from :meth:`Arm.recipe`.
        data: the recipe's; training samples and held-out cases.
        file: JSON; the weights come beside it.
        seconds: of the core, for training; None: the recipe's steps.
        marks: how often the held-out cases are segmented, evenly over the run.
    """
    asked = json.loads(json.dumps({"seconds": seconds, **_what_decides(recipe), "title": arm.title}))
    if file.is_file():
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if record["asked"] == asked:
            return record
    torch.manual_seed(recipe.seed)
    network = arm.build(recipe)
    steps = recipe.optimisation.steps if seconds is None else int(seconds / _step_seconds(arm, recipe, data))
    torch.manual_seed(recipe.seed)
    network = arm.build(recipe)
    curve: list[dict[str, float]] = []

    def look(step: int, used: float) -> None:
        curve.append({"step": step, "seconds": used, "dice": _mean_dice(network, recipe, data, hd95=False)[0]})
        print(f"{file.stem}: step {step} of {steps}, {used:.0f} s, Dice {curve[-1]['dice']:.4f}", flush=True)

    used = _optimise(network, recipe, data, steps, {steps * n // marks for n in range(1, marks)}, look)
    dice, hd95 = _mean_dice(network, recipe, data, hd95=True)
    curve.append({"step": steps, "seconds": used, "dice": dice})
    shape = (recipe.network["in_channels"], *recipe.network["img_size"])
    arguments = (recipe.network["keep_ratio"],) if isinstance(network, SCDUNETR) else ()
    record = {
        "asked": asked,
        "seed": recipe.seed,
        "dice": dice,
        "hd95_mm": hd95,
        # On a copy: a network that uses one layer twice, as DynUNet does, keeps what stands for its weights meanwhile.
        "macs": forward_macs(copy.deepcopy(network), shape, *arguments),
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "steps_per_second": steps / used,
        "window_seconds": _window_seconds(network, recipe),
        "curve": curve,
        "choices": _choices(network, recipe, data) if isinstance(network, SCDUNETR) else {},
    }
    print(f"{file.stem}: Dice {dice:.4f}, HD95 {hd95:.2f} mm, {record['choices']}", flush=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_model(network, str(file.with_suffix(".safetensors")))  # DynUNet has layers under two names
    file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def _what_decides(recipe: Recipe) -> dict[str, Any]:
    """All of a recipe that changes what comes out."""
    settings = {name: asdict(getattr(recipe, name)) for name in ("optimisation", "augmentation", "synthesis")}
    return {"network": recipe.network, "seed": recipe.seed, **settings}


def _optimise(
    network: nn.Module,
    recipe: Recipe,
    data: TrainingData,
    steps: int,
    marks: set[int],
    look: Callable[[int, float], None],
) -> float:
    """Train, and give the core's seconds that it took; those of ``look`` at the marks do not count."""
    settings = recipe.optimisation
    objective = Objective(settings)
    optimiser = _optimiser(network, settings)
    rates = [group["lr"] for group in optimiser.param_groups]
    used, began = 0.0, time.process_time()
    network.train()
    for step in range(steps):
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * rate_factor(step * settings.steps // steps, settings)
        first = step * settings.batch_size
        pairs = [data.samples.sample(first + place) for place in range(settings.batch_size)]
        image, target = (torch.stack(part) for part in zip(*pairs, strict=True))
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16-mixed"):
            loss = _loss(network, objective, image, target, recipe.network["keep_ratio"])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
        optimiser.step()
        if step + 1 in marks:
            used += time.process_time() - began
            look(step + 1, used)
            network.train()
            began = time.process_time()
    return used + time.process_time() - began


def _step_seconds(arm: Arm, recipe: Recipe, data: TrainingData) -> float:
    network = arm.build(recipe)
    _optimise(network, recipe, data, _WARM_UP, set(), lambda *_: None)
    return _optimise(network, recipe, data, _TIMED, set(), lambda *_: None) / _TIMED


def _loss(network: nn.Module, objective: Objective, image: Tensor, target: Tensor, keep_ratio: float) -> Tensor:
    if isinstance(network, SCDUNETR | UNETR):
        return objective(network, image, target, keep_ratio).total
    loss: Tensor = objective.logits(network(image), target)
    return loss


def _optimiser(network: nn.Module, settings: OptimisationSettings) -> torch.optim.AdamW:
    if isinstance(network, SCDUNETR | UNETR):
        return build_optimiser(network, settings, settings.learning_rate, decayed_weights(network))
    matrices = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95), fused=True)


def _mean_dice(
    network: nn.Module, recipe: Recipe, data: TrainingData, hd95: bool, keep_ratio: float | None = None
) -> tuple[float, float]:
    """Mean over labels and cases of Dice and, if asked for, of the 95 % Hausdorff distance in mm."""
    values = range(1, len(label_channels(recipe)[0]) + 1)
    affine = np.diag([*recipe.data.spacing, 1.0])
    found = []
    for index in range(len(data.held_out)):  # type: ignore[arg-type]
        image, target = data.held_out[index]
        labels = predict(network.eval(), recipe, image, keep_ratio).numpy()
        if hd95:
            metrics = compare_label_maps(labels, target.numpy(), list(values), affine).values()
            found += [(metric.dice, metric.hd95_mm) for metric in metrics]
        else:
            found += [(_dice(labels == value, target.numpy() == value), np.nan) for value in values]
    dice, distance = np.array(found).T
    return float(np.nanmean(dice)), float(np.nanmean(distance)) if hd95 else np.nan


def _dice(ours: np.ndarray, theirs: np.ndarray) -> float:
    total = np.count_nonzero(ours) + np.count_nonzero(theirs)
    return 2 * np.count_nonzero(ours & theirs) / total if total else np.nan


@torch.inference_mode()
def predict(network: nn.Module, recipe: Recipe, image: Tensor, keep_ratio: float | None = None) -> Tensor:
    """Labels (X, Y, Z) of an image (C, X, Y, Z)."""
    ratio = recipe.network["keep_ratio"] if keep_ratio is None else keep_ratio

    def windows(x: Tensor) -> Tensor:
        logits: Tensor = network(x, ratio) if isinstance(network, SCDUNETR) else network(x)
        return logits.float()

    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.optimisation.precision == "bf16-mixed"):
        logits = sliding_window_inference(
            image[None], recipe.network["img_size"], 1, windows, overlap=recipe.validation.overlap, mode="gaussian"
        )
    assert isinstance(logits, Tensor)
    return logits[0].argmax(0)


def _choices(network: SCDUNETR, recipe: Recipe, data: TrainingData) -> dict[str, float]:
    """Mean Dice by the way in which tokens are chosen, at the keep ratio of training."""
    found = {}
    if network.config["pruning"] not in ("stp", "stp_no_noise"):
        return {}
    for choice in CHOICES:
        network.encoder.choose_by(choice)
        found[choice] = _mean_dice(network, recipe, data, hd95=False)[0]
    network.encoder.choose_by("learned")
    return found


def _window_seconds(network: nn.Module, recipe: Recipe) -> float:
    """The core's seconds for the forward pass of one window."""
    ready = inference_copies([network.eval()], _CPU, torch.bfloat16)[network]
    window = torch.randn(1, recipe.network["in_channels"], *recipe.network["img_size"])
    arguments = (recipe.network["keep_ratio"],) if isinstance(network, SCDUNETR) else ()
    seconds = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(_WARM_UP + _TIMED):
            began = time.process_time()
            ready(window, *arguments)
            seconds.append(time.process_time() - began)
    return median(seconds[_WARM_UP:])
